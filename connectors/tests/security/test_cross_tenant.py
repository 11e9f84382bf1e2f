"""Nobody sees or touches what belongs to another organisation: every address of the API, with every role.

The addresses come from the URL table, the parameters from the views, the bodies from the OpenAPI document; so what is
added is asked for too, and a test says which sample is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from drf_spectacular.generators import SchemaGenerator

from connectors.api.urls import urlpatterns
from connectors.testing import sample_orders
from connectors.tests.api.conftest import ROOT
from connectors.tests.api.test_access import CONTRACT, filled, operations, routes, undone
from connectors.tests.security.belongings import HOW, Belongings
from tenants.models import Role

pytestmark = pytest.mark.usefixtures("_no_limits")

PLACES = {place for pattern in urlpatterns for place in pattern.pattern.converters} - {"connector_type"}
VOLATILE = {"X-Request-ID", "Server-Timing", "RateLimit"}
WITH_IDS = sorted((method, route) for method, route in operations() if "_id>" in route)

# What else a body needs so that its ids are looked at, by method and route.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "exports/retry"): {"include_unconfirmed": True},
    ("POST", "exports"): {"order": sample_orders.minimal("SO-mine").as_json()},
    ("POST", "exports/preview"): {"order": sample_orders.minimal("SO-mine").as_json()},
    ("POST", "connectors"): {"connector_type": "MOCK", "config": {}, "status": "DISABLED"},
    ("POST", "connectors/test"): {"connector_type": "MOCK", "config": {}},
    ("POST", "webhooks"): {"name": "mine", "url": "https://mine.test/"},
}


def nothing() -> dict[str, Any]:
    """Return an id for each place, of which there is no row."""
    return {place: uuid4() for place in PLACES} | {"connector_type": "MOCK"}


def read(answer: Any) -> str:
    """Return all that an answer says, headers included, but for what tells one request from the next."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    if answer.headers.get("Content-Type") == "application/problem+json":
        content = json.dumps(
            {name: value for name, value in json.loads(content).items() if name != "request_id"}
        ).encode()
    headers = {name: value for name, value in answer.headers.items() if name not in VOLATILE}
    return f"{answer.status_code} {headers} {content.decode()}"


def test_there_is_a_sample_for_every_id(own):
    missing = PLACES - own.ids.keys()
    assert not missing, f"{sorted(missing)} stand in addresses of the API, but there is no row of that kind: {HOW}"


def places(route: str) -> list[str]:
    return [place for place in PLACES if f"<{place}>" in route]


def strangers(route: str, own: Belongings, foreign: Belongings) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield ids of which at least one is the other organisation's, each with ids that nobody has in its place."""
    there = places(route)
    for chosen in range(1, 2 ** len(there)):
        taken = [place for bit, place in enumerate(there) if chosen & 1 << bit]
        mine = {"connector_type": "MOCK"} | own.ids
        yield (
            mine | {place: foreign.ids[place] for place in taken},
            mine | {place: value for place, value in nothing().items() if place in taken},
        )


@pytest.mark.parametrize("role", Role)
def test_another_organisations_object_is_as_good_as_none(own, foreign, caller, role):
    call, before, faults = caller(own.org, role), foreign.fingerprint(), []

    for method, route in WITH_IDS:
        allowed = role in CONTRACT[method, route]
        with undone():
            reached = call(method, filled(route, own.ids | {"connector_type": "MOCK"}), BODIES.get((method, route)))
        if (reached.status_code not in (403, 404)) is not allowed:
            faults.append(f"{method} {route}: one's own answers {reached.status_code}")
        for theirs, unknown in strangers(route, own, foreign):
            answers = [call(method, filled(route, ids), BODIES.get((method, route))) for ids in (theirs, unknown)]
            if answers[0].status_code != (404 if allowed else 403):
                faults.append(f"{method} {route}: another's answers {answers[0].status_code}")
            if read(answers[0]) != read(answers[1]):
                faults.append(f"{method} {route}: another's can be told from nobody's")
            if told := foreign.betrayed_by(read(answers[0]), said=str(theirs)):
                faults.append(f"{method} {route}: the answer tells {told}")

    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before


