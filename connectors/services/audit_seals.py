"""Seals of the audit trail: codes under the master key, which whoever writes to the database cannot make.

A chain alone shows that an event was altered; whoever computes all the hashes behind it anew goes unseen. A seal says
what the chain was like at a time. Nothing is sealed that does not follow from what was sealed before.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import connection
from django.utils import timezone

from connectors.encryption import KeyRing
from connectors.fields import key_ring
from tenants import audit_chain
from tenants.audit import AuditChain, AuditLink, AuditSeal
from tenants.audit_chain import Checkpoint, Head, Kind, Reading

log = structlog.get_logger(__name__)

GRACE: Final = timedelta(minutes=15)
"""So long an event may be without a seal before that is a finding: the workers seal every minute."""

_TRUSTED: Final = timedelta(days=7)
"""A chain that was never sealed is sealed as it is found only when it is younger than this."""
_PURPOSE: Final = b"audit-seal"
_LABEL: Final = b"erpc/audit-seal/v1"
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True, kw_only=True)
class Verified:
    """One chain, as it was read and as it was sealed."""

    reading: Reading
    seal: AuditSeal | None
    """The last one that is ours."""
    unsealed: int
    """Events that no seal covers and that are older than GRACE."""

    @property
    def is_intact(self) -> bool:
        """Whether everything fits."""
        return not self.reading.findings

    @property
    def is_proven(self) -> bool:
        """Whether a seal covers everything that one should cover by now."""
        return self.is_intact and not self.unsealed


def verify(chain: UUID, kept: Sequence[Checkpoint] = ()) -> Verified:
    """Read a whole chain and compare it with its seals.

    Args:
        chain: the organisation's key, or INSTALLATION.
        kept: what the chain was like according to somebody else.
    """
    ours, forged = _seals_of(chain)
    reading = audit_chain.read(chain, [*kept, *(_checkpoint(seal) for seal in ours)])
    for forgery in forged:
        reading.find(Kind.SEAL_FORGED, forgery.sequence, "The seal was not made with the key that it names.")
    last = ours[-1] if ours else None
    return Verified(reading=reading, seal=last, unsealed=_unsealed(reading.head, last))


def seal_grown() -> int:
    """Seal every chain that has grown since its last seal, or was sealed with another master key.

    Returns:
        How many were sealed.
    """
    is_first = not AuditSeal.objects.exists()
    active = key_ring().active_key_id.hex()
    sealed = dict(AuditSeal.objects.filter(key_id=active).values_list("chain_id", "sequence"))
    grown = [
        chain
        for chain, sequence in AuditChain.objects.values_list("pk", "sequence").order_by("pk")
        if sealed.get(chain) != sequence
    ]
    return sum(seal(chain, is_trusted=is_first) for chain in grown)


def seal(chain: UUID, *, is_trusted: bool = False) -> bool:
    """Seal a chain up to its head, if it follows from what was sealed before.

    Args:
        chain: the organisation's key, or INSTALLATION.
        is_trusted: seal it as it is when nothing was sealed before.

    Returns:
        Whether it was; if not, the log says why.
    """
    head = audit_chain.head_of(chain)
    ours, forged = _seals_of(chain)
    if ours and (before := ours[-1]).sequence >= head.purged_sequence:
        hash_ = bytes(before.hash)
        reading = audit_chain.read_from(head, before.sequence, hash_)
        follows = audit_chain.hash_at(head, before.sequence) == hash_
    else:
        reading = audit_chain.read_from(head, head.purged_sequence, head.purged_hash)
        follows = is_trusted or (not forged and _is_young(head))
    if reading.findings or not follows:
        findings = sorted({finding.kind for finding in reading.findings})
        log.error("audit.not_sealed", chain=str(chain), findings=findings, follows=follows)
        return False
    _write(head)
    return True


def _write(head: Head) -> None:
    key_id, at = key_ring().active_key_id, timezone.now()
    code = _code(key_ring(), head.chain, head.sequence, head.hash, at, key_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT audit_seal_chain(%s, %s, %s, %s, %s, %s)",
            [head.chain, key_id.hex(), head.sequence, head.hash, at, code],
        )
    # Whoever collects the logs elsewhere has something there to compare with.
    log.info("audit.sealed", chain=str(head.chain), sequence=head.sequence, hash=head.hash.hex())


def _seals_of(chain: UUID) -> tuple[list[AuditSeal], list[AuditSeal]]:
    """Return the seals of a chain that are ours, the last one last, and those that only pretend to be."""
    ours: list[AuditSeal] = []
    forged: list[AuditSeal] = []
    configured = {key_id.hex() for key_id in key_ring().key_ids}
    for seal in AuditSeal.objects.filter(chain_id=chain, key_id__in=configured).order_by("sequence", "sealed_at"):
        (ours if _is_ours(seal) else forged).append(seal)
    return ours, forged


def _is_ours(seal: AuditSeal) -> bool:
    key_id = bytes.fromhex(seal.key_id)
    code = _code(key_ring(), seal.chain_id, seal.sequence, bytes(seal.hash), seal.sealed_at, key_id)
    return hmac.compare_digest(code, bytes(seal.mac))


def _code(ring: KeyRing, chain: UUID, sequence: int, hash_: bytes, at: datetime, key_id: bytes) -> bytes:
    microseconds = (at - _EPOCH) // timedelta(microseconds=1)
    message = b"".join((_LABEL, chain.bytes, sequence.to_bytes(8, "big"), hash_, microseconds.to_bytes(8, "big")))
    return ring.code(message, purpose=_PURPOSE, key_id=key_id)


def _checkpoint(seal: AuditSeal) -> Checkpoint:
    return Checkpoint(
        sequence=seal.sequence, hash=bytes(seal.hash), source=f"the seal of {seal.sealed_at:%Y-%m-%dT%H:%M:%SZ}"
    )


def _is_young(head: Head) -> bool:
    first = AuditLink.objects.filter(org=head.org_id, sequence=head.purged_sequence + 1)
    return first.filter(event__created_at__gt=timezone.now() - _TRUSTED).exists()


def _unsealed(head: Head, seal: AuditSeal | None) -> int:
    """Return how many events should have been sealed by now and are not."""
    links = AuditLink.objects.filter(org=head.org_id, sequence__lte=head.sequence)
    if seal:
        links = links.filter(sequence__gt=seal.sequence)
    return links.filter(event__created_at__lt=timezone.now() - GRACE).count()
