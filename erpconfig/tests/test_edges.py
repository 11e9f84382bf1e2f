"""What every answer carries, and what a request must not be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from connectors.api.schema_view import SchemaView
from connectors.api.urls import urlpatterns
from erpconfig import urls
from erpconfig.headers import HEADERS
from erpconfig.limits import MAX_ADDRESS, MAX_FORM, MAX_PARAMETERS

pytestmark = pytest.mark.django_db


def broken_view(_: HttpRequest) -> HttpResponse:
    s3cret_local = "s3cret-value"
    raise RuntimeError("SELECT s3cret", s3cret_local)


def form_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.method} {len(request.POST)} {len(request.FILES)}")


class Urls:
    """The project's addresses, one that fails, and one that reads forms."""

    urlpatterns = (*urls.urlpatterns, path("api/v1/broken", broken_view), path("broken", broken_view),
                   path("form", form_view))  # fmt: skip
    handler400, handler404, handler500 = urls.handler400, urls.handler404, urls.handler500


@pytest.fixture
def caller(urls_with_failures: None) -> Client:
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def urls_with_failures(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = Urls


ANSWERS = {
    "redirect": ("GET", "/", {}, 302),
    "https": ("GET", "/admin/", {"settings": {"SECURE_SSL_REDIRECT": True}}, 301),
    "page": ("GET", "/admin/login/", {}, 200),
    "forged form": ("POST", "/admin/login/", {}, 403),
    "no page": ("GET", "/nothing", {}, 404),
    "broken page": ("GET", "/broken", {}, 500),
    "broken page, debug": ("GET", "/broken", {"settings": {"DEBUG": True}}, 500),
    "another host": ("GET", "/admin/", {"host": "evil.example.com"}, 400),
    "another host, https": ("GET", "/", {"host": "evil.example.com", "settings": {"SECURE_SSL_REDIRECT": True}}, 400),
    "static file": ("GET", "/static/connectors/admin.css", {}, 200),
    "no static file": ("GET", "/static/nothing", {}, 404),
    "documentation": ("GET", "/api/v1/docs", {}, 200),
    "schema": ("GET", "/api/v1/schema", {}, 200),
    "no key": ("GET", "/api/v1/me", {}, 401),
    "no address": ("GET", "/api/v1/nothing", {}, 404),
    "broken call": ("GET", "/api/v1/broken", {}, 500),
    "another host, api": ("GET", "/api/v1/me", {"host": "evil.example.com"}, 400),
    "too long": ("GET", "/api/v1/me?" + "x" * MAX_ADDRESS, {}, 414),
    "health": ("GET", "/livez", {}, 200),
    "metrics": ("GET", "/metrics", {}, 200),
}


@pytest.mark.parametrize(("method", "address", "how", "status"), ANSWERS.values(), ids=list(ANSWERS))
def test_every_answer_has_the_headers(
    caller: Client, settings: LazySettings, method: str, address: str, how: dict[str, Any], status: int
) -> None:
    for name, value in how.get("settings", {}).items():
        setattr(settings, name, value)

    answer = caller.generic(method, address, headers={"host": how.get("host", "localhost")})
    content = answer.getvalue()

    assert answer.status_code == status
    expected = dict(HEADERS)
    if address == "/api/v1/docs":
        expected["Content-Security-Policy"] = expected["Content-Security-Policy"].replace(
            "img-src 'self'", "img-src 'self' data:"
        )
    assert {name: answer.get(name) for name in HEADERS} == expected
    if not address.startswith("/static/"):
        assert "no-store" in answer["Cache-Control"]
    if address.startswith("/api/") and status >= 400:
        assert answer["Content-Type"] == "application/problem+json"
        assert json.loads(content)["request_id"] == answer["X-Request-ID"]
    assert b"<style" not in content
    assert b"style=" not in content
    assert b"evil" not in content


def test_the_policy_allows_nothing_by_default() -> None:
    policy = dict(each.split(" ", 1) for each in HEADERS["Content-Security-Policy"].split("; "))

    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
    assert "unsafe" not in str(policy)


def test_https_is_for_good(client: Client, settings: LazySettings) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000

    assert client.get("/livez", secure=True)["Strict-Transport-Security"].startswith("max-age=31536000")


class TestDebug:
    @pytest.mark.parametrize("accept", ["text/html", "text/plain"])
    def test_a_failure_shows_places_and_nothing_else(self, caller: Client, settings: LazySettings, accept: str) -> None:
        settings.DEBUG = True

        content = caller.get(
            "/broken?q=s3cret", headers={"accept": accept, "cookie": "a=s3cret", "authorization": "s3cret"}
        ).content.decode()

        assert "RuntimeError" in content
        assert "test_edges.py" in content
        for leak in ("s3cret", "SELECT", "SECRET_KEY", "DATABASES", "INSTALLED_APPS", settings.SECRET_KEY):
            assert leak not in content

    def test_an_unknown_address_shows_no_settings(self, caller: Client, settings: LazySettings) -> None:
        settings.DEBUG = True

        content = caller.get("/nothing").content.decode()

        assert "INSTALLED_APPS" not in content
        assert settings.SECRET_KEY not in content


class TestLimits:
    @pytest.mark.parametrize(
        ("media_type", "size"), [("application/x-www-form-urlencoded", MAX_FORM), ("text/plain", MAX_FORM),
                                 ("multipart/form-data; boundary=x", MAX_FORM), ("application/json", 16 * 1024 * 1024)],
    )  # fmt: skip
    @pytest.mark.parametrize("address", ["/admin/login/", "/api/v1/exports"])
    def test_a_body_that_is_too_large(self, caller: Client, address: str, media_type: str, size: int) -> None:
        answer = caller.post(address, b"{}", media_type, CONTENT_LENGTH=str(size + 1))

        assert answer.status_code == 413
        assert answer.json()["code"] == "PAYLOAD_TOO_LARGE"
        within = caller.post(address, b"{}", media_type, CONTENT_LENGTH=str(size))
        assert within.status_code != 413

    @pytest.mark.parametrize(
        ("header", "value", "status", "code"),
        [
            ("content-encoding", "gzip", 415, "UNSUPPORTED_MEDIA_TYPE"),
            ("content-encoding", "identity, deflate", 415, "UNSUPPORTED_MEDIA_TYPE"),
            ("transfer-encoding", "chunked", 411, "LENGTH_REQUIRED"),
        ],
    )
    @pytest.mark.parametrize("address", ["/admin/login/", "/api/v1/exports"])
    def test_a_body_that_is_not_what_it_seems(
        self, caller: Client, address: str, header: str, value: str, status: int, code: str
    ) -> None:
        answer = caller.post(address, b"{}", content_type="application/json", headers={header: value})

        assert (answer.status_code, answer.json()["code"]) == (status, code)

    @pytest.mark.parametrize("address", ["/admin/login/", "/api/v1/exports"])
    def test_a_query_without_end(self, caller: Client, address: str) -> None:
        assert caller.get(f"{address}?{'&'.join(['a=1'] * (MAX_PARAMETERS + 1))}").status_code == 400
        assert caller.get(f"{address}?{'&'.join(['a=1'] * MAX_PARAMETERS)}").status_code != 400

    @pytest.mark.parametrize("name", ["order.json", "../../etc/passwd", "x" * 300])
    @pytest.mark.parametrize("address", ["/admin/login/", "/form"])
    def test_nothing_is_uploaded(self, urls_with_failures: None, address: str, name: str) -> None:
        caller = Client(raise_request_exception=False)

        answer = caller.post(address, {"username": "a", "file": SimpleUploadedFile(name, b"s3cret" * 1000)})

        assert answer.status_code == 400
        assert b"s3cret" not in answer.content

    def test_nothing_is_uploaded_to_the_api(self, caller: Client) -> None:
        file = SimpleUploadedFile("order.json", b"{}")

        assert caller.post("/api/v1/exports", {"file": file}).status_code == 401  # it asks who calls before it reads

    def test_a_form_has_so_many_fields(self, urls_with_failures: None) -> None:
        caller = Client(raise_request_exception=False)

        assert caller.post("/form", {f"f{n}": "" for n in range(1001)}).status_code == 400

    @pytest.mark.parametrize("header", ["x-http-method-override", "x-http-method", "x-method-override"])
    def test_a_method_is_what_it_is(self, urls_with_failures: None, header: str) -> None:
        answer = Client().post("/form?_method=DELETE", {"_method": "DELETE"}, headers={header: "DELETE"})

        assert answer.content == b"POST 1 0"


def test_the_description_is_made_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes half a second of a processor, and nobody has to have a key for it."""
    addresses = ("/api/v1/schema", "/api/v1/schema?lang=de", "/api/v1/schema?version=2", "/api/v1/schema?x=1")
    first = client.get(addresses[0])
    assert first.content.startswith(b"openapi: 3.1")
    monkeypatch.setattr(SchemaView.generator_class, "get_schema", None)

    assert all(client.get(address).content == first.content for address in addresses)
    assert first["Content-Type"].startswith("application/vnd.oai.openapi")


def test_no_view_of_the_api_reads_anything_but_json() -> None:
    parsers = {parser for pattern in urlpatterns for parser in pattern.callback.cls.parser_classes}

    assert [parser.media_type for parser in parsers] == ["application/json"]
