"""The samples of the EDI connectors over AS2: the partner's address, and every key that certificates need."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.recorders import SshRecorder
from connectors.tests.security.sample import Config, Sample, authority, certificate, pem


def _config(canaries: Canaries, far_end: SshRecorder) -> Config:
    passphrase = canaries.plant_token("own_key_passphrase")
    return {
        "mode": "as2",
        "sender_id": "ACME",
        "recipient_id": "GLOBEX",
        "as2_url": f"https://127.0.0.1:{far_end.port}/as2",
        "as2_from": "acme",
        "as2_to": "globex",
        "username": "acme",
        "password": canaries.plant("password"),
        "own_certificate": certificate("acme"),
        "own_key": canaries.plant_pem("own_key", pem(passphrase)),
        "own_key_passphrase": passphrase,
        "next_own_certificate": certificate("acme next"),
        "next_own_key": canaries.plant_pem("next_own_key", pem(passphrase)),
        "next_own_from": "2027-01-01",
        "partner_certificates": certificate("globex"),
    }


def _flips(config: Config, other: SshRecorder) -> Mapping[str, Config]:
    return {
        "as2_url": {"as2_url": f"https://127.0.0.1:{other.port}/as2"},
        "as2_from": {"as2_from": "mallory"},
        "as2_to": {"as2_to": "mallory"},
        "username": {"username": "mallory"},
        "ca_bundle": {"ca_bundle": authority().certificate},
        "allow_plain_http": {"allow_plain_http": True},
    }


def _sample(connector_type: str) -> Sample:
    return Sample(
        connector_type=connector_type,
        name="as2",
        config=_config,
        flips=_flips,
        failures={
            "CONNECTION_REFUSED": {"as2_url": "https://127.0.0.1:1/"},
            "DNS_FAILURE": {"as2_url": "https://no-such-host.invalid/"},
            "EGRESS_DENIED": {"as2_url": "https://169.254.169.254/"},
        },
        thorough=False,
    )


SAMPLES = (_sample("EDIFACT_ORDERS"), _sample("X12_850"))
