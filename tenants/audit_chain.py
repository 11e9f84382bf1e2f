"""Reads a chain of the audit trail from its beginning to its end, and says what does not fit.

Everything is computed here from the columns of the tables and nothing is asked of the database's functions: whoever can
alter the rows can alter those too. Rows are read as a stream, so a trail of any length takes the same memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from tenants.audit import INSTALLATION

NO_HASH: Final = bytes(32)
"""What the first event of a chain is linked to."""

_LABEL: Final = b"erpc/audit-event/v1"
_NULL: Final = (-1).to_bytes(4, "big", signed=True)
_MOST_FINDINGS: Final = 200
"""So many of one chain are told apart; who alters more has said enough."""
_ROWS: Final = 2_000

COLUMNS: Final = (
    "event.org_id::text",
    "event.id::text",
    "(extract(epoch FROM event.created_at) * 1000000)::bigint::text",
    "event.actor_kind",
    "event.actor_id",
    "event.actor_label",
    "event.address::text",
    "event.request_id",
    "event.action",
    "event.target_type",
    "event.target_id",
    "event.details::text",
)
"""What is hashed of an event, in this order."""


class Kind(StrEnum):
    """What does not fit."""

    ALTERED = "ALTERED"  #: the event, or the hash before it, is not what was linked
    REORDERED = "REORDERED"  #: events stand at each other's places
    EVENT_MISSING = "EVENT_MISSING"  #: there is a link without its event
    LINK_MISSING = "LINK_MISSING"  #: a number of the sequence does not occur
    UNCHAINED = "UNCHAINED"  #: there is an event without a link
    TAIL_MISSING = "TAIL_MISSING"  #: the chain ends before its head, or before what was sealed or kept elsewhere
    HEAD_DIFFERS = "HEAD_DIFFERS"  #: the head of the chain is not its last link
    REWRITTEN = "REWRITTEN"  #: the chain fits, but it is not the one that was sealed or kept elsewhere
    SEAL_FORGED = "SEAL_FORGED"  #: a seal is not ours, although it names one of our keys


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that does not fit."""

    kind: Kind
    sequence: int | None
    event_id: int | None = None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a chain is known to have been like."""

    sequence: int
    hash: bytes
    source: str
    """Who says so: a seal, or a file that was kept elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a chain begins and ends, as the database has it."""

    chain: UUID
    sequence: int = 0
    hash: bytes = NO_HASH
    purged_sequence: int = 0
    purged_hash: bytes = NO_HASH
    last_link: int = 0
    is_stored: bool = True

    @property
    def org_id(self) -> UUID | None:
        """The organisation; None for the installation's own chain."""
        return None if self.chain == INSTALLATION else self.chain


