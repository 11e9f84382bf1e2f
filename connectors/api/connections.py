"""Connections: create, look at, change, activate, delete. What is secret goes in and never comes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.db.models import TextField
from django.db.models.expressions import RawSQL
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, shapes
from connectors.api.filters import ConnectionFilter
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.models import ERPConnection, Health
from connectors.models.connection import ConnectionQuerySet
from connectors.services import checks, configurations, connections, diagnosis
from tenants.models import Organization
from tenants.roles import Scope

CONNECTION: Final = Answer(
    description="The connection as it is now.", model=shapes.Connection, example=examples.CONNECTION
)
_MONITORING: Final = Answer(description="How it is looked after.", model=shapes.Monitoring)
INVALID_EDIT: Final = {422: ("SECRETS_REQUIRED",)}

# A page of models, of an order of columns that is made anew, or of fifty reports that are checked once more would each
# cost more than decrypting fifty configurations. So these are rows, their SQL is short to make, and a report is kept.
# The database writes down the times: reading a hundred of them, to write them once more, would cost as much again.
_LATEST_REPORT: Final = RawSQL(  # nosec B611  # there is no value in it
    """(
        SELECT test.result::text
          FROM erp_connection_test test
         WHERE test.org_id = erp_connection.org_id
           AND test.connection_id = erp_connection.id
           AND test.state = 'FINISHED'
           AND test.subject IN ('STORED', 'CHECK')
         ORDER BY test.started_at DESC, test.id DESC
         LIMIT 1
    )""",
    (),
    output_field=TextField(),
)


def _written(column: str) -> RawSQL:
    """Return the time in a column of the connection as the API writes it (RFC 3339)."""
    text = f"""to_char(erp_connection.{column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    return RawSQL(text, (), output_field=TextField())  # noqa: S611  # nosec B611  # only names of columns


_SHOWN: Final = ERPConnection.objects.annotate(
    tested=_written("last_test_at"),
    created=_written("created_at"),
    updated=_written("updated_at"),
    last_report=_LATEST_REPORT,
).values_list(
    "pk",
    "org_id",
    "connector_type",
    "name",
    "status",
    "health",
    "config_encrypted",
    "secrets_updated_at",
    "revision",
    "tested_revision",
    "tested",
    "created",
    "updated",
    "last_report",
    named=True,
)


class ConnectionsView(ListView):
    """The organisation's connections."""

    scopes = {"GET": Scope.CONNECTIONS_READ, "POST": Scope.CONNECTIONS_WRITE}
    filterset_class = ConnectionFilter

    @describe(
        "list_connectors",
        "List connections",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.Connection])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's connections."""
        return self.page(_SHOWN.filter(org=self.org), _show, place=("created", "pk"))

    @describe(
        "create_connector",
        "Create a connection",
        request=shapes.connection_request,
        request_examples={"SFTP dropzone": examples.CONNECTION_INPUT},
        answers={
            201: Answer(
                description="Created; with `test_on_save` the report is in `last_test`, also when the test failed.",
                model=shapes.Connection,
                example=examples.CONNECTION,
                headers={"Location": "Where the connection is."},
            )
        },
        problems={409: ("ACTIVE_CONNECTOR_EXISTS",)},
    )
    def post(self, request: Request) -> Response:
        """Store a connection, its configuration encrypted; one of an organisation's connections can be ACTIVE."""
        wanted = shapes.ConnectionInput.parse(request.data)
        create = partial(
            connections.create,
            self.org,
            self.actor,
            connector_type=wanted.connector_type,
            config=wanted.config,
            name=wanted.name or "",
            status=wanted.status,
        )
        connection = diagnosis.testing(create, self.actor) if wanted.test_on_save else create()
        location = reverse("api:connector", args=[connection.pk])
        return Response(shown(self.org, connection.pk), status=HTTPStatus.CREATED, headers={"Location": location})


class ConnectionView(ApiView):
    """One connection."""

    scopes = {"GET": Scope.CONNECTIONS_READ, "PATCH": Scope.CONNECTIONS_WRITE, "DELETE": Scope.CONNECTIONS_WRITE}

    @describe("get_connector", "Show a connection", answers={200: CONNECTION})
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Show a connection without its secrets; one that cannot be decrypted has the health UNREADABLE."""
        return Response(shown(self.org, connection_id))

    @describe(
        "change_connector",
        "Change a connection",
        request=shapes.ConnectionPatch,
        is_body_required=False,
        request_examples={"Wait longer, expect no answers": examples.CONNECTION_PATCH},
        answers={200: CONNECTION},
        problems={409: ("ACTIVE_CONNECTOR_EXISTS", "CONFLICT", "UNTESTED_REVISION"), **INVALID_EDIT},
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change what is given.

        `config` is merged: null clears a field, a secret that is left out is kept, unless the edit changes the
        destination, which drops every stored secret until it is entered again.
        """
        connection = found(of_organization(self.org), connection_id)
        patch = shapes.ConnectionPatch.parse(request.data)
        change: Callable[[], ERPConnection] = partial(
            connections.change,
            connection,
            self.actor,
            config=patch.config,
            name=patch.name,
            status=patch.status,
            reason=patch.reason,
            expected_revision=patch.revision,
        )
        if patch.test_on_save:
            change = partial(diagnosis.testing, change, self.actor)
        # With a new configuration there is nothing to test before it is stored.
        if patch.config is None:
            diagnosis.proving(connection, self.actor, change)
        else:
            change()
        return Response(shown(self.org, connection_id))

    @describe(
        "delete_connector",
        "Delete a connection",
        answers={204: Answer(description="It is gone.")},
        problems={409: ("CONFLICT",)},
    )
    def delete(self, request: Request, connection_id: UUID) -> Response:
        """Delete a connection through which nothing was sent; disable any other."""
        connections.delete(found(of_organization(self.org), connection_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


class ConnectionActivationView(ApiView):
    """The switch-over to one connection."""

    scopes = {"POST": Scope.CONNECTIONS_WRITE}

    @describe(
        "activate_connector",
        "Activate a connection",
        request=shapes.ActivationInput,
        request_examples={"Switch over": {"replace": True}},
        is_body_required=False,
        answers={200: CONNECTION},
        problems={409: ("ACTIVE_CONNECTOR_EXISTS", "UNTESTED_REVISION")},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Let this connection take the organisation's orders; with `replace` the present one steps back at once.

        What was never tested like this is tested first, unless there is a reason not to, which goes into the audit
        trail. What the present connection is sending right now it finishes; what waits there moves here.
        """
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.ActivationInput.parse(request.data)
        activate = partial(connections.activate, connection, self.actor, replace=wanted.replace, reason=wanted.reason)
        diagnosis.proving(connection, self.actor, activate)
        return Response(shown(self.org, connection_id))


class MonitoringView(ApiView):
    """How one connection is looked after."""

    scopes = {"GET": Scope.CONNECTIONS_READ, "PATCH": Scope.CONNECTIONS_WRITE}

    @describe("get_connector_monitoring", "Show how a connection is looked after", answers={200: _MONITORING})
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Show who the far end has to be, when it is checked, why it is paused and what expires."""
        return Response(_show_monitoring(found(of_organization(self.org), connection_id)))

    @describe(
        "change_connector_monitoring",
        "Change how a connection is looked after",
        request=shapes.MonitoringPatch,
        is_body_required=False,
        request_examples={"Check every ten minutes": {"check_minutes": 10}},
        answers={200: _MONITORING},
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change what is given: how often it is checked, and the last day of its credentials."""
        connection = found(of_organization(self.org), connection_id)
        patch = shapes.MonitoringPatch.parse(request.data)
        has_day = "credentials_expire_on" in patch.model_fields_set
        changed = connections.change(
            connection,
            self.actor,
            check_minutes=patch.check_minutes,
            credentials_expire_on=patch.credentials_expire_on if has_day else connections.KEEP,
        )
        return Response(_show_monitoring(changed))


def shown(org: Organization, connection_id: UUID) -> dict[str, Any]:
    """Return one of the organisation's connections as the API shows it.

    Raises:
        Http404: there is none.
    """
    return _show(found(_SHOWN.filter(org=org), connection_id))


def of_organization(org: Organization) -> ConnectionQuerySet:
    """Return the organisation's connections."""
    return ERPConnection.objects.of(org).select_related("org")


def _show(row: Any) -> dict[str, Any]:
    described = configurations.describe(row)
    for secret in described["secrets"].values():
        secret["updated_at"] = secret["updated_at"] and secret["updated_at"].replace("+00:00", "Z")
    return {
        "id": row.pk,
        "connector_type": row.connector_type,
        "name": row.name,
        "status": row.status,
        **described,
        "revision": row.revision,
        "tested_revision": row.tested_revision,
        "last_test_at": row.tested,
        "last_test": row.last_report and _report(row.last_report),
        "created_at": row.created,
        "updated_at": row.updated,
    }


@lru_cache(maxsize=1000)
def _report(text: str) -> dict[str, Any]:
    """Return a report with its members in the order of the contract; that of jsonb is nobody's choice."""
    return shapes.TestReport.model_validate_json(text).as_json()


def _show_monitoring(connection: ERPConnection) -> shapes.Monitoring:
    return shapes.Monitoring(
        identity=connection.pinned_identity,
        is_paused=connection.health == Health.AUTH_FAILED,
        paused_until=connection.retry_at,
        check_minutes=connection.check_minutes,
        credentials_expire_on=connection.credentials_expire_on,
        expiries=checks.expiries(connection),
    )
