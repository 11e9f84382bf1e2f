"""The registry of master keys: what no sequence of starts and rotations may lead to, and starts at the same moment."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from connectors.encryption import KeyRing
from connectors.models import EncryptionKey, KeyState
from connectors.services import keys
from connectors.services.keys import registry, rotation
from connectors.tests.commands.conftest import run
from connectors.tests.workers.processes import url_of
from erpconfig import serving
from erpconfig.paths import BASE_DIR
from tenants import scope
from tenants.actors import Actor

MASTERS = [bytes([first, *range(31)]) for first in range(100, 104)]
FINGERPRINTS = [KeyRing(master).active_key_id.hex() for master in MASTERS]

machines = st.lists(st.sampled_from(range(4)), min_size=1, max_size=4, unique=True)
steps = st.lists(st.tuples(machines, st.sampled_from(["start", "rotate", "back", "lost", "retire"])), max_size=12)


@given(steps)
def test_no_sequence_of_starts_and_rotations_leaves_a_wrong_registry(steps: list[tuple[list[int], str]]) -> None:
    states: dict[str, KeyState] = {}
    for machine, verb in steps:
        ring = KeyRing(*(MASTERS[machine[0]], [MASTERS[key] for key in machine[1:]]))
        before = dict(states)
        try:
            states = step(before, ring, verb)
        except keys.KeysRefused:
            continue
        if not states:
            continue
        assert Counter(states.values())[KeyState.ACTIVE] == 1
        retired = {key for key, state in before.items() if state is KeyState.RETIRED}
        assert all(states[key] is KeyState.RETIRED for key in retired), "for good"
        assert before.keys() <= states.keys()
        if verb in ("start", "rotate", "back"):
            assert registry.active_of(states) in registry.fingerprints(ring)
        if verb in ("rotate", "back", "lost"):
            assert registry.active_of(states) == ring.active_key_id.hex()


def step(states: dict[str, KeyState], ring: KeyRing, verb: str) -> dict[str, KeyState]:
    """Return the registry after one machine has done one thing."""
    if verb == "start":
        return registry.admitted(states, ring, dict)
    if verb == "retire":  # what a rotation does at its end, when no row is left
        return {key: KeyState.RETIRED if state is KeyState.RETIRING else state for key, state in states.items()}
    lost = registry.active_of(states)[:16] if states and verb == "lost" else ""
    return rotation.turned(states, ring, lost=lost, back=verb in ("back", "lost"), sealed=dict)


@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    def start_together(self, *masters: bytes) -> list[bool]:
        """Start a process with each of these keys, and return which of them may serve."""
        barrier = Barrier(len(masters))

        def start(master: bytes) -> bool:
            ring = KeyRing(master)
            try:
                registry.states()  # connects
                barrier.wait(10)
                registry.change(lambda states: registry.admitted(states, ring, dict), Actor.system("start"))
            except keys.KeysRefused:
                return False
            finally:
                connection.close()
            return True

        with ThreadPoolExecutor(len(masters)) as threads:
            return list(threads.map(start, masters))

    def test_one_of_two_keys_is_entered(self) -> None:
        started = self.start_together(*MASTERS, *MASTERS)

        (active,) = EncryptionKey.objects.all()
        assert active.state == KeyState.ACTIVE
        assert started == [fingerprint == active.key_id for fingerprint in FINGERPRINTS * 2]

    def test_the_same_key_twice_is_no_conflict(self) -> None:
        assert self.start_together(*MASTERS[:1] * 8) == [True] * 8

    def test_the_fence_waits_for_nobody_for_long(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A backup holds all tables for hours; nobody may stand in line behind us meanwhile."""
        monkeypatch.setattr(registry, "_PAUSES", (0,))
        keys.admit()
        settings.ENCRYPTION_PREVIOUS_KEYS = [settings.ENCRYPTION_MASTER_KEY]
        settings.ENCRYPTION_MASTER_KEY = secrets.token_hex(32)
        with connection.cursor() as cursor, ThreadPoolExecutor(1) as backup:
            cursor.execute("BEGIN; LOCK TABLE erp_webhook IN ACCESS SHARE MODE")
            held = backup.submit(lambda: (run("rotate_encryption_key"), connection.close())[0]).result(30)
            cursor.execute("COMMIT")

        assert held.code == 4
        assert "such as a backup" in held.err
        done = run("rotate_encryption_key")
        assert done.code == 0
        assert "retired" in done.out


@pytest.mark.django_db(transaction=True)
class TestAProcess:
    """Whatever serves compares its keys first; what only helps does not."""

    @pytest.fixture(autouse=True)
    def other_key(self, settings: Any) -> str:
        keys.admit()
        active = EncryptionKey.objects.get().key_id
        settings.ENCRYPTION_MASTER_KEY = secrets.token_hex(32)
        return active

    def test_the_worker_is_refused(self, other_key: str) -> None:
        refused = run("procrastinate", "worker")
        assert (refused.code, refused.out) == (2, "")
        assert other_key in refused.err

    def test_a_web_server_is_refused(self, other_key: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=other_key):
            serving.refuse_with_other_keys()

    def test_run_is_refused(self, other_key: str) -> None:
        refused = run("run")
        assert refused.code == 2
        assert other_key in refused.err

    @pytest.mark.slow
    def test_gunicorn_ends_with_the_reason(self, other_key: str, settings: Any) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn", "--config", "python:erpconfig.gunicorn", "--bind", "127.0.0.1:0"],
            cwd=BASE_DIR,
            env=os.environ
            | {
                "DATABASE_URL": url_of(),
                "ENCRYPTION_MASTER_KEY": settings.ENCRYPTION_MASTER_KEY,
                "WEB_CONCURRENCY": "1",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert done.returncode == 3
        assert other_key in done.stderr
        assert settings.ENCRYPTION_MASTER_KEY not in done.stderr

    @pytest.mark.parametrize("command", [("migrate",), ("check",), ("encryption_status",), ("list_connectors",)])
    def test_what_does_not_serve_is_not_refused(self, command: tuple[str, ...]) -> None:
        assert run(*command).code == 0


@pytest.mark.django_db(transaction=True)
def test_a_table_that_comes_later_gets_its_fence_when_it_is_migrated(settings: Any) -> None:
    keys.admit()
    old = EncryptionKey.objects.get().key_id
    settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = (
        secrets.token_hex(32), [settings.ENCRYPTION_MASTER_KEY]
    )  # fmt: skip
    assert run("rotate_encryption_key").code == 0
    name = "erp_webhook_config_encrypted_retired"
    with scope.as_owner(), connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE erp_webhook DROP CONSTRAINT {name}")
        call_command("migrate", verbosity=0)
        cursor.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name])
        assert old in cursor.fetchone()[0]
