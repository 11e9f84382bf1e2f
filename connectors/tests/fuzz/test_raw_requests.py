"""Requests as no client makes them: broken addresses, headers and bodies, sent to the WSGI application as they are."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application

from connectors.testing import sample_orders
from connectors.tests.fuzz.world import World

ORDER = json.dumps({"order": sample_orders.minimal("SO-raw").as_json()}).encode()
PATHS = (
    *(
        f"/api/v1/exports/{each}"
        for each in ("\0", "%00", "..", "%2e%2e/me", "x" * 5000, "\xff\xfe", "é", "%zz", "0" * 32)
    ),
    *("/api/v1/exports/", "/api/v1//exports", "/api/v1/EXPORTS", "/api/v1/me;x=1", "/api/v1/connector-types/\0"),
    *("/api/v1/connector-types/\xed\xa0\x80", "/api/v1/connector-types/" + "x" * 5000, "/api/v1/", "/api/v1"),
)
QUERIES = (
    *("%", "%zz", "cursor=", "cursor=%00", "cursor=%ff%fe", "cursor=a:b:c", "cursor=" + "x" * 7000, "limit=1&limit=2"),
    *("limit=%D9%A3", "limit=1e3", "limit=-1", "limit=99999999999999999999999", "status=SENT&status=\xff", "=", "&&&"),
    *("order_id=%ED%A0%80", "connector=%00", "created_after=0000-00-00T00:00:00Z", "created_after=1e9", "a" * 7000),
)
HEADERS: tuple[dict[str, str], ...] = (
    *({"HTTP_ACCEPT": value} for value in ("", "*", "text/html", "\xff", ";;;", "a/b;q=x", "application/json;" * 500)),
    *({"HTTP_AUTHORIZATION": value} for value in ("Bearer", "Bearer \xff", "Bearer " + "x" * 9000, "Basic !", "\0")),
    *({"HTTP_IDEMPOTENCY_KEY": value} for value in ("", " ", "x" * 256, "x" * 9000, "é", "\0", "a\nb")),
    *({"HTTP_X_ORGANIZATION": value} for value in ("\0", "\xff", "x" * 9000)),
    *({"HTTP_X_REQUEST_ID": value} for value in ("\0", "a\r\nb: c", "x" * 9000, "\xff")),
    *({"HTTP_PREFER": value} for value in ("respond-async, \0", "\xff", "wait=1e999")),
    *(
        {"CONTENT_TYPE": value}
        for value in ("", "text/plain", "application/json; charset=utf-16", "\xff", ";", "a" * 9000)
    ),
    *({"CONTENT_LENGTH": value} for value in ("-1", "x", "")),
    {"HTTP_CONTENT_ENCODING": "gzip"},
    {"HTTP_COOKIE": "sessionid=\0; csrftoken=\xff; =; ;"},
)
BODIES = (
    *(
        b"",
        b"\0",
        b"\xff\xfe{}\0",
        b'{"order": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"order": 1e999999}',
    ),
    *(
        b'{"order": {"order_id": "\\ud800"}}',
        b'{"order": {}, "order": {}}',
        b'{"order": NaN}',
        b'"' + b"x" * 100_000 + b'"',
    ),
    *(b"9" * 100_000, ORDER[:-1], ORDER + b" x", ORDER.decode().encode("utf-16"), b"order=1&order=2"),
)


_application = cache(get_wsgi_application)


def send(
    world: World, method: str, path: str, *, query: str = "", body: bytes = b"", **environ: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request; every text as the bytes that stand on the wire (PEP 3333)."""
    started: dict[str, Any] = {}
    request = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": f"Bearer {world.keys['ADMIN']}",
        "HTTP_IDEMPOTENCY_KEY": "raw",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    } | environ

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started.update(status=int(status[:3]), headers=dict(headers))

    content = b"".join(_application()(request, start))
    return started["status"], started["headers"], content


REQUESTS = [
    *(("GET", path, {}) for path in PATHS),
    *(("GET", "/api/v1/exports", {"query": query}) for query in QUERIES),
    *(("POST", "/api/v1/exports", {"body": ORDER, **headers}) for headers in HEADERS),
    *(("POST", "/api/v1/exports", {"body": body}) for body in BODIES),
    *((method, "/api/v1/exports", {}) for method in ("get", "BREW", "CONNECT", "TRACE", "OPTIONS", "PROPFIND")),
]


def test_whatever_it_is_the_answer_is_a_problem_and_none_of_ours(world):
    for method, path, more in REQUESTS:
        status, headers, content = send(world, method, path, **more)

        said = (method, path[:80], {name: value[:80] for name, value in more.items()}, status, content[:300])
        assert status < 500, said
        assert all("\n" not in value and "\r" not in value for value in headers.values()), said
        if status >= 400:
            problem = json.loads(content)
            assert headers["Content-Type"] == "application/problem+json", said
            assert problem["code"], said
            assert problem["request_id"] == headers["X-Request-ID"], said
        assert b"Traceback" not in content, said


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "\0", "x" * 9000, "<script>"])
def test_a_request_id_is_sane_or_ours(world, value):
    _, headers, content = send(world, "GET", "/api/v1/me", HTTP_X_REQUEST_ID=value)

    assert value not in headers["X-Request-ID"]
    assert value.encode() not in content
