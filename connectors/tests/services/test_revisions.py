"""What a connection was and may become: kept revisions, the way back, staged credentials, the pinned host key."""

import pytest

from connectors.exceptions import ConfigurationError, SecretsRequired
from connectors.models import ConnectionRevision, ConnectionTest
from connectors.services import connections, diagnosis, revisions
from connectors.services.errors import (
    NothingStaged,
    NothingToPin,
    NothingToRevert,
    RevisionChanged,
    UntestedRevision,
)
from tenants.models import AuditEvent

pytestmark = pytest.mark.django_db

FIRST, SECOND = "c4n4ry-first", "c4n4ry-second"
FINGERPRINT = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config={"account": "demo", "api_key": FIRST})


@pytest.fixture
def unpinned(acme, actor):
    config = {"mode": "sftp", "host": "sftp.example.com", "username": "u", "password": FIRST, "export_path": "/in"}
    return connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)


def numbers(connection):
    return list(connection.revisions.values_list("number", flat=True))


class TestKeeping:
    def test_what_is_replaced_is_kept_sealed(self, mock, actor):
        connections.change(mock, actor, config={"latency_ms": 5})

        kept = mock.revisions.get()
        assert (kept.number, kept.changed, kept.tested_at) == (1, ["latency_ms"], None)
        assert FIRST.encode() not in bytes(kept.config_encrypted)
        assert kept.read_config()["api_key"] == FIRST

    def test_a_new_name_is_no_revision(self, mock, actor):
        connections.change(mock, actor, name="renamed", config={"account": "demo"})

        assert numbers(mock) == []

    def test_so_many_are_kept_and_the_last_that_passed(self, mock, actor):
        diagnosis.test(mock, actor)
        for latency in range(1, revisions.KEPT + 5):
            connections.change(mock, actor, config={"latency_ms": latency})

        assert numbers(mock) == [*range(revisions.KEPT + 4, 4, -1), 1]
        assert revisions.to_revert_to(mock).number == 1


class TestRevert:
    def test_the_last_that_passed_comes_back_with_its_secrets_and_destination(self, acme, mock, actor):
        diagnosis.test(mock, actor)
        moved = connections.change(
            mock, actor, config={"account": "elsewhere", "api_key": SECOND, "fail_with": "TemporaryError"}
        )
        assert not diagnosis.test(moved, actor).success

        reverted = revisions.revert(moved, actor)

        config = reverted.read_config()
        assert (config["account"], config["api_key"], config["fail_with"]) == ("demo", FIRST, None)
        assert (reverted.revision, reverted.is_tested, reverted.health) == (3, False, "UNTESTED")
        event = AuditEvent.objects.of(acme).first()
        assert event.details == {"revision": 1, "fields": ["account", "api_key", "fail_with"]}
        assert diagnosis.test(reverted, actor).success

    def test_a_certain_one(self, mock, actor):
        for latency in (1, 2, 3):
            mock = connections.change(mock, actor, config={"latency_ms": latency})

        assert revisions.revert(mock, actor, number=2).read_config()["latency_ms"] == 1

    @pytest.mark.parametrize("number", [None, 1, 99])
    def test_what_is_not_there_cannot_come_back(self, mock, actor, number):
        with pytest.raises(NothingToRevert):
            revisions.revert(mock, actor, number=number)

    def test_a_lost_configuration_does_not_stand_in_the_way(self, mock, actor):
        diagnosis.test(mock, actor)
        changed = connections.change(mock, actor, config={"latency_ms": 1})
        type(mock).objects.update(config_encrypted=changed.revisions.get().config_encrypted)  # of another row

        assert revisions.revert(changed, actor).read_config()["api_key"] == FIRST


