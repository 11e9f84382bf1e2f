"""Whoever writes to the database moves no credential: an envelope opens in its own column of its own row only."""

from __future__ import annotations

import pytest
from django.db import connection as database

from connectors.exceptions import Tampered
from connectors.fields import EncryptedConfigField
from connectors.models import ConnectionRevision
from connectors.tests.rows import a_connection


def sealed(row):
    """Return where the envelope of a row lies: table, column and key."""
    field = EncryptedConfigField.of(row)
    return row._meta.db_table, field.column, row.pk


def exchange(one, other):
    """Swap the envelopes of two rows, as somebody with write access to the database would."""
    with database.cursor() as cursor:
        envelopes = []
        for table, column, key in (sealed(one), sealed(other)):
            cursor.execute(f'SELECT {column} FROM "{table}" WHERE id = %s', [key])  # noqa: S608
            envelopes.append(bytes(cursor.fetchone()[0]))
        for (table, column, key), envelope in zip((sealed(one), sealed(other)), reversed(envelopes), strict=True):
            cursor.execute(f'UPDATE "{table}" SET {column} = %s WHERE id = %s', [envelope, key])  # noqa: S608


@pytest.fixture
def pairs(own, foreign):
    """Return two rows whose envelopes are worth swapping."""
    mine, theirs = own.rows["connection_id"], foreign.rows["connection_id"]
    revision, staged = ConnectionRevision.objects.filter(connection=mine).order_by("pk")
    return {
        "two connections of one organisation": (mine, a_connection(own.org, status="DISABLED")),
        "two organisations": (mine, theirs),
        "a connection and a webhook": (mine, own.rows["webhook_id"]),
        "a connection and its own history": (mine, revision),
        "a past and a staged configuration": (revision, staged),
    }


@pytest.mark.parametrize(
    "pair",
    [
        "two connections of one organisation",
        "two organisations",
        "a connection and a webhook",
        "a connection and its own history",
        "a past and a staged configuration",
    ],
)
def test_a_swap_is_refused(pairs, pair):
    rows = pairs[pair]
    kept = [row.read_config() for row in rows]
    exchange(*rows)

    for row in rows:
        row.refresh_from_db()
        with pytest.raises(Tampered):
            row.read_config()

    exchange(*rows)
    for row, config in zip(rows, kept, strict=True):
        row.refresh_from_db()
        assert row.read_config() == config


def test_nothing_is_sent_through_a_swapped_connection(own, foreign, caller):
    exchange(own.rows["connection_id"], foreign.rows["connection_id"])
    call = caller(own.org)

    assert call.get(f"connectors/{own.ids['connection_id']}").json()["health"] == "UNREADABLE"
    answer = call.post(f"connectors/{own.ids['connection_id']}/test")

    assert (answer.status_code, answer.json()["code"]) == (400, "UNREADABLE_CONFIG")
    assert not foreign.betrayed_by(answer.content.decode())
