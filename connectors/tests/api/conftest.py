"""Callers of two organisations, one for each role, who know the API only by HTTP."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from connectors.adapters.mock import MockConnector
from connectors.services import throttles
from connectors.tests.peers.fixtures import faulty_sftp, inbox, openssh, small_disk  # noqa: F401  # fixtures
from tenants.models import ApiKey, Role

ROOT = "/api/v1"


class Caller:
    """Calls the API with one key, or none."""

    def __init__(self, token=None, **headers):
        self.client = Client(raise_request_exception=False)
        self.headers = headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def __call__(self, method, path, body=None, *, raw=None, content_type="application/json", **headers):
        content = raw if raw is not None else b"" if body is None else json.dumps(body)
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        path = path if path.startswith("/") or "://" in path else f"{ROOT}/{path}"
        kind = content_type if content else ""
        return self.client.generic(method, path, content, content_type=kind, headers=sent)

    def get(self, path, **headers):
        return self("GET", path, **headers)

    def post(self, path, body=None, **kwargs):
        return self("POST", path, body, **kwargs)

    def patch(self, path, body):
        return self("PATCH", path, body)

    def delete(self, path):
        return self("DELETE", path)

    def submit(self, order, key="key-1"):
        return self.post("exports", {"order": order}, Idempotency_Key=key)


@pytest.fixture(autouse=True)
def _fresh():
    throttles.forget()
    MockConnector.reset()


@pytest.fixture
def caller() -> Callable[..., Caller]:
    def make(org, role=Role.ADMIN, name="test key", **columns):
        return Caller(ApiKey.objects.issue(org=org, role=role, name=name, **columns)[1])

    return make


@pytest.fixture
def api(acme, caller):
    return caller(acme)


@pytest.fixture
def stranger(globex, caller):
    return caller(globex)


@pytest.fixture
def mock(api):
    """The JSON of acme's active connection."""
    answer = api.post("connectors", {"connector_type": "MOCK", "config": {}})
    assert answer.status_code == 201, answer.content
    return answer.json()


@pytest.fixture
def dropzone() -> Path:
    folder = Path(settings.DROPZONE_ROOT) / "api-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def problem(answer, status, code):
    """Return the problem document of an answer after checking what every one has."""
    content = answer.json()
    assert (answer.status_code, content["code"]) == (status, code), content
    assert answer["Content-Type"] == "application/problem+json"
    assert content["status"] == status
    assert content["type"] == "about:blank"
    assert content["title"]
    assert content["detail"]
    assert content["request_id"] == answer["X-Request-ID"]
    return content


def paths(answer, status=422, code="VALIDATION_ERROR"):
    """Return the faulty paths of a problem."""
    return [fault["path"] for fault in problem(answer, status, code)["errors"]]