class TestStaging:
    def test_the_next_credentials_wait_and_take_over_in_one_step(self, acme, mock, actor):
        diagnosis.test(mock, actor)
        revisions.stage(mock, actor, {"api_key": SECOND})
        mock.refresh_from_db()
        assert mock.read_config()["api_key"] == FIRST

        assert diagnosis.finish(diagnosis.start_staged(mock, actor)).success
        promoted = revisions.promote(mock, actor)

        assert (promoted.read_config()["api_key"], promoted.revision) == (SECOND, 2)
        assert (promoted.is_tested, promoted.health) == (True, "HEALTHY")
        assert revisions.staged(promoted) is None
        assert AuditEvent.objects.of(acme).first().action == "connection.credentials_promoted"
        assert revisions.revert(promoted, actor, number=1).read_config()["api_key"] == FIRST

    def test_a_test_of_the_staged_says_nothing_of_those_in_use(self, mock, actor):
        revisions.stage(mock, actor, {"api_key": SECOND})
        diagnosis.finish(diagnosis.start_staged(mock, actor))

        mock.refresh_from_db()
        assert (mock.health, mock.tested_revision, mock.last_test_at) == ("UNTESTED", None, None)
        assert ConnectionTest.objects.get().config_encrypted is None

    def test_untested_ones_need_a_reason(self, acme, mock, actor):
        revisions.stage(mock, actor, {"api_key": SECOND})

        with pytest.raises(UntestedRevision):
            revisions.promote(mock, actor)
        assert revisions.promote(mock, actor, reason="the old one was leaked").is_tested is False

        assert AuditEvent.objects.of(acme).first().details["reason"] == "the old one was leaked"

    def test_only_secrets_can_be_staged(self, mock, actor):
        with pytest.raises(ConfigurationError) as refused:
            revisions.stage(mock, actor, {"account": "elsewhere", "api_key": SECOND})

        assert [fault.path for fault in refused.value.faults] == ["account"]
        assert revisions.staged(mock) is None

    @pytest.mark.parametrize("secrets", [{}, {"api_key": "********"}])
    def test_nothing_and_masks_are_refused(self, mock, actor, secrets):
        with pytest.raises(ConfigurationError):
            revisions.stage(mock, actor, secrets)

    def test_a_change_of_the_connection_drops_them(self, mock, actor):
        revisions.stage(mock, actor, {"api_key": SECOND})
        changed = connections.change(mock, actor, config={"account": "elsewhere", "api_key": FIRST})

        with pytest.raises(NothingStaged):
            revisions.promote(changed, actor, reason="x")

    def test_they_never_meet_another_base(self, mock, actor):
        slot = revisions.stage(mock, actor, {"api_key": SECOND})
        ConnectionRevision.objects.filter(pk=slot.pk).update(based_on=7)

        with pytest.raises(RevisionChanged):
            revisions.promote(mock, actor, reason="x")

    def test_they_can_be_replaced_and_discarded(self, mock, actor):
        revisions.stage(mock, actor, {"api_key": SECOND})
        assert revisions.stage(mock, actor, {"api_key": "c4n4ry-third"}).read_config()["api_key"] == "c4n4ry-third"

        revisions.discard(mock, actor)

        with pytest.raises(NothingStaged):
            revisions.discard(mock, actor)


class TestPinning:
    def shown(self, connection, fingerprint=FINGERPRINT, revision=1):
        failed = {"name": "host_key", "status": "failed", "params": {"fingerprint": fingerprint}}
        ConnectionTest.objects.create(
            org=connection.org,
            connection=connection,
            revision=revision,
            state="FINISHED",
            success=False,
            code="HOST_KEY_UNKNOWN",
            actor_kind="SYSTEM",
            actor_label="test",
            result={"steps": [failed]},
        )

    def test_the_key_that_was_shown_is_trusted_and_the_secrets_stay(self, acme, unpinned, actor):
        self.shown(unpinned)

        pinned = revisions.pin_host_key(unpinned, actor, fingerprint=FINGERPRINT)

        assert (pinned.read_config()["host_key"], pinned.read_config()["password"]) == (FINGERPRINT, FIRST)
        assert AuditEvent.objects.of(acme).first().details == {"changes": {"config.host_key": [None, FINGERPRINT]}}

    def test_another_one_is_not(self, unpinned, actor):
        self.shown(unpinned, fingerprint=FINGERPRINT.replace("n", "m"))

        with pytest.raises(NothingToPin):
            revisions.pin_host_key(unpinned, actor, fingerprint=FINGERPRINT)

    def test_nor_what_an_earlier_configuration_met(self, unpinned, actor):
        self.shown(unpinned)
        changed = connections.change(unpinned, actor, config={"timeout_s": 5})

        with pytest.raises(NothingToPin):
            revisions.pin_host_key(changed, actor, fingerprint=FINGERPRINT)

    def test_a_pinned_one_is_not_replaced_without_the_secrets(self, unpinned, actor):
        self.shown(unpinned)
        pinned = revisions.pin_host_key(unpinned, actor, fingerprint=FINGERPRINT)
        other = FINGERPRINT.replace("n", "m")
        self.shown(pinned, fingerprint=other, revision=2)

        with pytest.raises(NothingToPin):
            revisions.pin_host_key(pinned, actor, fingerprint=other)
        with pytest.raises(SecretsRequired):
            connections.change(pinned, actor, config={"host_key": other})
