"""The conduct: one way out, in time, with a class for every error, and no secret in what is said of it."""

from __future__ import annotations

import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

from connectors.codes import Code
from connectors.config import ConnectorConfig
from connectors.exceptions import ConnectorError, TemporaryError
from connectors.network import Dialer, Endpoint
from connectors.order import Order
from connectors.port import Awaited, Context, ExportContext, ExportSession
from connectors.results import Document, RemoteIdentity, Settlement
from connectors.testing import sample_orders
from connectors.testing.contract.hooks import ContractHooks, failure
from connectors.testing.fakes import UNRESTRICTED

_BUDGET_S: Final = 0.2
_PATIENCE_S: Final = 3.0
"""Far more than a deadline may be overrun by, and far less than any time-out."""


class ConductContract(ContractHooks):
    """How a connector behaves towards the network, the clock and those who read its errors."""

    def test_every_verb_it_claims_works(self) -> None:
        results = {name: act() for name, act in self._verbs(self._context()).items()}

        assert isinstance(results.get("render", Document), Document | type)
        assert isinstance(results.get("identify", RemoteIdentity), RemoteIdentity | type)
        assert isinstance(results.get("open_session", ExportSession), ExportSession | type)
        assert isinstance(results.get("poll_acknowledgements", 0), int)

    def test_only_the_dialer_leads_out(self) -> None:
        if not self.uses_network:
            return
        for name, act in self._verbs(replace(self._context(), dialer=_nowhere())).items():
            with _strays() as strays:
                code = failure(act)
            assert not strays, f"{name} opens connections of its own"
            if name in ("export", "test_connection"):
                assert code is Code.EGRESS_DENIED, f"{name} did not ask the dialer"

    def test_a_far_end_that_says_nothing_is_left_at_the_deadline(self) -> None:
        if not self.uses_network:
            return
        with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
            dialer = _Redirected(policy=self._context().dialer.policy, port=silent.getsockname()[1])
            for name in ("test_connection", "export"):
                began = time.monotonic()
                context = replace(self._context(), dialer=dialer, deadline=began + _BUDGET_S)
                assert failure(self._verbs(context)[name]), f"{name} works with nobody"
                assert time.monotonic() - began < _PATIENCE_S, f"{name} does not keep the deadline"

    def test_every_error_it_declares_can_be_provoked(self) -> None:
        failures = self.failures()
        assert set(failures) == self.connector_class.raises - self.out_of_reach

        for number, (kind, arrange) in enumerate(failures.items()):
            provoked = arrange()
            config = provoked.config or self.config()
            with _everything_logged() as log:
                error = self._failed_export(
                    self.connector_class.Config.parse(config),
                    provoked.order or sample_orders.minimal(f"SO-F{number}"),
                    provoked.attempt or self._export_context(),
                )
            assert type(error) is kind, f"{kind.__name__} was to be provoked, and the export ends with {error!r}"
            self._assert_no_secret(_all_of(error) + "".join(log), config)

    def test_what_goes_wrong_shows_no_secret(self) -> None:
        contexts = [replace(self._context(), dialer=_nowhere())] if self.uses_network else []
        cases = [(self.config(), context) for context in contexts]
        cases += [(config, self._context()) for config in self.broken_configs()[:2]]

        for config, context in cases:
            with _everything_logged() as log:
                errors = [_error(act) for act in self._verbs(context, config).values()]
            self._assert_no_secret("".join([*map(_all_of, errors), *log]), config)

    def _failed_export(self, config: ConnectorConfig, order: Order, attempt: ExportContext) -> ConnectorError | None:
        return _error(lambda: self._connector().export(order, config, attempt))

    def _verbs(self, context: Context, config: Mapping[str, Any] | None = None) -> dict[str, Callable[[], object]]:
        """Return each verb that the connector claims, ready to be called."""
        connector, order = self._connector(), sample_orders.minimal("SO-V")
        parsed = self.connector_class.Config.parse(config or self.config())
        attempt = replace(self._export_context(), dialer=context.dialer, deadline=context.deadline)

        def test() -> object:
            result = connector.test_connection(parsed, context)
            if result.failed_step:
                raise ConnectorError(result.failed_step.code)
            return result

        def session() -> object:
            with connector.open_session(parsed, context) as session:
                return session

        def poll() -> object:
            asked = replace(context, awaited=lambda: [_awaited(attempt.export_id)])
            return connector.poll_acknowledgements(parsed, asked, lambda _: Settlement.UNMATCHED)

        verbs: dict[str, Callable[[], object]] = {
            "test_connection": test,
            "render": lambda: connector.render(order, parsed, attempt),
            "export": lambda: connector.export(order, parsed, attempt),
            "find_export": lambda: connector.find_export(order, parsed, attempt),
            "poll_acknowledgements": poll,
            "identify": lambda: connector.identify(parsed, context),
            "open_session": session,
        }
        claimed = self.connector_class.capabilities()
        return {name: act for name, act in verbs.items() if claimed.get(name, True)}


def _awaited(export_id: UUID) -> Awaited:
    return Awaited(
        export_id=export_id,
        idempotency_key=str(export_id),
        filename="unknown.json",
        order=sample_orders.minimal("SO-V"),
        created_at=datetime(2025, 12, 26, 10, 0, tzinfo=UTC),
        location=None,
        erp_order_id=None,
    )


@dataclass(frozen=True, kw_only=True)
class _Nowhere(Dialer):
    """Connects to nobody."""

    def resolve(self, host: str, port: int, *, timeout_s: float) -> Endpoint:  # noqa: ARG002  # the dialer's signature
        raise TemporaryError(Code.EGRESS_DENIED, host=host, address=host)

    def connect_to(self, endpoint: Endpoint, *, timeout_s: float) -> socket.socket:  # noqa: ARG002  # as above
        raise TemporaryError(Code.EGRESS_DENIED, host=endpoint.host, address=endpoint.host)


@dataclass(frozen=True, kw_only=True)
class _Redirected(Dialer):
    """Connects everybody to one port of this machine."""

    port: int

    def resolve(self, host: str, port: int, *, timeout_s: float) -> Endpoint:  # noqa: ARG002  # as above
        return Endpoint(host=host, port=port, addresses=("127.0.0.1",))

    def connect_to(self, endpoint: Endpoint, *, timeout_s: float) -> socket.socket:  # noqa: ARG002  # as above
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)


def _nowhere() -> Dialer:
    return _Nowhere(policy=UNRESTRICTED.policy)


@contextmanager
def _strays() -> Iterator[list[str]]:
    """Refuse and write down every connection and every name that is asked for without the dialer."""
    seen: list[str] = []

    def refuse(name: str) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> None:
            seen.append(name)
            raise ConnectionRefusedError

        return call

    with (
        patch.object(socket.socket, "connect", refuse("connect")),
        patch.object(socket.socket, "connect_ex", refuse("connect_ex")),
        patch.object(socket, "getaddrinfo", refuse("getaddrinfo")),
    ):
        yield seen


@contextmanager
def _everything_logged() -> Iterator[list[str]]:
    """Collect what anybody logs, at every level."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root, collector = logging.getLogger(), Collector()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(collector)


def _error(act: Callable[[], object]) -> ConnectorError | None:
    try:
        act()
    except ConnectorError as error:
        return error
    return None


def _all_of(error: ConnectorError | None) -> str:
    """Return everything that an error can show to anybody, its causes included."""
    if error is None:
        return ""
    return f"{error!r} {error} {vars(error)!r} {''.join(traceback.format_exception(error))}"
