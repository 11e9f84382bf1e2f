"""The application inside this process, on a throw-away PostgreSQL: requests pass all middleware, without a socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

from erpconfig.testing.postgres import TestRun
from tenants import scope


@contextmanager
def application(**environment: str) -> Iterator[None]:
    """Set Django up on an empty, migrated database; both are gone afterwards.

    Args:
        environment: settings that differ from their defaults. Log lines are rendered as in production and thrown away.
    """
    run = TestRun()
    stderr = sys.stderr
    try:
        run.prepare_environment()
        os.environ |= {"DJANGO_SETTINGS_MODULE": "erpconfig.settings"} | environment
        django.setup()
        scope.enter(scope.EVERYTHING)
        call_command("migrate", verbosity=0)
        with Path(os.devnull).open("w") as sys.stderr:
            yield
    finally:
        sys.stderr = stderr
        from django.db import connections

        connections.close_all()
        connections["default"].close_pool()
        run.end()


class Caller:
    """Calls the WSGI application as the web server does, so that database connections come and go with the request."""

    def __init__(self, authorization: str) -> None:
        """Take the header of all requests."""
        from django.core.handlers.wsgi import WSGIHandler

        self._application = WSGIHandler()
        self._authorization = authorization

    def __call__(self, method: str, address: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the content of an answer, which has to be a success.

        Args:
            method: of the request.
            address: path and query.
            body: JSON.
            headers: as WSGI names them, `HTTP_IDEMPOTENCY_KEY`.
        """
        path, _, query = address.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json" if body else "",
            "HTTP_HOST": "localhost",
            "HTTP_AUTHORIZATION": self._authorization,
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            **headers,
        }
        statuses: list[str] = []
        answer = self._application(environ, lambda status, _: statuses.append(status))
        content = b"".join(answer)
        answer.close()
        assert statuses[0].startswith("2"), (statuses, content)
        return content
