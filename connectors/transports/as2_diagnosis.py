"""The connection test over AS2: everything that a message needs, without sending one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed
from connectors.port import Context, StepNote
from connectors.results import TestResult
from connectors.transports.as2_agreement import Agreement
from connectors.transports.as2_config import DropOrAs2Config
from connectors.transports.as2_mime import Entity, signed, verified, whole
from connectors.transports.cms_sealing import decrypt, encrypt
from connectors.transports.http import EXPIRES_SOON, HTTP_LOGIN_STEPS, open_session

NO_ADDRESS = "an asynchronous receipt: PUBLIC_URL is not set here"
"""What cannot be done where nobody has said under which address we are reached."""


def run(config: DropOrAs2Config, context: Context, try_out: Callable[[], str] | None) -> TestResult:
    """Return the report, also when a step failed.

    Args:
        config: what to test.
        context: tools and deadline.
        try_out: writes an invented document in memory and says what came of it; None leaves this step out.
    """
    steps, agreement = context.steps, config.agreement()
    tried_out = ("document",) if try_out else ()
    with steps.plan(*tried_out, "certificates", "sign_and_encrypt", *HTTP_LOGIN_STEPS):
        if try_out:
            with steps.step("document") as note:
                note.detail = try_out()
        with steps.step("certificates") as note:
            _look_at_certificates(config, agreement, context.clock.now(), note)
        with steps.step("sign_and_encrypt") as note:
            if config.receipt == "async" and context.inbound_url is None:
                raise AuthenticationFailed(Code.UNSUPPORTED_FEATURE, feature=NO_ADDRESS)
            note.detail = _there_and_back(config, agreement, context.clock.now())
        with open_session(config.target(), context):
            pass
    return steps.result(not_proven=tuple(_not_proven(config, context)))


def _look_at_certificates(config: DropOrAs2Config, agreement: Agreement, now: datetime, note: StepNote) -> None:
    used = {agreement.own_name: agreement.signer(now).certificate}
    if config.cipher != "none":
        used[agreement.partner_name] = agreement.recipient(now)
    days = {name: f"{certificate.not_valid_after_utc:%Y-%m-%d}" for name, certificate in used.items()}
    note.detail = ", ".join(f"{name}: valid until {day}" for name, day in days.items())
    for name, certificate in used.items():
        if certificate.not_valid_after_utc - now <= EXPIRES_SOON:
            note.warn(Code.CERTIFICATE_EXPIRES, host=name, day=days[name])


def _there_and_back(config: DropOrAs2Config, agreement: Agreement, now: datetime) -> str:
    """Sign and encrypt something for ourselves, as for the partner, and read it again."""
    pair, content = agreement.signer(now), whole("text/plain", b"A test of our own keys.\r\n").dump()
    packed = signed(content, pair, digest=config.digest, at=now).dump()
    said = f"Signed with {config.digest}"
    if config.cipher != "none" and isinstance(pair.key, rsa.RSAPrivateKey):
        oaep = config.key_transport == "oaep"
        packed = decrypt(encrypt(packed, pair.certificate, cipher=config.cipher, oaep=oaep), [pair])
        said += f", encrypted with {config.cipher}"
    assert verified(Entity.load(packed), believed=[pair.certificate], at=now) == content
    return f"{said}, and read again."


def _not_proven(config: DropOrAs2Config, context: Context) -> Iterator[str]:
    yield f"That {config.as2_to} knows our name and certificate and takes messages: a test sends none."
    if config.cipher != "none":
        yield "That the partner can decrypt: the key of their certificate is theirs alone."
    if config.receipt == "async":
        yield f"That the partner reaches {context.inbound_url} with its receipts."
    if config.recognises_duplicates:
        yield "That the partner recognises duplicates; an order whose receipt was lost is sent again in that belief."