@dataclass(kw_only=True)
class Reading:
    """What was read of one chain."""

    head: Head
    events: int = 0
    findings: list[Finding] = field(default_factory=list)

    def find(self, kind: Kind, sequence: int | None, detail: str, event_id: int | None = None) -> None:
        """Note what does not fit, unless there is too much of it."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(kind=kind, sequence=sequence, event_id=event_id, detail=detail))


@dataclass(frozen=True, kw_only=True)
class _Misfit:
    """An event that is not what the hash at its place says."""

    sequence: int
    event_id: int
    previous: bytes
    stored: bytes
    canonical: bytes


def canonical(fields: Iterable[str | None]) -> bytes:
    """Return an event as the bytes that are hashed: each of its COLUMNS behind its length."""
    parts = [_LABEL]
    for text in fields:
        if text is None:
            parts.append(_NULL)
        else:
            encoded = text.encode()
            parts += (len(encoded).to_bytes(4, "big"), encoded)
    return b"".join(parts)


def link_hash(previous: bytes, sequence: int, event: bytes) -> bytes:
    """Return the hash at a place of a chain, from the hash before it and the canonical bytes of the event."""
    return sha256(previous + sequence.to_bytes(8, "big") + event).digest()


def chains() -> list[UUID]:
    """Return the key of every chain there is, or that has left a trace."""
    with connection.cursor() as cursor:
        cursor.execute(_CHAINS, [INSTALLATION, INSTALLATION])
        return [key for (key,) in cursor.fetchall()]


def head_of(chain: UUID) -> Head:
    """Return where a chain begins and ends now."""
    condition, org = _of(chain)
    with connection.cursor() as cursor:
        cursor.execute(_HEAD.format(condition=condition), [*org, chain])
        sequence, hash_, purged_sequence, purged_hash, last_link = cursor.fetchone()
    if sequence is None:
        return Head(chain=chain, last_link=last_link, sequence=last_link, is_stored=False)
    return Head(
        chain=chain,
        sequence=sequence,
        hash=bytes(hash_),
        purged_sequence=purged_sequence,
        purged_hash=bytes(purged_hash),
        last_link=last_link,
    )


def hash_at(head: Head, sequence: int) -> bytes | None:
    """Return the hash at a place of a chain; None where there is none, or no more."""
    if sequence == head.purged_sequence:
        return head.purged_hash
    condition, org = _of(head.chain)
    with connection.cursor() as cursor:
        cursor.execute(_HASH.format(condition=condition), [*org, sequence])
        row = cursor.fetchone()
    return bytes(row[0]) if row else None


def read(chain: UUID, checkpoints: Sequence[Checkpoint] = ()) -> Reading:
    """Read a whole chain and compare it with what it is known to have been like."""
    while True:
        head = head_of(chain)
        reading = read_from(head, head.purged_sequence, head.purged_hash, checkpoints)
        _look_for_unchained(reading)
        if head_of(chain).purged_sequence == head.purged_sequence:  # else the oldest went while we read them
            return reading


def read_from(head: Head, sequence: int, hash_: bytes, checkpoints: Sequence[Checkpoint] = ()) -> Reading:
    """Read a chain behind the place `sequence`, whose hash is known, up to its head."""
    reading = Reading(head=head)
    known: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        known.setdefault(checkpoint.sequence, []).append(checkpoint)
        if checkpoint.sequence > head.sequence:
            reading.find(
                Kind.TAIL_MISSING,
                head.sequence + 1,
                f"The chain ends at {head.sequence}; {checkpoint.source} knows it up to {checkpoint.sequence}.",
            )
    _compare(reading, sequence, hash_, known)
    last, last_hash = _walk(reading, sequence, hash_, known)
    if not head.is_stored:
        reading.find(Kind.HEAD_DIFFERS, None, "The head of the chain is gone.")
    elif last < head.sequence:
        reading.find(Kind.TAIL_MISSING, last + 1, f"The chain ends at {last}; its head says {head.sequence}.")
    elif last_hash != head.hash or head.last_link > head.sequence:
        reading.find(Kind.HEAD_DIFFERS, head.sequence, "The head of the chain is not its last link.")
    return reading


def _walk(reading: Reading, last: int, previous: bytes, known: Mapping[int, Sequence[Checkpoint]]) -> tuple[int, bytes]:
    """Compute each hash anew; return the place and the hash at which the chain ends."""
    misfits: list[_Misfit] = []
    for sequence, stored, event_id, fields in _links(reading.head, last):
        is_next = sequence == last + 1
        if not is_next:
            reading.find(Kind.LINK_MISSING, last + 1, f"There is nothing between {last} and {sequence}.")
        if fields is None:
            reading.find(Kind.EVENT_MISSING, sequence, "The event is gone, its link is there.", event_id)
        else:
            reading.events += 1
            event = canonical(fields)
            # Behind a gap nothing says what the hash before was.
            if is_next and link_hash(previous, sequence, event) != stored and len(misfits) < _MOST_FINDINGS:
                misfit = _Misfit(
                    sequence=sequence, event_id=event_id, previous=previous, stored=stored, canonical=event
                )
                misfits.append(misfit)
        _compare(reading, sequence, stored, known)
        last, previous = sequence, stored
    _tell_apart(reading, misfits)
    return last, previous


def _compare(reading: Reading, sequence: int, hash_: bytes, known: Mapping[int, Sequence[Checkpoint]]) -> None:
    for checkpoint in known.get(sequence, ()):
        if checkpoint.hash != hash_:
            detail = f"It is not the chain that {checkpoint.source} knows."
            reading.find(Kind.REWRITTEN, sequence, detail)


def _tell_apart(reading: Reading, misfits: Sequence[_Misfit]) -> None:
    """Say of each misfit whether its event belongs at the place of another."""
    for misfit in misfits:
        twin = next((other for other in misfits if other is not misfit and _belongs(other, misfit)), None)
        if twin:
            detail = f"Here belongs what stands at {twin.sequence}."
            reading.find(Kind.REORDERED, misfit.sequence, detail, misfit.event_id)
        else:
            detail = "The event, or the hash before it, is not what was linked."
            reading.find(Kind.ALTERED, misfit.sequence, detail, misfit.event_id)


def _belongs(other: _Misfit, place: _Misfit) -> bool:
    """Return whether the event of `other` is what was linked at a place: its hash may have moved along with it."""
    return link_hash(place.previous, place.sequence, other.canonical) in (place.stored, other.stored)


def _look_for_unchained(reading: Reading) -> None:
    condition, org = _of(reading.head.chain)
    with connection.cursor() as cursor:
        cursor.execute(_UNCHAINED.format(condition=condition, limit=_MOST_FINDINGS), org)
        for (event_id,) in cursor.fetchall():
            reading.find(Kind.UNCHAINED, None, "The event has no link.", event_id)


def _links(head: Head, behind: int) -> Iterator[tuple[int, bytes, int, Sequence[str | None] | None]]:
    """Yield place, hash, key and fields of each event of a chain; the fields are None when the event is gone."""
    condition, org = _of(head.chain)
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(_LINKS.format(condition=condition), [*org, behind, head.sequence])
        while rows := cursor.fetchmany(_ROWS):
            for sequence, hash_, event_id, *fields in rows:
                yield sequence, bytes(hash_), event_id, None if fields[1] is None else fields


def _of(chain: UUID) -> tuple[str, list[Any]]:
    """Return how the rows of a chain are found."""
    return ("org_id IS NULL", []) if chain == INSTALLATION else ("org_id = %s", [chain])


_CHAINS: Final = """
    SELECT id FROM audit_chain
     UNION SELECT chain_id FROM audit_seal
     UNION SELECT id FROM organization
            WHERE EXISTS (SELECT FROM audit_link WHERE org_id = organization.id)
               OR EXISTS (SELECT FROM audit_event WHERE org_id = organization.id)
     UNION SELECT %s WHERE EXISTS (SELECT FROM audit_event WHERE org_id IS NULL)
     UNION SELECT %s WHERE EXISTS (SELECT FROM audit_link WHERE org_id IS NULL)
     ORDER BY 1
"""
_HEAD: Final = """
    SELECT head.sequence, hash, purged_sequence, purged_hash, coalesce(last.sequence, purged_sequence, 0)
      FROM (SELECT max(sequence) AS sequence FROM audit_link WHERE {condition}) AS last
      LEFT JOIN audit_chain AS head ON head.id = %s
"""
_HASH: Final = "SELECT hash FROM audit_link WHERE {condition} AND sequence = %s"
_LINKS: Final = f"""
    SELECT link.sequence, link.hash, link.event_id, {", ".join(COLUMNS)}
      FROM audit_link AS link LEFT JOIN audit_event AS event ON event.id = link.event_id
     WHERE link.{{condition}} AND link.sequence > %s AND link.sequence <= %s ORDER BY link.sequence
"""  # noqa: S608  # nosec B608  # names of columns, from above
_UNCHAINED: Final = """
    SELECT event.id FROM audit_event AS event
     WHERE event.{condition} AND NOT EXISTS (SELECT FROM audit_link WHERE event_id = event.id)
     ORDER BY event.id LIMIT {limit}
"""