@pytest.mark.parametrize("role", Role)
def test_no_answer_about_ones_own_tells_of_another(own, foreign, caller, role):
    call, before, faults = caller(own.org, role), foreign.fingerprint(), []

    for method, route in operations():
        with undone():
            answer = call(
                method,
                filled(route, own.ids | {"connector_type": "MOCK"}),
                BODIES.get((method, route)),
                **{"X_Organization": foreign.org.slug, "Idempotency_Key": f"{foreign.word}-key"},
            )
            if told := foreign.betrayed_by(read(answer)):
                faults.append(f"{method} {route}: the answer tells {told}")

    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before


def filters() -> list[tuple[str, str]]:
    """Return (route, parameter) of every filter there is."""
    return [
        (route, name)
        for pattern, route in zip(urlpatterns, routes(), strict=True)
        for name in getattr(getattr(pattern.callback.view_class, "filterset_class", None), "base_filters", ())
    ]


def test_no_filter_finds_what_is_anothers(own, foreign, caller):
    call, faults = caller(own.org), []
    for route, name in filters():
        address = filled(route, own.ids)
        for value in (*foreign.ids.values(), foreign.word, f"{foreign.word}-1", f"{foreign.word} administrator"):
            answer = call.get(f"{address}?{name}={value}")
            if answer.status_code == 200 and answer.json()["results"]:
                # … unless the filter does not look at what is asked for: then only one's own may be there.
                own_only = call.get(f"{address}?{name}={uuid4()}").content == answer.content
                if not own_only:
                    faults.append(f"{route}?{name}: finds {answer.json()['results']}")
            if told := foreign.betrayed_by(read(answer), said=value):
                faults.append(f"{route}?{name}: the answer tells {told}")

    assert filters()
    assert not faults, "\n".join(faults)


def fields() -> Iterator[tuple[str, str, str, bool, bool]]:
    """Yield each field of a body that takes texts: method, route, name, whether it is an id, whether it is a list."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    components = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "requestBody" not in operation:
                continue
            route = path.removeprefix(f"{ROOT}/").replace("{", "<").replace("}", ">")
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            for name, field in _properties(body, components):
                for kind in _kinds(field, components):
                    item = kind.get("items", {}) if (is_list := kind.get("type") == "array") else kind
                    if item.get("type") == "string" and "enum" not in item:
                        yield method.upper(), route, name, item.get("format") == "uuid", is_list


def _resolved(schema: Any, components: Any) -> Any:
    return components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kinds(schema: Any, components: Any) -> Iterator[Any]:
    schema = _resolved(schema, components)
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if not choices:
        yield schema
    for choice in choices:
        yield from _kinds(choice, components)


def _properties(schema: Any, components: Any) -> Iterator[tuple[str, Any]]:
    found = {}
    for kind in _kinds(schema, components):
        found |= kind.get("properties", {})
    yield from found.items()


def test_no_body_reaches_what_is_anothers(own, foreign, caller):
    """An id or a name in a body is only a wish: it is answered like one that nobody has, and nothing moves there."""
    before, faults, asked = foreign.fingerprint(), [], 0
    call = caller(own.org)

    for method, route, name, is_id, is_list in fields():
        address, base = filled(route, own.ids), BODIES.get((method, route), {})

        def ask(value: str) -> Any:
            with undone():
                return call(method, address, base | {name: [value] if is_list else value}, Idempotency_Key="a-key")  # noqa: B023

        expected = ask(str(uuid4()) if is_id else "vwnobodywv")
        uuids = [value for value in foreign.ids.values() if len(value) == len(str(uuid4()))]
        for value in uuids if is_id else (foreign.word, foreign.org.slug, foreign.ids["connection_id"]):
            answer, asked = ask(value), asked + 1
            if answer.status_code != expected.status_code:
                faults.append(f"{method} {route}: {name}: {answer.status_code}, for nobody's {expected.status_code}")
            if told := foreign.betrayed_by(read(answer), said=value):
                faults.append(f"{method} {route}: {name} tells {told}")

    assert asked > 50
    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before


def test_what_the_other_sends_again_is_not_found_here(own, foreign, caller):
    """Another's idempotency key, order and file name are free to use."""
    order = sample_orders.complete(f"{foreign.word}-1").as_json()

    answer = caller(own.org).post("exports", {"order": order}, Idempotency_Key=f"{foreign.word}-key")

    assert answer.status_code == 202
    assert answer.json()["id"] != foreign.ids["export_id"]
    assert answer.json()["connector"]["id"] == own.ids["connection_id"]
