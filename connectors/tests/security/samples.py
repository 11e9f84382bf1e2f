"""One valid configuration for every way in which an adapter takes secrets, and a change of every destination.

The samples of further adapters stand in modules of their own, `samples_<adapter>.py` with `SAMPLES`, which are found by
themselves; `test_samples.py` says so when some are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import asyncssh

from connectors.tests.security.canaries import Canaries, Canary
from connectors.tests.security.recorders import SshRecorder
from connectors.tests.security.sample import KINDS, Config, Sample, secrets_of

__all__ = ["KINDS", "SAMPLES", "THOROUGH", "secrets_of"]

# MOCK


def _mock(canaries: Canaries, _: SshRecorder) -> Config:
    return {"account": "demo", "api_key": canaries.plant("api_key")}


_MOCK_FAILURES = {
    "AUTHENTICATION_FAILED": {"fail_with": "AuthenticationFailed"},
    "CONNECTION_REFUSED": {"fail_with": "TemporaryError", "fail_code": "CONNECTION_REFUSED"},
    "RATE_LIMITED": {"fail_with": "RateLimited", "retry_after_s": 1},
    "OUTCOME_UNKNOWN": {"fail_with": "OutcomeUnknown"},
}

# DROPZONE_JSON_V1


def _with_password(canaries: Canaries, far_end: SshRecorder) -> Config:
    return far_end.config(password=canaries.plant("password"))


def _with_key(canaries: Canaries, far_end: SshRecorder) -> Config:
    return far_end.config(private_key=canaries.plant_key("private_key"))


def _with_everything(canaries: Canaries, far_end: SshRecorder) -> Config:
    passphrase, private_key = _key_and_passphrase()
    canaries.planted += (passphrase, private_key)
    return far_end.config(
        password=canaries.plant("password"), private_key=private_key.value, passphrase=passphrase.value
    )


@cache
def _key_and_passphrase() -> tuple[Canary, Canary]:
    """Return a passphrase and the key it opens; such a key is slow to make and to open on purpose, so there is one."""
    canaries = Canaries()
    canaries.plant_key("private_key", passphrase=canaries.plant("passphrase"))
    passphrase, private_key = canaries.planted
    return passphrase, private_key


def _dropzone_flips(config: Config, other: SshRecorder) -> Mapping[str, Config]:
    cleared = dict.fromkeys(("host", "username", "certificate", "host_key"))
    flips = {
        "mode": {"mode": "filesystem", "export_path": "out", "ack_path": None, **cleared},
        "host": {"host": "localhost"},
        "port": {"port": other.port},
        "username": {"username": "mallory"},
        "host_key": {"host_key": other.host_key},
        "export_path": {"export_path": "/other"},
        "ack_path": {"ack_path": "/other"},
        "temp_path": {"temp_path": "/other"},
    }
    if "private_key" in config:
        flips["certificate"] = {"certificate": _certificate(config)}
    return flips


@cache
def _opened(private_key: str, passphrase: str | None) -> asyncssh.SSHKey:
    return asyncssh.import_private_key(private_key, passphrase)


def _certificate(config: Config) -> str:
    key = _opened(config["private_key"], config.get("passphrase"))
    authority = asyncssh.generate_private_key("ssh-ed25519")
    certificate = authority.generate_user_certificate(key.convert_to_public(), "a test", principals=["mallory"])
    return str(certificate.export_certificate().decode().strip())


_DROPZONE_FAILURES: Mapping[str, Config] = {
    "HOST_KEY_UNKNOWN": {"host_key": None},
    "HOST_KEY_MISMATCH": {"host_key": "SHA256:" + "A" * 43},
    "CONNECTION_REFUSED": {"port": 1},
    "DNS_FAILURE": {"host": "no-such-host.invalid"},
    "EGRESS_DENIED": {"host": "169.254.169.254"},
    "PATH_NOT_FOUND": {"export_path": "/nowhere"},
}


def _dropzone(
    name: str, config: Callable[[Canaries, SshRecorder], Config], connector_type: str = "DROPZONE_JSON_V1"
) -> Sample:
    return Sample(
        connector_type=connector_type,
        name=name,
        config=config,
        flips=_dropzone_flips,
        failures=_DROPZONE_FAILURES,
        thorough=connector_type == "DROPZONE_JSON_V1",  # the others have the same settings and doors
    )


def _beside() -> tuple[Sample, ...]:
    modules = sorted(path.stem for path in Path(__file__).parent.glob("samples_*.py"))
    return tuple(sample for name in modules for sample in import_module(f"{__package__}.{name}").SAMPLES)


# EDIFACT_ORDERS, X12_850 and SAP_IDOC_ORDERS05: the same folders, and two partners


def _between_partners(canaries: Canaries, far_end: SshRecorder) -> Config:
    return _with_everything(canaries, far_end) | {"sender_id": "ACME", "recipient_id": "GLOBEX"}


def _with_sap(canaries: Canaries, far_end: SshRecorder) -> Config:
    names = {"sender_port": "ACME", "sender_number": "ACME", "receiver_port": "SAPS4D", "receiver_number": "S4DCLNT100"}
    return _with_everything(canaries, far_end) | names


SAMPLES = (
    Sample(
        connector_type="MOCK",
        name="api-key",
        config=_mock,
        flips=lambda *_: {"account": {"account": "other"}},
        failures=_MOCK_FAILURES,
    ),
    *_beside(),
    _dropzone("everything", _between_partners, "EDIFACT_ORDERS"),
    _dropzone("everything", _between_partners, "X12_850"),
    _dropzone("everything", _with_sap, "SAP_IDOC_ORDERS05"),
    _dropzone("password", _with_password),
    _dropzone("key", _with_key),
    _dropzone("everything", _with_everything),
)
THOROUGH = tuple(sample for sample in SAMPLES if sample.thorough)
