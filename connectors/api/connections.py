"""Connections: create, look at, change, test, activate, delete. What is secret goes in and never comes out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.db.models import Prefetch
from django.http import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, problems, shapes
from connectors.api.filters import ConnectionFilter
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.models import ConnectionTest, ERPConnection
from connectors.models.connection import ConnectionQuerySet
from connectors.services import connections
from tenants.models import Organization
from tenants.permissions import CONFIGURE

_CONNECTION: Final = Answer(
    description="The connection as it is now.", model=shapes.Connection, example=examples.CONNECTION
)
_PASSED: Final = Answer(description="Every step passed.", model=shapes.TestReport, example=examples.TEST_REPORT)
_FAILED: Final = Answer(
    description="The test failed; `code` is the failing step's, `test` is the whole report.",
    model=shapes.FailedTestProblem,
    example={
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": examples.FAILED_TEST_REPORT["steps"][0]["detail"],
        "code": "CONNECTION_REFUSED",
        "request_id": "2f1d7f8b-9c10-4a58-8f0c-5a3f0e6d1c11",
        "hint": examples.FAILED_TEST_REPORT["steps"][0]["hint"],
        "test": examples.FAILED_TEST_REPORT,
    },
    media_type=problems.MEDIA_TYPE,
)
_INVALID_EDIT: Final = {422: ("SECRETS_REQUIRED",)}


class ConnectionsView(ListView):
    """The organisation's connections."""

    roles = {"GET": CONFIGURE, "POST": CONFIGURE}
    filterset_class = ConnectionFilter

    @describe(
        "list_connectors",
        "List connections",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.Connection])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's connections."""
        return self.page(_of(self.org), show)

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
        connection = connections.create(
            self.org,
            self.actor,
            connector_type=wanted.connector_type,
            config=wanted.config,
            name=wanted.name or "",
            status=wanted.status,
        )
        if wanted.test_on_save:
            connections.test(connection, self.actor)
        location = reverse("api:connector", args=[connection.pk])
        shown = show(found(_of(self.org), connection.pk))
        return Response(shown, status=HTTPStatus.CREATED, headers={"Location": location})


