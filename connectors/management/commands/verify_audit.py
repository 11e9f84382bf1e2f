"""Verifies that nothing in the audit trail was altered, removed or put in another order."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from connectors.exceptions import ConfigurationError
from connectors.services import audit_seals
from connectors.services.audit_seals import Verified
from tenants import audit_chain
from tenants.audit import INSTALLATION
from tenants.audit_chain import Checkpoint
from tenants.management.base import USAGE, OperatorCommand, find_organization, table
from tenants.models import Organization, record

TAMPERED = 3
UNPROVEN = 4

Kept = dict[UUID, Checkpoint]


class Command(OperatorCommand):
    help = (
        "Read the whole audit trail, compute every hash anew and compare it with the seals. The JSON it writes can be "
        "kept elsewhere and given back with --against: then not even who has the master key rewrites what is in it."
    )
    examples = ("", "--org acme --json", "--json > heads.json", "--against heads.json")
    exit_codes = (
        (0, "everything fits, and is sealed"),
        (USAGE, "no such organisation, no usable file, or no usable key"),
        (TAMPERED, "something was altered, removed, added or put in another order; what and where is on stdout"),
        (UNPROVEN, "everything fits, but there is no seal where one should be: it may have been rewritten"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only the trail of this organisation")
        parser.add_argument("--against", metavar="FILE", help="what --json wrote before")
        parser.add_argument("--json", action="store_true", help="write one JSON document")
        parser.add_argument(
            "--seal", action="store_true", help="seal what fits, also where nothing was sealed before: you vouch for it"
        )

    def handle(self, *, org: str | None, against: str | None, json: bool, seal: bool, **_: Any) -> None:
        kept = _read(against) if against else {}
        chains = [find_organization(org).pk] if org else sorted({*audit_chain.chains(), *kept})
        try:
            verified = [self._verify(chain, kept, seal=seal) for chain in chains]
        except (ConfigurationError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=USAGE) from None
        findings = sum(len(each.reading.findings) for each in verified)
        unproven = [each for each in verified if not each.is_proven]
        only = Organization.objects.filter(slug=org).first()
        record(
            self.actor, "audit.verified", org=only, chains=len(verified), findings=findings, unproven=len(unproven),
            events=sum(each.reading.events for each in verified),
        )  # fmt: skip
        self._show(verified, as_json=json)
        if findings:
            raise CommandError(
                f"The audit trail does not fit in {findings} places. Keep the database as it is.", returncode=TAMPERED
            )
        if unproven:
            raise CommandError(
                f"{len(unproven)} chains have events without a seal. Does a worker run? If you know them to be right: "
                "manage.py verify_audit --seal",
                returncode=UNPROVEN,
            )

    def _verify(self, chain: UUID, kept: Kept, *, seal: bool) -> Verified:
        checkpoints = [kept[chain]] if chain in kept else []
        verified = audit_seals.verify(chain, checkpoints)
        if seal and verified.is_intact and audit_seals.seal(chain, is_trusted=True):
            return audit_seals.verify(chain, checkpoints)
        return verified

    def _show(self, verified: list[Verified], *, as_json: bool) -> None:
        slugs = dict(Organization.objects.values_list("pk", "slug"))
        if as_json:
            self.write_json([_as_json(each, slugs) for each in verified])
            return
        rows = [("ORGANISATION", "EVENTS", "FROM", "TO", "SEALED TO", "FINDINGS")]
        for each in verified:
            head, sealed = each.reading.head, str(each.seal.sequence) if each.seal else "-"
            found = str(len(each.reading.findings) or ("unsealed" if each.unsealed else "-"))
            place = str(head.purged_sequence + 1), str(head.sequence)
            rows.append((_name(head.chain, slugs), str(each.reading.events), *place, sealed, found))
        for line in table(rows):
            self.stdout.write(line)
        for each in verified:
            for finding in each.reading.findings:
                where = "-" if finding.sequence is None else str(finding.sequence)
                event = "" if finding.event_id is None else f" (event {finding.event_id})"
                name = _name(each.reading.head.chain, slugs)
                self.stdout.write(f"{name} {where} {finding.kind}: {finding.detail}{event}")


def _read(path: str) -> Kept:
    """Return what was kept elsewhere of each chain.

    Raises:
        CommandError: it is not what --json writes.
    """
    try:
        entries = json_format.loads(Path(path).read_text())
        if isinstance(entries, list):
            return {UUID(entry["chain"]): _checkpoint(entry, source=Path(path).name) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise CommandError(f"{path} is not what `verify_audit --json` writes.", returncode=USAGE)


def _checkpoint(entry: dict[str, Any], *, source: str) -> Checkpoint:
    return Checkpoint(sequence=int(entry["sequence"]), hash=bytes.fromhex(entry["hash"]), source=source)


def _as_json(each: Verified, slugs: dict[UUID, str]) -> dict[str, Any]:
    head, seal = each.reading.head, each.seal
    return {
        "chain": str(head.chain),
        "organization": slugs.get(head.chain),
        "events": each.reading.events,
        "first_sequence": head.purged_sequence + 1,
        "sequence": head.sequence,
        "hash": head.hash.hex(),
        "seal": {"sequence": seal.sequence, "sealed_at": seal.sealed_at.isoformat(), "key_id": seal.key_id}
        if seal
        else None,
        "unsealed": each.unsealed,
        "findings": [
            {"kind": finding.kind, "sequence": finding.sequence, "event_id": finding.event_id, "detail": finding.detail}
            for finding in each.reading.findings
        ],
    }


def _name(chain: UUID, slugs: dict[UUID, str]) -> str:
    return "(installation)" if chain == INSTALLATION else slugs.get(chain, str(chain))
