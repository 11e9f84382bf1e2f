# ruff: noqa: S608  # tables and columns by name, and no value from elsewhere
"""Whoever alters the audit trail is found out, whichever way it is done; whoever only writes to it never is."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from connectors.services import audit_seals, retention
from connectors.services.pooling import give_back
from tenants import audit_chain, scope
from tenants.audit import INSTALLATION, AuditChain, AuditEvent, AuditLink, AuditSeal, record
from tenants.audit_chain import Kind

pytestmark = pytest.mark.django_db(transaction=True)

OTHER_KEY = bytes(range(100, 132)).hex()


@contextmanager
def intruder():
    """Write to the database as somebody whom no trigger stops."""
    with scope.as_owner(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor


def verify(*arguments):
    """Return the exit code of verify_audit and what it found, by chain."""
    out, code = StringIO(), 0
    try:
        call_command("verify_audit", "--json", *arguments, stdout=out)
    except CommandError as error:
        code = error.returncode
    found = {each["organization"]: each for each in json.loads(out.getvalue())} if out.getvalue() else {}
    return code, found


def kinds(found, slug="acme"):
    return {(finding["kind"], finding["sequence"]) for finding in found[slug]["findings"]}


def place(org, sequence):
    return AuditLink.objects.get(org=org, sequence=sequence)


def age(org, days, *, upto):
    """Let the first events of an organisation be older, and chain them as if they had always been."""
    with intruder() as cursor:
        cursor.execute(
            "UPDATE audit_event SET created_at = created_at - make_interval(days => %s)"
            " WHERE id IN (SELECT event_id FROM audit_link WHERE org_id = %s AND sequence <= %s)",
            [days, org.pk, upto],
        )
    rewrite(org)


def rewrite(org):
    """Compute every hash anew, as whoever covers up an alteration would."""
    with intruder() as cursor:
        cursor.execute("DELETE FROM audit_link WHERE org_id = %s", [org.pk])
        cursor.execute("UPDATE audit_chain SET sequence = 0, hash = %s WHERE id = %s", [bytes(32), org.pk])
        cursor.execute("SELECT audit_link_events(0)")


@pytest.fixture
def trail(acme, globex, actor):
    """Six events of one organisation, sealed, and two of others."""
    for number in range(1, 7):
        record(actor, "test.done", org=acme, number=number, text='é \u2028 \\ " /', amount=1.10)
    record(actor, "test.done", org=globex)
    record(actor, "test.done", org=None)
    audit_seals.seal_grown()
    return acme


class TestTheChain:
    def test_another_program_can_verify_it(self, trail):
        previous = bytes(32)
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT sequence, link.hash, {', '.join(audit_chain.COLUMNS)} FROM audit_link AS link"
                " JOIN audit_event AS event ON event.id = event_id WHERE link.org_id = %s ORDER BY sequence",
                [trail.pk],
            )
            rows = cursor.fetchall()

        for number, (sequence, stored, *fields) in enumerate(rows, start=1):
            event = b"erpc/audit-event/v1"
            for value in fields:
                raw = None if value is None else value.encode()
                event += b"\xff\xff\xff\xff" if raw is None else len(raw).to_bytes(4, "big") + raw
            previous = hashlib.sha256(previous + number.to_bytes(8, "big") + event).digest()
            assert (sequence, bytes(stored)) == (number, previous)
        assert len(rows) == 6

    def test_what_is_rolled_back_leaves_no_gap(self, trail, actor):
        with transaction.atomic():
            record(actor, "test.failed", org=trail)
            transaction.set_rollback(True)
        with transaction.atomic():
            record(actor, "test.done", org=trail)
            with transaction.atomic():
                record(actor, "test.failed", org=trail)
                transaction.set_rollback(True)
            record(actor, "test.done", org=trail)

        assert AuditChain.objects.get(pk=trail.pk).sequence == 8
        assert verify()[0] == 0

    def test_many_at_once_leave_no_gap_and_wait_in_no_circle(self, acme, globex, actor):
        """Every transaction writes to three chains, each thread in another order."""
        failures = []

        def write(number):
            orgs = [acme, globex, None][number % 3 :] + [acme, globex, None][: number % 3]
            try:
                for _ in range(25):
                    with transaction.atomic():
                        for org in orgs:
                            record(actor, "test.done", org=org)
            except Exception as error:
                failures.append(error)
            finally:
                give_back()

        threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert not failures
        for chain in (acme.pk, globex.pk, INSTALLATION):
            reading = audit_chain.read(chain)
            assert (reading.events, reading.head.sequence, reading.findings) == (200, 200, [])

    @pytest.mark.parametrize("table", ["audit_event", "audit_link", "audit_chain", "audit_seal"])
    @pytest.mark.parametrize(
        "change", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET org_id = gen_random_uuid(), sequence = 0"]
    )
    def test_not_even_the_owner_changes_it_by_mistake(self, trail, table, change):
        if table == "audit_event":
            change = change.replace(", sequence = 0", "")

        with pytest.raises(DatabaseError, match=r"is append-only|only grows"), scope.as_owner(), transaction.atomic():
            connection.cursor().execute(change.format(table))


class TestTampering:
    """Each done as somebody whom no trigger stops, and told apart from the others."""

    def test_nothing_was_done(self, trail):
        code, found = verify()

        assert code == 0
        assert {slug: each["findings"] for slug, each in found.items()} == {"acme": [], "globex": [], None: []}
        assert found["acme"]["seal"]["sequence"] == 6

    @pytest.mark.parametrize(
        "change",
        [
            "details = '{}'",
            "actor_label = 'somebody else'",
            "actor_kind = 'USER'",
            "address = '192.0.2.1'",
            "created_at = created_at + interval '1 microsecond'",
            "org_id = NULL",
            "action = action || ' '",
            "details = details || '{\"number\": 3.0}'",
        ],
    )
    def test_an_event_is_altered(self, trail, change):
        with intruder() as cursor:
            cursor.execute(f"UPDATE audit_event SET {change} WHERE id = %s", [place(trail, 3).event_id])

        code, found = verify()

        assert code == 3
        assert kinds(found) == {(Kind.ALTERED, 3)}

    def test_an_event_is_removed(self, trail):
        with intruder() as cursor:
            cursor.execute("DELETE FROM audit_event WHERE id = %s", [place(trail, 3).event_id])

        assert kinds(verify()[1]) == {(Kind.EVENT_MISSING, 3)}

    def test_an_event_is_removed_with_its_link(self, trail):
        with intruder() as cursor:
            cursor.execute("DELETE FROM audit_event WHERE id = %s", [place(trail, 3).event_id])
            cursor.execute("DELETE FROM audit_link WHERE org_id = %s AND sequence = 3", [trail.pk])

        assert kinds(verify()[1]) == {(Kind.LINK_MISSING, 3)}

    def test_the_first_event_is_removed_with_its_link(self, trail):
        with intruder() as cursor:
            cursor.execute("DELETE FROM audit_event WHERE id = %s", [place(trail, 1).event_id])
            cursor.execute("DELETE FROM audit_link WHERE org_id = %s AND sequence = 1", [trail.pk])

        assert kinds(verify()[1]) == {(Kind.LINK_MISSING, 1)}

    @pytest.mark.parametrize("column", ["event_id", "sequence"])
    def test_two_events_change_places(self, trail, column):
        first, second = place(trail, 2), place(trail, 3)
        with intruder() as cursor:
            for target, value in ((first, -1), (second, getattr(first, column)), (first, getattr(second, column))):
                cursor.execute(f"UPDATE audit_link SET {column} = %s WHERE hash = %s", [value, target.hash])

        assert (Kind.REORDERED, 2) in kinds(verify()[1])

    def test_an_event_is_put_in_without_a_link(self, trail):
        with intruder() as cursor:
            cursor.execute(
                "INSERT INTO audit_event (org_id, created_at, actor_kind, actor_id, actor_label, request_id, action,"
                " target_type, target_id, details) SELECT org_id, created_at, actor_kind, actor_id, actor_label,"
                " request_id, action, target_type, target_id, details FROM audit_event WHERE id = %s",
                [place(trail, 3).event_id],
            )

        assert kinds(verify()[1]) == {(Kind.UNCHAINED, None)}

    @pytest.mark.parametrize(("is_head_moved", "is_all"), [(False, False), (True, False), (True, True)])
    def test_the_last_events_are_removed(self, trail, is_head_moved, is_all):
        kept = 0 if is_all else 4
        last = bytes(32) if is_all else bytes(place(trail, 4).hash)
        with intruder() as cursor:
            cursor.execute(
                "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_link WHERE org_id = %s"
                " AND sequence > %s)",
                [trail.pk, kept],
            )
            cursor.execute("DELETE FROM audit_link WHERE org_id = %s AND sequence > %s", [trail.pk, kept])
            if is_head_moved:
                cursor.execute("UPDATE audit_chain SET sequence = %s, hash = %s WHERE id = %s", [kept, last, trail.pk])

        code, found = verify()

        assert code == 3
        assert kinds(found) == {(Kind.TAIL_MISSING, kept + 1)}

    def test_the_whole_chain_is_gone_but_for_its_seal(self, trail):
        with intruder() as cursor:
            for table, column in (("audit_event", "org_id"), ("audit_link", "org_id"), ("audit_chain", "id")):
                cursor.execute(f"DELETE FROM {table} WHERE {column} = %s", [trail.pk])

        assert {kind for kind, _ in kinds(verify()[1])} == {Kind.TAIL_MISSING, Kind.HEAD_DIFFERS}

    def test_the_head_is_altered(self, trail):
        with intruder() as cursor:
            cursor.execute("UPDATE audit_chain SET hash = %s WHERE id = %s", [bytes(32), trail.pk])

        assert kinds(verify()[1]) == {(Kind.HEAD_DIFFERS, 6)}

    def test_all_hashes_are_computed_anew(self, trail):
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET details = '{}' WHERE id = %s", [place(trail, 3).event_id])
        rewrite(trail)
        assert audit_chain.read(trail.pk).findings == []

        code, found = verify()

        assert code == 3
        assert kinds(found) == {(Kind.REWRITTEN, 6)}

    def test_all_hashes_are_computed_anew_and_the_trail_has_grown(self, trail, actor):
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET details = '{}' WHERE id = %s", [place(trail, 3).event_id])
        rewrite(trail)
        record(actor, "test.done", org=trail)

        assert audit_seals.seal_grown() <= 1  # the installation's own at most
        assert kinds(verify()[1]) == {(Kind.REWRITTEN, 6)}

    def test_a_seal_is_forged(self, trail):
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET details = '{}' WHERE id = %s", [place(trail, 3).event_id])
        rewrite(trail)
        with intruder() as cursor:
            cursor.execute("UPDATE audit_seal SET hash = %s WHERE chain_id = %s", [place(trail, 6).hash, trail.pk])

        code, found = verify()

        assert code == 3
        assert kinds(found) == {(Kind.SEAL_FORGED, 6)}

    def test_a_seal_of_another_organisation_is_none(self, trail, globex):
        seal = AuditSeal.objects.get(chain_id=globex.pk)
        with intruder() as cursor:
            cursor.execute(
                "UPDATE audit_seal SET sequence = %s, hash = %s, sealed_at = %s, mac = %s WHERE chain_id = %s",
                [seal.sequence, seal.hash, seal.sealed_at, seal.mac, trail.pk],
            )

        assert (Kind.SEAL_FORGED, seal.sequence) in kinds(verify()[1])

    def test_the_seals_are_removed(self, trail):
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET created_at = created_at - interval '8 days'")
        rewrite(trail)
        with intruder() as cursor:
            cursor.execute("DELETE FROM audit_seal WHERE chain_id = %s", [trail.pk])

        assert not audit_seals.seal(trail.pk)
        code, found = verify("--org", "acme")
        assert code == 4
        assert (found["acme"]["findings"], found["acme"]["unsealed"]) == ([], 6)
        assert verify("--org", "acme", "--seal")[0] == 0  # somebody vouches for it

    def test_what_was_kept_elsewhere_knows_better_than_who_has_every_key(self, trail, tmp_path):
        kept = tmp_path / "heads.json"
        out = StringIO()
        call_command("verify_audit", "--json", stdout=out)
        kept.write_text(out.getvalue())
        assert verify("--against", str(kept))[0] == 0
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET details = '{}' WHERE id = %s", [place(trail, 3).event_id])
            cursor.execute("DELETE FROM audit_seal")
        rewrite(trail)
        audit_seals.seal_grown()

        assert verify()[0] == 0
        code, found = verify("--against", str(kept))

        assert code == 3
        assert kinds(found) == {(Kind.REWRITTEN, 6)}

    @pytest.mark.parametrize("content", ["", "{}", '[{"chain": "x"}]', "[1]"])
    def test_a_file_that_says_nothing_is_refused(self, trail, tmp_path, content):
        file = tmp_path / "heads.json"
        file.write_text(content)

        assert verify("--against", str(file))[0] == 2


class TestKeys:
    def test_a_rotation_seals_anew_and_then_the_old_key_is_not_needed(self, trail, settings):
        old = settings.ENCRYPTION_MASTER_KEY
        settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = OTHER_KEY, (old,)
        assert verify()[0] == 0
        assert audit_seals.seal_grown() == 3

        settings.ENCRYPTION_PREVIOUS_KEYS = ()

        code, found = verify()
        assert (code, found["acme"]["findings"]) == (0, [])
        assert found["acme"]["seal"]["sequence"] == 6

    def test_without_the_key_nothing_is_proven_and_nothing_sealed(self, trail, settings):
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET created_at = created_at - interval '8 days'")
        rewrite(trail)
        settings.ENCRYPTION_MASTER_KEY = OTHER_KEY

        assert not audit_seals.seal(trail.pk)
        assert verify("--org", "acme")[0] == 4


class TestRetention:
    def purge(self, org, actor):
        return sum(each.events for each in retention.purge(actor, org=org, orphans=False))

    def test_the_oldest_go_and_what_is_left_is_verified_from_there(self, trail, actor):
        age(trail, 40, upto=4)
        with intruder() as cursor:
            cursor.execute("DELETE FROM audit_seal")
        audit_seals.seal_grown()
        assert self.purge(trail, actor) == 0
        trail.audit_retention_days = 30
        trail.save()

        assert self.purge(trail, actor) == 4
        assert self.purge(trail, actor) == 0

        code, found = verify("--org", "acme")
        assert (code, found["acme"]["first_sequence"], kinds(found)) == (0, 5, set())
        event = AuditEvent.objects.get(action="audit.purged")
        assert (event.details["events"], event.details["sequence"], event.org) == (4, 4, trail)
        with intruder() as cursor:
            cursor.execute("UPDATE audit_event SET details = '{}' WHERE id = %s", [place(trail, 5).event_id])
        assert kinds(verify("--org", "acme")[1]) == {(Kind.ALTERED, 5)}

    def test_what_is_not_sealed_stays(self, trail, actor):
        age(trail, 40, upto=6)
        with intruder() as cursor:
            cursor.execute("DELETE FROM audit_seal")
        trail.audit_retention_days = 30
        trail.save()

        assert self.purge(trail, actor) == 0

    @pytest.mark.parametrize("days", [None, 1, 29])
    def test_the_database_keeps_what_is_younger_than_a_month_whatever_it_is_told(self, trail, days):
        age(trail, 29, upto=6)
        trail.audit_retention_days = days
        trail.save()
        link = place(trail, 4)

        beginning = "UPDATE audit_chain SET purged_sequence = 4, purged_hash = %s WHERE id = %s"
        with pytest.raises(DatabaseError, match="only grows"), scope.as_owner(), transaction.atomic():
            connection.cursor().execute(beginning, [link.hash, trail.pk])


def test_events_that_wait_for_their_seal_are_no_finding_yet(trail, actor):
    record(actor, "test.done", org=trail)

    assert verify()[0] == 0


def test_events_that_wait_too_long_are(trail, actor, monkeypatch):
    record(actor, "test.done", org=trail)
    monkeypatch.setattr(audit_seals, "GRACE", timedelta(0))

    code, found = verify("--org", "acme")

    assert (code, found["acme"]["unsealed"]) == (4, 1)
    assert timezone.now() > AuditSeal.objects.get(chain_id=trail.pk).sealed_at