class ConnectionView(ApiView):
    """One connection."""

    roles = {"GET": CONFIGURE, "PATCH": CONFIGURE, "DELETE": CONFIGURE}

    @describe("get_connector", "Show a connection", answers={200: _CONNECTION})
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Show a connection without its secrets; one that cannot be decrypted has the health UNREADABLE."""
        return Response(show(found(_of(self.org), connection_id)))

    @describe(
        "change_connector",
        "Change a connection",
        request=shapes.ConnectionPatch,
        request_examples={"Wait longer, expect no answers": examples.CONNECTION_PATCH},
        answers={200: _CONNECTION},
        problems={409: ("ACTIVE_CONNECTOR_EXISTS", "CONFLICT"), **_INVALID_EDIT},
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change what is given.

        `config` is merged: null clears a field, a secret that is left out is kept, unless the edit changes the
        destination, which drops every stored secret until it is entered again.
        """
        connection = found(_of(self.org), connection_id)
        patch = shapes.ConnectionPatch.parse(request.data)
        connections.change(
            connection,
            self.actor,
            config=patch.config,
            name=patch.name,
            status=patch.status,
            expected_revision=patch.revision,
        )
        return Response(show(found(_of(self.org), connection_id)))

    @describe(
        "delete_connector",
        "Delete a connection",
        answers={204: Answer(description="It is gone.")},
        problems={409: ("CONFLICT",)},
    )
    def delete(self, request: Request, connection_id: UUID) -> Response:
        """Delete a connection through which nothing was sent; disable any other."""
        connections.delete(found(_of(self.org), connection_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


class ConnectionTestView(ApiView):
    """The test of one connection."""

    roles = {"POST": CONFIGURE}

    @describe(
        "test_connector",
        "Test a connection",
        request=shapes.TestInput,
        request_examples={"As it is stored": {}, "With another time-out": {"config": {"timeout_s": 30}}},
        is_body_required=False,
        answers={200: _PASSED, 400: _FAILED},
        problems=_INVALID_EDIT,
    )
    def post(self, request: Request, connection_id: UUID) -> HttpResponseBase:
        """Try everything an export needs, as stored or with an edit that is not saved; nothing is left behind."""
        connection = found(_of(self.org), connection_id)
        wanted = shapes.TestInput.parse(request.data)
        return _report(request, connections.test(connection, self.actor, patch=wanted.config).result)


class UnsavedTestView(ApiView):
    """The test of a configuration that is not stored."""

    roles = {"POST": CONFIGURE}

    @describe(
        "test_unsaved_connector",
        "Test a configuration without storing it",
        request=shapes.unsaved_test_request,
        request_examples={"SFTP dropzone": examples.UNSAVED_TEST_INPUT},
        answers={200: _PASSED, 400: _FAILED},
    )
    def post(self, request: Request) -> HttpResponseBase:
        """Try a configuration; neither it nor the report is stored."""
        wanted = shapes.UnsavedTestInput.parse(request.data)
        result = connections.test_unsaved(
            self.org, self.actor, connector_type=wanted.connector_type, config=wanted.config
        )
        return _report(request, result.as_json())


class ConnectionTestsView(ListView):
    """The history of one connection's tests."""

    roles = {"GET": CONFIGURE}

    @describe(
        "list_connector_tests",
        "List the tests of a connection",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.ConnectionTestRun])},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """List the tests that were run on this connection, each with its whole report."""
        connection = found(_of(self.org), connection_id)
        return self.page(ConnectionTest.objects.of(self.org).filter(connection=connection), _show_test)


class ConnectionActivationView(ApiView):
    """The switch-over to one connection."""

    roles = {"POST": CONFIGURE}

    @describe(
        "activate_connector",
        "Activate a connection",
        request=shapes.ActivationInput,
        request_examples={"Switch over": {"replace": True}},
        is_body_required=False,
        answers={200: _CONNECTION},
        problems={409: ("ACTIVE_CONNECTOR_EXISTS",)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Let this connection take the organisation's orders; with `replace` the present one steps back at once."""
        connection = found(_of(self.org), connection_id)
        wanted = shapes.ActivationInput.parse(request.data)
        connections.activate(connection, self.actor, replace=wanted.replace)
        return Response(show(found(_of(self.org), connection_id)))


def show(connection: ERPConnection) -> dict[str, Any]:
    """Return a connection, fetched with its latest test, as the API shows it."""
    latest: list[ConnectionTest] = connection.latest_tests  # type: ignore[attr-defined]  # prefetched by _of
    return shapes.Connection(
        **connections.describe(connection),
        id=connection.pk,
        connector_type=connection.connector_type,
        name=connection.name,
        status=connection.status,
        revision=connection.revision,
        tested_revision=connection.tested_revision,
        last_test_at=connection.last_test_at,
        last_test=latest[0].result if latest else None,
        created_at=connection.created_at,
        updated_at=connection.updated_at,
    ).as_json()


def _of(org: Organization) -> ConnectionQuerySet:
    latest = Prefetch("tests", queryset=ConnectionTest.objects.of(org)[:1], to_attr="latest_tests")
    return ERPConnection.objects.of(org).select_related("org").prefetch_related(latest)


def _show_test(test: ConnectionTest) -> dict[str, Any]:
    return shapes.ConnectionTestRun(
        **test.result,
        id=test.pk,
        started_at=test.started_at,
        revision=test.revision,
        actor=test.actor_label,
        code=test.code or None,
    ).as_json()


def _report(request: Request, report: dict[str, Any]) -> HttpResponseBase:
    return Response(report) if report["success"] else problems.failed_test(request, report)
