"""The API against its own description: whatever is sent, the answer is one that is described, and never a 5xx.

Requests are made by schemathesis, valid and invalid ones; all its checks look at each answer. `make fuzz` runs many.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from itertools import islice

import hypothesis
import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from connectors.config import edit
from connectors.exceptions import ConfigurationError
from connectors.registry import registry
from connectors.tests.api.conftest import ROOT
from connectors.tests.api.test_access import CONTRACT
from connectors.tests.fuzz.world import World, number_of
from tenants.models import Role

SEED = int(os.environ.get("FUZZ_SEED", "20261125"))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1"))
IS_LONG = EXAMPLES > 20
MANY = 1000

# Why a request that fits its JSON Schema may be refused: what no schema can say, by the code of the fault.
BEYOND_A_SCHEMA: dict[str, str] = {
    "exclusive": "one field forbids another",
    "confirmation": "one field asks for another",
    "not_applicable": "one field is for certain values of another",
    "missing": "one of several is required",
    "no_duration": "a time has to be after another",
    "duplicate": "no two elements may be alike in one member",
    "int_type": "1.0 is an integer to a schema, and none to us",
    "timezone": "the names of time zones are a list of its own",
    "too_late": "how late a time may be",
    "past": "what time it is",
    "beyond_role": "one field bounds another",
    "network": "an address is more than its characters",
    "email": "the same",
    "datetime_range": "a time has to be one in UTC, too",
    "decimal_max_places": "a number has digits that its value does not tell of",
    "decimal_max_digits": "the same",
    "decimal_whole_digits": "the same",
    "blank": "a text of blanks only is none",
}

INTERNALS = re.compile(rb"function-|partial\(|literal\[| at 0x|Traceback|pydantic|django|psycopg")
"""What no caller has to know."""


@cache
def api() -> BaseSchema:
    """Return the description with the application behind it; made when it is needed, as it takes a moment."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document, default=str)))
    schema.app = get_wsgi_application()
    schema.config.phases.coverage.generate_duplicate_query_parameters = True
    return schema


@pytest.mark.parametrize("label", sorted(f"{method} {ROOT}/{route}" for method, route in CONTRACT))
def test_every_answer_is_described(label: str, world: World) -> None:
    print(f"FUZZ_SEED={SEED} FUZZ_EXAMPLES={EXAMPLES}")  # shown when it fails
    operation = api().find_operation_by_label(label.replace("<", "{").replace(">", "}"))
    cases = boundaries(operation)
    for case in cases if IS_LONG else chosen(cases):
        ask(case, world)
    if len(cases) == MANY and not IS_LONG:
        return  # what is described so broadly takes seconds to be asked at random

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
    )
    @hypothesis.given(case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]))
    def at_random(case: Case) -> None:
        ask(case, world)

    at_random()


def boundaries(operation: APIOperation) -> list[Case]:
    """Return requests at and just beyond each limit that the description names; in the short form not too many."""
    cases = api().iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=api().config.generation
    )
    return list(islice(cases, None if IS_LONG else MANY))


def chosen(cases: list[Case]) -> list[Case]:
    """Return a few of the requests, mixed, and the same ones for the same seed."""
    mixed = sorted(cases, key=number_of)
    start = SEED % max(len(mixed), 1)
    return (mixed[start:] + mixed[:start])[:15]


def ask(case: Case, world: World) -> None:
    """Send one request, look at the answer with every check, and undo what it did."""
    number = number_of(case)
    world.address(case, number)
    headers = {"Authorization": f"Bearer {world.keys[role_for(case, number)]}"}

    with transaction.atomic():
        answer = case.call(headers=headers)
        excluded = [] if number % 16 == 0 else [ignored_auth]  # it repeats the request
        if is_beyond_a_schema(answer):
            excluded.append(positive_data_acceptance)
        if answer.status_code < 300 and is_read_leniently(case):
            excluded.append(negative_data_rejection)
        assert not INTERNALS.search(answer.content), answer.content
        case.validate_response(answer, headers=headers, transport_kwargs={"headers": headers}, excluded_checks=excluded)
        transaction.set_rollback(True)


def role_for(case: Case, number: int) -> Role:
    """Return the role that makes this request: now and then one that may not."""
    route = case.operation.path.removeprefix(f"{ROOT}/").replace("{", "<").replace("}", ">")
    allowed = CONTRACT.get((case.operation.method.upper(), route), set(Role))
    roles = [role for role in Role if (role in allowed) is (number % 16 != 1)] or list(Role)
    return roles[number // 16 % len(roles)]


def is_beyond_a_schema(answer: Response) -> bool:
    """Return whether a refusal is for reasons that no schema can express; what a configuration means is one."""
    if answer.status_code == 400 and "test" in answer.json():
        return True  # the request is fine: it is the far end that is not
    if answer.status_code != 422:
        return False
    faults = answer.json().get("errors", [])
    return bool(faults) and all(
        fault["code"] in BEYOND_A_SCHEMA or fault["path"].partition(".")[0] == "config" for fault in faults
    )


def is_read_leniently(case: Case) -> bool:
    """Return whether a configuration violates its schema only in spelling: its class reads 0 as false, "22" as 22."""
    if not (isinstance(case.body, dict) and isinstance(case.body.get("config"), dict)):
        return False
    connector_type = case.body.get("connector_type")
    if not (isinstance(connector_type, str) and connector_type in registry.connectors):
        return False
    try:
        edit(registry.get(connector_type).Config, {}, case.body["config"])
    except ConfigurationError:
        return False
    return case.media_type == "application/json"
