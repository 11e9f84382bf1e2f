"""The addresses outside the API's own views: health, metrics, request ids, errors, static files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from connectors.models import Health
from connectors.tests.rows import a_connection
from erpconfig import urls
from tenants import scope
from tenants.models import Organization

pytestmark = pytest.mark.django_db


def broken_view(_: HttpRequest) -> HttpResponse:
    raise RuntimeError("s3cret")


class BrokenUrls:
    """The project's addresses and two that fail."""

    urlpatterns = (*urls.urlpatterns, path("api/v1/broken", broken_view), path("broken", broken_view))
    handler404 = urls.handler404
    handler500 = urls.handler500


class TestHealth:
    def test_livez_asks_nobody(self, client: Client) -> None:
        with connection.execute_wrapper(refuse):
            assert client.get("/livez").json() == {"status": "ok"}

    def test_readyz_is_ready(self, client: Client) -> None:
        answer = client.get("/readyz")

        assert answer.status_code == 200
        assert answer.json() == {"status": "ok", "checks": ["database", "migrations", "encryption"]}
        assert "no-store" in answer["Cache-Control"]

    def test_readyz_names_the_database(self, client: Client) -> None:
        with connection.execute_wrapper(refuse):
            answer = client.get("/readyz")

        assert_not_ready(answer, "database")

    def test_readyz_names_missing_migrations(self, client: Client) -> None:
        with scope.as_owner():
            MigrationRecorder.Migration.objects.filter(app="sessions").delete()

        assert_not_ready(client.get("/readyz"), "migrations")

    def test_readyz_names_the_key_ring(self, client: Client, settings: LazySettings) -> None:
        settings.ENCRYPTION_MASTER_KEY = "s3cret"

        assert_not_ready(client.get("/readyz"), "encryption")

    def test_readyz_names_a_key_that_a_connection_needs(self, client: Client, settings: LazySettings) -> None:
        connection = a_connection(Organization.objects.create(slug="acme"))
        settings.ENCRYPTION_MASTER_KEY = bytes(range(1, 33)).hex()

        assert_not_ready(client.get("/readyz"), "encryption")

        type(connection).objects.update(health=Health.UNREADABLE)  # its own state by now, and no longer ours
        assert client.get("/readyz").status_code == 200

    def test_readyz_names_the_queue_where_a_worker_is_expected(self, client: Client, settings: LazySettings) -> None:
        settings.READY_NEEDS_WORKER = True
        assert_not_ready(client.get("/readyz"), "queue")

        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
            assert client.get("/readyz").json()["checks"][-1] == "queue"

            cursor.execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('default', 'x')")
            cursor.execute("UPDATE procrastinate_events SET at = now() - interval '301 seconds'")
            assert_not_ready(client.get("/readyz"), "queue")

    def test_readyz_can_be_asked_every_second(self, client: Client) -> None:
        client.get("/readyz")
        with CaptureQueriesContext(connection) as queries:
            client.get("/readyz")

        assert len(queries) <= 4

    @pytest.mark.parametrize("address", ["/livez", "/readyz", "/metrics"])
    def test_they_answer_inside_without_https(self, client: Client, settings: LazySettings, address: str) -> None:
        settings.SECURE_SSL_REDIRECT = True

        assert client.get(address).status_code == 200
        assert client.get("/admin/").status_code == 301

    @pytest.mark.parametrize("address", ["/livez", "/readyz", "/metrics"])
    def test_they_only_answer_questions(self, client: Client, address: str) -> None:
        assert client.post(address).status_code == 405


