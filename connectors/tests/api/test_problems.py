"""Every error is a problem document, whatever was sent."""

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.http import UnreadablePostError
from rest_framework.settings import api_settings

from connectors.api import connections
from connectors.services import keys
from connectors.tests.api.conftest import problem


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"[1,]", b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1,"a":2}', b'"\\ud800"', b"\xff", b"[" * 100_000,
        b'{"a":1e999999999}', b'{"a":' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}", b"null", b'"text"', b"{} {}",
    ],
)  # fmt: skip
def test_bad_json_is_422(api, raw):
    content = problem(api.post("connectors", raw=raw), 422, "VALIDATION_ERROR")

    assert content["errors"][0]["path"] == ""


def test_a_body_beyond_the_limit_is_413(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    problem(api.post("connectors", {"name": "x" * 100}), 413, "PAYLOAD_TOO_LARGE")


def test_what_the_framework_refuses(api):
    problem(api.post("connectors", raw=b"a=b", content_type="application/x-www-form-urlencoded"), 415,
            "UNSUPPORTED_MEDIA_TYPE")  # fmt: skip
    problem(api.get("me", Accept="application/xml"), 406, "NOT_ACCEPTABLE")
    problem(api.get("exports/not-an-id"), 404, "NOT_FOUND")


def test_a_text_with_members_without_end_is_422(api):
    content = problem(api.post("connectors", raw=b"[" + b"0," * 500_001 + b"0]"), 422, "VALIDATION_ERROR")

    assert content["errors"][0]["message"].startswith("The text has more than 500000 members")
    assert api.post("connectors", raw=b'["' + b"," * 500_001 + b'"]').json()["errors"][0]["path"] == ""


def test_a_body_that_does_not_come_is_408(api, monkeypatch):
    def read(*args):
        raise UnreadablePostError

    monkeypatch.setattr(WSGIRequest, "read", read)

    problem(api.post("connectors", {}), 408, "REQUEST_TIMEOUT")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("timeout", ["statement_timeout", "lock_timeout"])
def test_a_database_that_takes_too_long_is_503(acme, caller, timeout):
    api = caller(acme)
    with connection.cursor() as cursor, connection.copy().cursor() as other:
        other.execute("BEGIN; LOCK TABLE erp_connection")
        cursor.execute(f"SET {timeout} = '20ms'")
        try:
            answer = api.get("connectors")
        finally:
            cursor.execute(f"RESET {timeout}")
            other.execute("ROLLBACK")
            other.connection.close()

    problem(answer, 503, "BUSY")
    assert int(answer["Retry-After"]) > 0


@pytest.mark.django_db
def test_a_server_with_a_retired_key_stores_nothing(api, settings):
    old = settings.ENCRYPTION_MASTER_KEY
    keys.admit()
    settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = "fedcba9876543210" * 4, [old]
    keys.rotate()
    settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = old, []

    problem(api.post("connectors", {"connector_type": "MOCK", "config": {}}), 503, "NOT_READY")


def test_too_many_requests_are_429(api, monkeypatch):
    monkeypatch.setitem(api_settings.DEFAULT_THROTTLE_RATES, "api", "1/min")
    assert api.get("me").status_code == 200

    answer = api.get("me")

    problem(answer, 429, "THROTTLED")
    assert 1 <= int(answer["Retry-After"]) <= 60


def test_an_unexpected_error_keeps_its_text_to_itself(api, monkeypatch, caplog):
    def explode(*args, **kwargs):
        raise RuntimeError("s3cret")

    monkeypatch.setattr(connections.connections, "create", explode)

    answer = api.post("connectors", {"connector_type": "MOCK", "config": {}})

    problem(answer, 500, "INTERNAL_ERROR")
    assert b"s3cret" not in answer.content
    assert any("api.unexpected_error" in str(record.msg) for record in caplog.records)
