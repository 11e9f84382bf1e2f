"""What lets an export end with each class of error, for far ends of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
)
from connectors.order import Order
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.testing.fakes import export_context
from connectors.tests.peers.imitation import Fault, says
from connectors.tests.peers.openssh import free_port

Failures = Mapping[type[ConnectorError], Callable[[], Provocation]]


def in_a_folder(contract: ConnectorContract, folder: Path, setting: str) -> Failures:
    """Return how a folder fails: it is gone, or has another file of the document's name.

    Args:
        folder: where documents arrive.
        setting: names the folder in the configuration.
    """

    def taken() -> Provocation:
        order = sample_orders.minimal("SO-TAKEN")
        attempt = export_context(dropzone_root=contract.dropzone_root())
        config = contract.connector_class.Config.parse(contract.config())
        name = contract.connector_class().render(order, config, attempt).filename
        (folder / name).write_bytes(b"of somebody else")
        return Provocation(order=order, attempt=attempt)

    return {
        TemporaryError: lambda: Provocation(config=contract.config() | {setting: "nowhere"}),
        RejectedByERP: taken,
    }


def over_http(contract: ConnectorContract, faults: list[Fault], drop: Fault, order: Order) -> Failures:
    """Return how an ERP over HTTP fails.

    Args:
        faults: what happens to its next requests.
        drop: the fault that does what is asked for and does not answer.
        order: one that cannot be written as a document, or names something that the ERP does not know.
    """

    def next_is(*wanted: Fault) -> Callable[[], Provocation]:
        def arrange() -> Provocation:
            faults[:] = wanted
            return Provocation()

        return arrange

    def unreachable() -> Provocation:
        faults.clear()
        scheme, _, rest = str(contract.config()["base_url"]).partition("://")
        host, _, path = rest.partition("/")
        address = f"{scheme}://{host.partition(':')[0]}:{free_port()}/{path}"
        return Provocation(config=contract.config() | {"base_url": address})

    def impossible() -> Provocation:
        faults.clear()
        return Provocation(order=order)

    return {
        TemporaryError: unreachable,
        RateLimited: next_is(says(429)),
        OutcomeUnknown: next_is(drop),
        AuthenticationFailed: next_is(says(401), says(401)),  # the second for those that renew their credentials
        RejectedByERP: next_is(says(422, "{}", Content_Type="application/json")),
        DocumentError: impossible,
    }
