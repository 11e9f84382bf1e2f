"""A far end that says the credentials back, in every text that the protocol has for it."""

from __future__ import annotations

import logging

import pytest
from django.db import connection as database

from connectors.services import delivery
from connectors.testing import sample_orders
from connectors.tests.security.samples import SAMPLES

_CURRENT_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@pytest.fixture(params=[sample for sample in SAMPLES if sample.connector_type == "DROPZONE_JSON_V1"], ids=str)
def config(request, canaries, home):
    return request.param.config(canaries, home)


@pytest.fixture
def everything_logged():
    root = logging.getLogger()
    before = root.level
    root.setLevel("DEBUG")
    # The far end runs in this process, and its own library writes down what it says.
    logging.getLogger("asyncssh").setLevel("CRITICAL")
    yield
    root.setLevel(before)


def database_as_text():
    with database.cursor() as cursor:
        cursor.execute(_CURRENT_TABLES)
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT row::text FROM "{table}" row')  # noqa: S608  # a table of our own
            yield from (text for (text,) in cursor.fetchall())


@pytest.mark.parametrize("refuses", [True, False])
def test_it_is_not_repeated(api, canaries, home, config, capfd, everything_logged, refuses):
    home.echoes, home.refuses = True, refuses
    connection = api.post("connectors", {"connector_type": "DROPZONE_JSON_V1", "config": config}).json()
    answers = [
        api.post(f"connectors/{connection['id']}/test"),
        api.submit(sample_orders.complete("SO-1").as_json()),
    ]
    delivery.drain(connection["id"])
    answers += [api.get(path) for path in ("connectors", f"connectors/{connection['id']}/tests", "exports")]

    assert answers[0].status_code == 400
    assert home.logins
    for text in (*(answer.content for answer in answers), *database_as_text(), *capfd.readouterr()):
        assert not canaries.leaks(text), canaries.where(text)
