"""What two AS2 partners know of each other: names, and certificates that roll over without a gap.

The partner's next certificate is believed as soon as it is entered and encrypted for from its day on; with our own next
one we sign from its day on, and read what is encrypted for either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from cryptography import x509

from connectors.codes import Code
from connectors.config import Expiry
from connectors.exceptions import AuthenticationFailed
from connectors.transports.cms import KeyPair, is_valid


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The names and certificates of both partners."""

    own_name: str
    partner_name: str
    own: KeyPair = field(repr=False)
    next_own: KeyPair | None = field(repr=False)
    next_own_from: date | None
    partner: tuple[x509.Certificate, ...] = field(repr=False)
    next_partner: tuple[x509.Certificate, ...] = field(repr=False)
    next_partner_from: date | None

    def signer(self, at: datetime) -> KeyPair:
        """Return with what we sign.

        Raises:
            AuthenticationFailed: CERTIFICATE_UNUSABLE.
        """
        pair = self.next_own if self.next_own and _has_come(self.next_own_from, at) else self.own
        _check(pair.certificate, at, "own certificate", self.own_name)
        return pair

    def recipient(self, at: datetime) -> x509.Certificate:
        """Return for whom we encrypt.

        Raises:
            AuthenticationFailed: CERTIFICATE_UNUSABLE.
        """
        has_changed = bool(self.next_partner) and _has_come(self.next_partner_from, at)
        certificate = (self.next_partner if has_changed else self.partner)[0]
        _check(certificate, at, "certificate", self.partner_name)
        return certificate

    @property
    def readers(self) -> list[KeyPair]:
        """With what we read what is encrypted for us."""
        return [self.own, self.next_own] if self.next_own else [self.own]

    @property
    def believed(self) -> list[x509.Certificate]:
        """Whose signatures count."""
        return [*self.partner, *self.next_partner]

    def expiries(self) -> Iterator[Expiry]:
        """Return the last days that matter: not of a certificate whose successor takes its place in time."""
        own = [("own_certificate", self.own.certificate)]
        if self.next_own:
            own.append(("next_own_certificate", self.next_own.certificate))
        partner = [("partner_certificates", self.partner[0])]
        partner += [("next_partner_certificate", certificate) for certificate in self.next_partner[:1]]
        for kind, certificates, changes_on in (
            ("our AS2 certificate", own, self.next_own_from),
            ("the partner's AS2 certificate", partner, self.next_partner_from),
        ):
            for name, certificate in certificates:
                last = certificate.not_valid_after_utc
                is_first = certificate is certificates[0][1]
                is_followed = is_first and len(certificates) > 1 and _has_come(changes_on, last)
                if last.year < 9999 and not is_followed:
                    yield Expiry(field=name, kind=kind, expires_at=last)


def _has_come(day: date | None, at: datetime) -> bool:
    return day is not None and at.astimezone(UTC).date() >= day


def _check(certificate: x509.Certificate, at: datetime, what: str, name: str) -> None:
    if is_valid(certificate, at):
        return
    day, is_over = certificate.not_valid_before_utc, False
    if at > certificate.not_valid_after_utc:
        day, is_over = certificate.not_valid_after_utc, True
    reason = f"it {'expired' if is_over else 'is not valid until'} {'on ' if is_over else ''}{day:%Y-%m-%d}"
    raise AuthenticationFailed(Code.CERTIFICATE_UNUSABLE, what=what, host=name, reason=reason)
