"""Whatever a partner, a caller or a thief of the database writes: it is read exactly, or refused as what it is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors import strict_json
from connectors.encryption import KeyRing
from connectors.exceptions import ConfigurationError, DocumentError, InvalidInput, InvalidOrder
from connectors.formats.orderflow_json_v1 import (
    acknowledgement_names,
    answered_filename,
    filename,
    parse_acknowledgement,
)
from connectors.order import Order
from connectors.testing import sample_orders
from connectors.transports import certificates
from connectors.transports.ssh_keys import (
    HostKeyPin,
    UnusableCertificate,
    UnusableKey,
    WrongPassphrase,
    load_private_key,
)

SEED = int(os.environ.get("FUZZ_SEED", "20261125"))
EXAMPLES = 50 * int(os.environ.get("FUZZ_EXAMPLES", "1"))

ORG, RECORD = UUID(int=1), UUID(int=2)
RING = KeyRing(bytes(range(32)))
TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=6)
    | st.sampled_from(["NaN", "1e999", "0", "-0", "1_0", "٣", "2025-12-26T10:00:00+17:40", "0001-01-01T00:00:00+23:59"])
    | TEXT
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


def fuzz(**strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with many inputs, the same ones for the same FUZZ_SEED."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        settings = hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None)
        return hypothesis.seed(SEED)(settings(hypothesis.given(**strategies)(test)))

    return decorate


# -- Configurations ----------------------------------------------------------------------------------------------------

NOT_JSON = (
    st.binary(max_size=8)
    | st.decimals()
    | st.just(float("nan"))
    | st.text(max_size=8).map(SecretStr)
    | st.tuples(st.integers())
    | st.just("\ud800")
    | st.datetimes()
)


@fuzz(config=st.dictionaries(TEXT, st.recursive(st.integers() | TEXT | NOT_JSON, st.lists), max_size=3))
def test_a_configuration_comes_back_exactly_or_is_refused(config: dict[str, Any]) -> None:
    try:
        blob = RING.seal(config, org_id=ORG, record_id=RECORD)
    except ConfigurationError:
        return
    assert repr(RING.open(blob, org_id=ORG, record_id=RECORD)) == repr(config)
    assert b"**********" not in blob


# -- Orders ------------------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in an order."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


ORDER = sample_orders.complete().as_json()
PLACES = [place for place in places(ORDER) if place]


@fuzz(place=st.sampled_from(PLACES), value=JSON)
def test_an_order_is_read_exactly_or_refused_at_the_place(place: tuple[Any, ...], value: Any) -> None:
    data = json.loads(json.dumps(ORDER))
    parent = data
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value

    try:
        order = Order.parse(data)
    except InvalidOrder as refusal:
        refused = {fault.path for fault in refusal.faults}
    else:
        again = Order.parse(strict_json.loads(json.dumps(order.as_json()).encode()))
        assert (again, again.fingerprint()) == (order, order.fingerprint())
        return
    # A line number that is taken is reported where it stands for the second time.
    assert all(path.startswith((".".join(map(str, place)), "lines")) for path in refused), refused


@fuzz(number=st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_a_number_keeps_its_digits_or_is_refused(number: str) -> None:
    data = json.dumps(ORDER | {"lines": [ORDER["lines"][0] | {"qty": 1}]}).replace('"qty": 1', f'"qty": {number}')
    try:
        order = Order.parse(strict_json.loads(data.encode()))
    except InvalidInput as refusal:
        refused = [fault.path for fault in refusal.faults]
    else:
        assert order.lines[0].qty == Decimal(number)
        return
    assert refused in (["lines.0.qty"], [""])  # the second is of the text itself, such as an exponent beyond all use


# -- What partners write -----------------------------------------------------------------------------------------------

EXPORT = "sales_order_SO-1_20251226T100507Z_0a1b2c3d.json"
ANSWER = st.fixed_dictionaries(
    {"status": st.sampled_from(["ACKED", "FAILED", "acked", None, 1])},
    optional=dict.fromkeys(("erp_order_id", "error_code", "message", "processed_at", "extra"), JSON),
)


@fuzz(
    name=st.sampled_from(acknowledgement_names(EXPORT)),
    answer=ANSWER,
    cut=st.integers(0, 400),
    tail=st.sampled_from([b"", b"}", b"\0", b"\xff", b"{}"]),
)
def test_an_answer_is_read_or_malformed(name: str, answer: Any, cut: int, tail: bytes) -> None:
    content = json.dumps(answer, default=float).encode()[: cut or None] + tail
    try:
        read = parse_acknowledgement(name, content)
    except DocumentError:
        return
    assert read.filename == EXPORT
    assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]*", f"{read.erp_order_id}{read.error_code}{read.message}")


@fuzz(
    order_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
    | st.sampled_from(["..", ".", "../../etc/passwd", "C:\\x", "CON", "nul", "a/b", "-rf", "~", "é" * 64, "." * 64]),
    export_id=st.uuids(),
    at=st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)),
)
def test_a_file_name_is_one_on_every_system(order_id: str, export_id: UUID, at: datetime) -> None:
    name = filename(order_id, export_id=export_id, created_at=at)

    assert re.fullmatch(r"sales_order_[A-Za-z0-9._-]{1,64}_[0-9]{8}T[0-9]{6}Z_[0-9a-f]{8}\.json", name)
    assert len(name) < 200  # … and leaves room for `.tmp`, `ack_` and `error_`
    assert all(answered_filename(answer) == name for answer in acknowledgement_names(name))


# -- Keys --------------------------------------------------------------------------------------------------------------

PEM = "-----BEGIN {0}-----\n{1}\n-----END {0}-----\n"
KEYS = st.builds(PEM.format, st.sampled_from(["OPENSSH PRIVATE KEY", "PRIVATE KEY", "RSA PRIVATE KEY"]), TEXT)


@fuzz(text=TEXT | st.builds("{} {}".format, st.sampled_from(["ssh-ed25519", "ssh-rsa", "x"]), TEXT))
def test_a_host_key_is_one_or_a_value_error(text: str) -> None:
    try:
        pin = HostKeyPin.parse(text)
    except ValueError:
        return
    assert re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", pin.fingerprint)


@pytest.mark.filterwarnings("ignore")  # of what is no good key anyway
@fuzz(text=TEXT | KEYS, passphrase=st.none() | TEXT, certificate=st.none() | TEXT)
def test_a_private_key_is_one_or_refused(text: str, passphrase: str | None, certificate: str | None) -> None:
    with pytest.raises((UnusableKey, WrongPassphrase, UnusableCertificate)):
        load_private_key(text, passphrase, certificate)


@fuzz(text=TEXT | KEYS | st.builds("{}.{}.{}".format, TEXT, TEXT, TEXT))
def test_no_text_breaks_the_search_for_an_expiry(text: str) -> None:
    for expiry in (certificates.ssh_certificate_expiry, certificates.x509_expiry, certificates.token_expiry):
        with pytest.raises(ValueError, match="no"):
            expiry(text)