class TestMetrics:
    def test_many_scrapers_are_one_question(self, client: Client, settings: LazySettings) -> None:
        client.get("/metrics")
        settings.METRICS_CACHE_SECONDS = 60
        with connection.execute_wrapper(refuse):
            assert b"erp_database_up 1.0" in client.get("/metrics").content

    def test_without_a_database_that_is_what_they_say(self, client: Client) -> None:
        with connection.execute_wrapper(refuse):
            answer = client.get("/metrics")

        assert b"erp_database_up 0.0" in answer.content
        assert b"python_info" in answer.content
        assert b"s3cret" not in answer.content

    def test_inside_they_are_shown(self, client: Client) -> None:
        answer = client.get("/metrics", REMOTE_ADDR="127.0.0.1")

        assert answer.status_code == 200
        assert b"python_info" in answer.content

    @pytest.mark.parametrize("address", ["203.0.113.5", ""])
    def test_outside_they_do_not_exist(self, client: Client, address: str) -> None:
        answer = client.get("/metrics", REMOTE_ADDR=address, headers={"x-forwarded-for": "127.0.0.1"})

        assert answer.status_code == 404
        assert b"python_info" not in answer.content


class TestRequestId:
    @pytest.mark.parametrize("given", ["a", "0b5c-1", "A.b_C-9", "x" * 64])
    def test_a_sane_one_is_kept(self, client: Client, given: str) -> None:
        assert client.get("/livez", headers={"x-request-id": given})["X-Request-ID"] == given

    @pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\nb", "<script>", "ä", "a;b"])
    def test_any_other_is_replaced(self, client: Client, given: str) -> None:
        answered = client.get("/livez", headers={"x-request-id": given})["X-Request-ID"]

        assert answered != given
        assert len(answered) == 36

    def test_two_requests_have_two(self, client: Client) -> None:
        assert client.get("/livez")["X-Request-ID"] != client.get("/livez")["X-Request-ID"]

    def test_the_log_has_the_same(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        client.get("/livez", headers={"x-request-id": "r-42"})

        logged = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        assert {event["request_id"] for event in logged} == {"r-42"}


class TestErrors:
    def test_an_unknown_address_of_the_api_is_a_problem(self, client: Client) -> None:
        answer = client.get("/api/v1/nothing-here", headers={"x-request-id": "r-1"})

        assert answer.status_code == 404
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json() == {
            "type": "about:blank", "title": "Not Found", "status": 404, "code": "NOT_FOUND", "request_id": "r-1",
            "detail": "There is nothing at this address.",
        }  # fmt: skip

    def test_an_unknown_address_elsewhere_is_a_page(self, client: Client) -> None:
        answer = client.get("/nothing-here")

        assert answer.status_code == 404
        assert answer["Content-Type"].startswith("text/html")

    @pytest.mark.urls.with_args(BrokenUrls)
    def test_a_failure_of_the_api_is_a_problem_without_details(self) -> None:
        answer = Client(raise_request_exception=False).get("/api/v1/broken", headers={"x-request-id": "r-1"})

        assert answer.status_code == 500
        assert answer.json()["code"] == "INTERNAL_ERROR"
        assert answer.json()["request_id"] == answer["X-Request-ID"] == "r-1"
        assert b"s3cret" not in answer.content

    @pytest.mark.urls.with_args(BrokenUrls)
    def test_a_failure_elsewhere_is_a_page_without_details(self) -> None:
        answer = Client(raise_request_exception=False).get("/broken")

        assert answer.status_code == 500
        assert answer["Content-Type"].startswith("text/html")
        assert b"s3cret" not in answer.content


class TestPages:
    def test_the_root_leads_to_the_admin(self, client: Client) -> None:
        assert client.get("/")["Location"] == "/admin/"

    def test_static_files_are_served_without_collecting_them(self, client: Client) -> None:
        answer = client.get("/static/admin/css/base.css")

        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/css")
        assert b"".join(answer.streaming_content).startswith(b"/*")
        answer.close()

    def test_the_api_documentation_needs_no_other_host(self, client: Client) -> None:
        page = client.get("/api/v1/docs")

        assert page.status_code == 200
        assert b"https://" not in page.content
        assert b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page.content

    def test_pages_carry_the_security_headers(self, client: Client) -> None:
        answer = client.get("/admin/login/")

        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"


def refuse(*_: Any) -> Callable[..., Any]:
    raise OperationalError("connection to s3cret.example.com failed")


def assert_not_ready(answer: Any, check: str) -> None:
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["check"] == check
    assert b"s3cret" not in answer.content
