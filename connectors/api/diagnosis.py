"""Tests of connections: asked for by POST, run by a worker, read as one report, as a stream or later."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.http import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, problems, shapes, streams
from connectors.api.connections import INVALID_EDIT, of_organization
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.models import ConnectionTest
from connectors.services import connections, diagnosis
from tenants.roles import Scope

_PASSED: Final = Answer(
    description="Every step passed. As a stream: the test has begun, and its `result` says whether it passed.",
    model=shapes.TestReport,
    example=examples.TEST_REPORT,
    also={
        streams.MEDIA_TYPE: "Server-sent events: `test` with its id, each `step` as it ends, the report as `result`."
    },
)
_LATER: Final = Answer(
    description="It goes on: asked for with `Prefer: respond-async`, or slower than anybody waits.",
    model=shapes.ConnectionTestRun,
    headers={"Location": "Where the test is.", "Preference-Applied": "`respond-async`, if that was asked for."},
)
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
_ANSWERS: Final = {200: _PASSED, 202: _LATER, 400: _FAILED}
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async` (RFC 7240): answer 202 at once, and read the test at its Location.",
    "schema": {"type": "string"},
}
_RUN: Final = Answer(description="The test, as far as it is.", model=shapes.ConnectionTestRun)


def _prefers(request: Request, preference: str) -> bool:
    """Return whether a caller has stated a preference (RFC 7240, section 2): names ignore case, parameters follow."""
    stated = request.headers.get("Prefer", "").lower().split(",")
    return preference in (each.partition(";")[0].strip() for each in stated)


class _TestingView(ApiView):
    """An address where a test is asked for."""

    scopes = {"POST": Scope.CONNECTIONS_TEST}
    renderer_classes = streams.RENDERERS

    def answer(self, test: ConnectionTest) -> HttpResponseBase:
        """Answer in the way the caller prefers: a stream, a place to look later, or the report."""
        if streams.is_wanted(self.request):
            return streams.stream_of(test)
        is_later_preferred = _prefers(self.request, "respond-async")
        if not is_later_preferred:
            test = diagnosis.finish(test)
        if not test.has_ended:
            headers = {"Location": reverse("api:test", args=[test.pk])}
            if is_later_preferred:
                headers["Preference-Applied"] = "respond-async"
            return Response(show(test), status=HTTPStatus.ACCEPTED, headers=headers)
        report = shapes.TestReport(**test.result).as_json()  # in this order; that of jsonb is nobody's choice
        return Response(report) if test.success else problems.failed_test(self.request, report)


class ConnectionTestView(_TestingView):
    """The test of one connection."""

    @describe(
        "test_connector",
        "Test a connection",
        request=shapes.TestInput,
        request_examples={"As it is stored": {}, "With another time-out": {"config": {"timeout_s": 30}}},
        is_body_required=False,
        answers=_ANSWERS,
        problems=INVALID_EDIT,
        headers=(_PREFER,),
    )
    def post(self, request: Request, connection_id: UUID) -> HttpResponseBase:
        """Try everything an export needs, as stored or with an edit that is not saved; nothing is left behind.

        With `Accept: text/event-stream` each step is sent as it ends (`event: step`), then the report
        (`event: result`).
        """
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.TestInput.parse(request.data)
        return self.answer(diagnosis.start(connection, self.actor, patch=wanted.config))


class UnsavedTestView(_TestingView):
    """The test of a configuration that is not stored."""

    @describe(
        "test_unsaved_connector",
        "Test a configuration without storing it",
        request=shapes.unsaved_test_request,
        request_examples={"SFTP dropzone": examples.UNSAVED_TEST_INPUT},
        answers=_ANSWERS,
        headers=(_PREFER,),
    )
    def post(self, request: Request) -> HttpResponseBase:
        """Try a configuration; it is erased when the test has ended."""
        wanted = shapes.UnsavedTestInput.parse(request.data)
        test = diagnosis.start_new(self.org, self.actor, connector_type=wanted.connector_type, config=wanted.config)
        return self.answer(test)


class StagedTestView(_TestingView):
    """The test of staged credentials."""

    @describe(
        "test_staged_credentials",
        "Test the staged credentials",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers=_ANSWERS,
        problems={409: ("CONFLICT", "UNREADABLE_CONFIG")},
        headers=(_PREFER,),
    )
    def post(self, request: Request, connection_id: UUID) -> HttpResponseBase:
        """Try the connection with the credentials that wait to be promoted."""
        connection = found(of_organization(self.org), connection_id)
        shapes.EmptyInput.parse(request.data)
        return self.answer(diagnosis.start_staged(connection, self.actor))


class IdentityView(_TestingView):
    """Who the far end of one connection has to be."""

    scopes = {"POST": Scope.CONNECTIONS_WRITE}

    @describe(
        "accept_connector_identity",
        "Accept who the far end is now",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers=_ANSWERS,
        headers=(_PREFER,),
    )
    def post(self, request: Request, connection_id: UUID) -> HttpResponseBase:
        """Forget who the far end was and test; whoever answers is the right one if the test succeeds."""
        connection = found(of_organization(self.org), connection_id)
        shapes.EmptyInput.parse(request.data)
        with transaction.atomic():  # without a test nobody would take the other's place
            test = diagnosis.start(connections.accept_identity(connection, self.actor), self.actor)
        return self.answer(test)


class ConnectionTestsView(ListView):
    """The history of one connection's tests."""

    scopes = {"GET": Scope.CONNECTIONS_READ}

    @describe(
        "list_connector_tests",
        "List the tests of a connection",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.ConnectionTestRun])},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """List the tests that were run on this connection, scheduled checks included, each with its report."""
        connection = found(of_organization(self.org), connection_id)
        return self.page(ConnectionTest.objects.of(self.org).filter(connection=connection), show)


class TestView(ApiView):
    """One test."""

    __test__ = False

    scopes = {"GET": Scope.CONNECTIONS_READ}

    @describe("get_test", "Show a test", answers={200: _RUN})
    def get(self, request: Request, test_id: UUID) -> Response:
        """Show a test as far as it is: the steps that have ended, and the report once it has."""
        return Response(show(found(ConnectionTest.objects.of(self.org), test_id)))


class TestCancellationView(ApiView):
    """The end of one test before its time."""

    __test__ = False

    scopes = {"POST": Scope.CONNECTIONS_TEST}

    @describe(
        "cancel_test",
        "Cancel a test",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={200: _RUN},
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, test_id: UUID) -> Response:
        """Let a test end before its next step; what it has written at the far end is removed all the same."""
        test = found(ConnectionTest.objects.of(self.org).select_related("org", "connection"), test_id)
        shapes.EmptyInput.parse(request.data)
        return Response(show(diagnosis.cancel(test, self.actor)))


def show(test: ConnectionTest) -> dict[str, Any]:
    """Return a test as the API shows it."""
    report = {"success": None, "latency_ms": 0, "steps": []} | test.result
    return shapes.ConnectionTestRun(
        **report,
        id=test.pk,
        connector_id=test.connection_id,
        subject=test.subject,
        state=test.state,
        started_at=test.started_at,
        revision=test.revision,
        actor=test.actor_label,
        code=test.code or None,
    ).as_json()
