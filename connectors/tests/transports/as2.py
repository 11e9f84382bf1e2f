"""What the tests of AS2 share: both partners' keys, a station on loopback, and a configuration that leads there."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from connectors.adapters.edifact_orders import EdifactConfig, EdifactOrdersConnector
from connectors.port import ExportContext
from connectors.results import Document, ExportResult
from connectors.testing import sample_orders
from connectors.testing.fakes import export_context
from connectors.tests.peers.as2_partner import OURS, THEIRS, As2Partner, Pair, make_pair, rsa_key
from connectors.tests.peers.https import HttpServer

BETWEEN = {"sender_id": "ACME", "recipient_id": "GLOBEX", "customer_number_from": "id", "reference_from": "order_id"}


@cache
def ours() -> Pair:
    return make_pair("acme", key=rsa_key(1))


@cache
def theirs() -> Pair:
    return make_pair("globex", key=rsa_key(2))


def settings(**changes: Any) -> dict[str, Any]:
    """Return a configuration between both, without the certificates of TLS."""
    return {
        "mode": "as2",
        "as2_url": "https://erp.test/receive",
        "as2_from": OURS,
        "as2_to": THEIRS,
        "own_certificate": ours().certificate,
        "own_key": ours().key,
        "partner_certificates": theirs().certificate,
        "timeout_s": 2,
        **BETWEEN,
        **changes,
    }


def config(**changes: Any) -> EdifactConfig:
    return EdifactConfig.parse(settings(**changes))


def partner(folder: Path) -> As2Partner:
    return As2Partner(folder, ours(), theirs())


def over(server: HttpServer, authority: Any, **changes: Any) -> EdifactConfig:
    """Return a configuration that leads to a server."""
    there = {"as2_url": server.url("erp.test", "/receive"), "ca_bundle": authority.certificate}
    return config(**there | changes)


def attempt(content: bytes = b"UNA:+.? 'UNB+UNOC:3'", **changes: Any) -> ExportContext:
    """Return a context with a frozen document."""
    document = Document(filename="order_1.edi", content=content, media_type="application/EDIFACT")
    fixed = {"created_at": datetime(2026, 11, 1, 12, tzinfo=UTC), "export_id": UUID(int=7), "document": document}
    return replace(export_context(), **{**fixed, **changes})


def export(using: EdifactConfig, context: ExportContext | None = None) -> ExportResult:
    return EdifactOrdersConnector().export(sample_orders.minimal(), using, context or attempt())


def with_(tools: Any, **changes: Any) -> Any:
    """Return a context with other tools."""
    return replace(tools, **changes)


def digest(content: bytes, algorithm: str) -> str:
    """Return a checksum as receipts have it."""
    return b64encode(hashlib.new(algorithm, content).digest()).decode()


def an_id() -> UUID:
    """Return the id of another export."""
    return uuid4()
