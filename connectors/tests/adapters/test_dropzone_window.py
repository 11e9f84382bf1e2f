"""Many orders under way over one SFTP session: none lost, none twice, none in part, none out of sequence."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.order import Order
from connectors.port import Delivery, ExportContext
from connectors.results import Document
from connectors.testing import fakes, sample_orders
from connectors.tests.peers.faulty_sftp import FaultySftp
from connectors.tests.peers.openssh import OpenSSH
from connectors.tests.peers.proxy import CuttingProxy

pytestmark = pytest.mark.sftp

CONNECTOR = DropzoneJsonV1Connector()
SMALL, BIG = 900, 1_500_000
SO_LONG_S = 20


@dataclass
class Queue:
    """Orders to be sent, and what became of them."""

    exports: list[tuple[Order, ExportContext]]
    pulled: int = 0
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    before_each: Callable[[int], None] = lambda _: None

    @classmethod
    def of(cls, *sizes: int) -> Self:
        return cls(
            [(sample_orders.minimal(f"SO-{number}"), _context(number, size)) for number, size in enumerate(sizes)]
        )

    @property
    def names(self) -> list[str]:
        return [_name(context) for _, context in self.exports]

    def __iter__(self) -> Iterator[tuple[Order, ExportContext]]:
        for number, export in enumerate(self.exports):
            self.before_each(number)
            self.pulled += 1
            yield export

    def send(self, config: dict[str, object], *, window: int = 8) -> Self:
        """Send all of them through one session."""
        with CONNECTOR.open_session(DropzoneConfig.parse(config), fakes.context()) as session:
            for delivery in session.export_many(iter(self), window=window):
                self.note(delivery)
        return self

    def note(self, delivery: Delivery) -> None:
        name = _name(delivery.context)
        assert name not in self.deliveries, "settled twice"
        self.deliveries[name] = delivery

    def ends(self) -> list[object]:
        """Return for each order that was pulled True, its error, or None for neither."""
        ends = [self.deliveries[name] for name in self.names[: self.pulled]]
        return [True if delivery.result else delivery.error for delivery in ends]

    def send_the_rest(self, config: dict[str, object]) -> None:
        """Do as the worker does: look up what is in doubt, then send what did not arrive, until all has arrived."""
        for _ in range(SO_LONG_S):
            left = [export for export in self.exports if not self._has_arrived(export[1])]
            if not left:
                return
            again = Queue([])
            for order, context in left:
                error = self._error(context)
                if isinstance(error, OutcomeUnknown):
                    found = CONNECTOR.find_export(
                        order, DropzoneConfig.parse(config), replace(context, doubt=error.code)
                    )
                    if found is not None:
                        self.deliveries[_name(context)] = Delivery(context=context, result=found)
                        continue
                again.exports.append((order, context))
            with suppress(ConnectorError):
                again.send(config)
            self.deliveries |= again.deliveries
        raise AssertionError("it never arrived")

    def _has_arrived(self, context: ExportContext) -> bool:
        delivery = self.deliveries.get(_name(context))
        return delivery is not None and delivery.result is not None

    def _error(self, context: ExportContext) -> ConnectorError | None:
        delivery = self.deliveries.get(_name(context))
        return delivery.error if delivery else None

    def assert_all_lie_in(self, folder: Path) -> None:
        """The folder holds each of them once and whole, and nothing else."""
        expected = {_name(context): _content(context) for _, context in self.exports}
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == expected

    def assert_honest(self, folder: Path) -> None:
        """What was said of each agrees with what lies there, and the sequence was kept."""
        lying = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".tmp")}
        for (_, context), end in zip(self.exports, self.ends(), strict=False):
            content = lying.get(_name(context))
            assert content in (None, _content(context)), "in part"
            if end is True:
                assert content is not None
            elif not isinstance(end, OutcomeUnknown):
                assert content is None
        assert set(lying) == set(self.names[: len(lying)]), "out of sequence"


def _context(number: int, size: int) -> ExportContext:
    document = Document(
        filename=f"sales_order_SO-{number}_20251226T100000Z_{number:08x}.json",
        content=random.Random(number).randbytes(size),
        media_type="application/json",
    )
    return fakes.export_context(document=document)


def _name(context: ExportContext) -> str:
    assert context.document is not None
    return context.document.filename


def _content(context: ExportContext) -> bytes:
    assert context.document is not None
    return context.document.content


class TestSequence:
    @pytest.mark.parametrize("window", [1, 3, 64])
    def test_all_arrive(self, openssh: OpenSSH, inbox: Path, window: int) -> None:
        queue = Queue.of(*[SMALL] * 20, 0, BIG, *[SMALL] * 5).send(openssh.config(), window=window)

        assert queue.ends() == [True] * 27
        queue.assert_all_lie_in(inbox)

    def test_keys_may_be_changed_half_way(self, start_openssh: Callable[..., OpenSSH]) -> None:
        server = start_openssh(extra=("RekeyLimit 256K",))

        queue = Queue.of(*[SMALL, 300_000] * 10).send(server.config())

        queue.assert_all_lie_in(server.home / "inbox")

    def test_one_that_takes_long_is_not_overtaken(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp()

        queue = Queue.of(BIG, *[SMALL] * 6).send(server.config())

        closed = server.done("close")
        assert closed.index(queue.names[0] + ".tmp") == 6, "they were not written side by side"
        assert server.done("rename") == queue.names

    def test_one_that_is_refused_for_good_holds_back_nobody(self, openssh: OpenSSH, inbox: Path) -> None:
        queue = Queue.of(*[SMALL] * 9)
        (inbox / queue.names[3]).write_text("other")

        queue.send(openssh.config(), window=4)

        (refused,) = [end for end in queue.ends() if end is not True]
        assert isinstance(refused, RejectedByERP)
        assert not list(inbox.glob("*.tmp"))

    def test_what_was_delivered_before_is_delivered(self, openssh: OpenSSH, inbox: Path) -> None:
        first = Queue.of(*[SMALL] * 5).send(openssh.config())
        again = Queue(first.exports).send(openssh.config())

        assert all(
            delivery.result and delivery.result.receipt.already_delivered for delivery in again.deliveries.values()
        )
        again.assert_all_lie_in(inbox)

    def test_written_directly_it_keeps_the_sequence_too(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp()

        queue = Queue.of(BIG, *[SMALL] * 6).send(server.config(atomic_write=False))

        assert queue.ends() == [True] * 7
        assert server.done("open") == queue.names
        queue.assert_all_lie_in(server.root / "inbox")

    def test_no_more_is_pulled_than_there_is_room_for(self, openssh: OpenSSH, inbox: Path) -> None:
        queue = Queue.of(*[SMALL] * 30)
        queue.before_each = lambda number: assert_room(number, len(queue.deliveries))

        def assert_room(pulled: int, settled: int) -> None:
            assert pulled < settled + 4

        queue.send(openssh.config(), window=4)

        assert queue.ends() == [True] * 30


class TestTrouble:
    @pytest.mark.parametrize("step", ["open", "write", "close", "stat", "rename"])
    def test_those_behind_a_failure_are_cleared_away(self, faulty_sftp: Callable[..., FaultySftp], step: str) -> None:
        server = faulty_sftp(fail=step, times=1, skip=1)

        queue = Queue.of(*[SMALL] * 20).send(server.config(), window=4)

        ends = queue.ends()
        (error,) = [end for end in ends if isinstance(end, ConnectorError)]
        assert isinstance(error, TemporaryError)
        assert queue.pulled < 12, "taken after the failure"
        assert None in ends or step == "rename"
        assert not list((server.root / "inbox").glob("*.tmp"))
        lying = {path.name for path in (server.root / "inbox").iterdir()}
        assert lying == {name for name, end in zip(queue.names, ends, strict=False) if end is True}
        assert ends.index(error) == ends.index(None) - 1 or step == "rename"

    @pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
    @pytest.mark.parametrize("step", ["open", "write", "close", "stat", "rename"])
    def test_a_cut_is_told_as_it_is_and_repaired(
        self, faulty_sftp: Callable[..., FaultySftp], step: str, fault: str
    ) -> None:
        server = faulty_sftp(**{fault: step}, times=1, skip=5)
        inbox = server.root / "inbox"

        queue = Queue.of(*[SMALL] * 12).send(server.config(), window=4)

        queue.assert_honest(inbox)
        ends = queue.ends()
        known = [end for end in ends if isinstance(end, TemporaryError)]
        assert len(known) <= 1
        assert known or any(isinstance(end, OutcomeUnknown) for end in ends)
        assert all(end.code is Code.CONNECTION_LOST for end in known)
        queue.send_the_rest(server.config())
        queue.assert_all_lie_in(inbox)
        assert server.done("rename") == queue.names, "sent twice, or out of sequence"

    def test_silence_ends_in_time(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(stall_before="close", skip=3)

        started = time.monotonic()
        queue = Queue.of(*[SMALL] * 12).send(server.config(timeout_s=1), window=4)

        assert time.monotonic() - started < 5
        (error,) = [end for end in queue.ends() if isinstance(end, TemporaryError)]
        assert error.code is Code.CONNECTION_TIMEOUT
        queue.assert_honest(server.root / "inbox")

    @pytest.mark.parametrize("seed", range(12))
    def test_cut_at_any_byte(self, openssh: OpenSSH, inbox: Path, seed: int) -> None:
        chance = random.Random(seed)
        after = chance.randrange(1_500, 60_000)
        where = {"after": after} if chance.random() < 0.5 else {"after": None, "answers_after": 1_500 + after // 4}
        queue = Queue.of(*[chance.choice((0, SMALL, 3 * SMALL, 40_000)) for _ in range(12)])

        with CuttingProxy(openssh.port, times=1, how=chance.choice(("reset", "close")), **where) as proxy:
            with suppress(ConnectorError):  # not even logged in
                queue.send(openssh.config(port=proxy.port), window=chance.choice((2, 5, 16)))
                queue.assert_honest(inbox)
            queue.send_the_rest(openssh.config(port=proxy.port))

        queue.assert_all_lie_in(inbox)

    def test_one_whose_time_is_over_is_not_begun(self, openssh: OpenSSH, inbox: Path) -> None:
        queue = Queue.of(*[SMALL] * 6)
        order, late = queue.exports[3]
        queue.exports[3] = (order, replace(late, deadline=0))

        queue.send(openssh.config(), window=2)

        assert [end is True for end in queue.ends()][:4] == [True, True, True, False]
        (error,) = [end for end in queue.ends() if isinstance(end, ConnectorError)]
        assert error.code is Code.CONNECTION_TIMEOUT
        assert len(list(inbox.iterdir())) == 3

    def test_a_source_that_breaks_down_takes_nobody_along(self, openssh: OpenSSH, inbox: Path) -> None:
        queue = Queue.of(*[SMALL] * 6)

        def break_down(number: int) -> None:
            if number == 3:
                raise LookupError

        queue.before_each = break_down
        with pytest.raises(LookupError):
            queue.send(openssh.config())

        assert queue.ends() == [True] * 3


class TestSession:
    def test_looks_up_while_others_are_under_way(self, openssh: OpenSSH, inbox: Path) -> None:
        queue = Queue.of(*[SMALL] * 8)
        with CONNECTOR.open_session(DropzoneConfig.parse(openssh.config()), fakes.context()) as session:
            session.check()
            queue.before_each = lambda number: assert_missing(number)

            def assert_missing(number: int) -> None:
                assert session.find(*queue.exports[number]) is None

            for delivery in session.export_many(iter(queue), window=4):
                queue.note(delivery)
                assert session.find(queue.exports[0][0], delivery.context) is not None

        assert queue.ends() == [True] * 8

    def test_cut_by_another_thread_ends_at_once(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(stall_before="close")
        queue, started = Queue.of(*[SMALL] * 3), time.monotonic()

        with CONNECTOR.open_session(DropzoneConfig.parse(server.config(timeout_s=60)), fakes.context()) as session:
            threading.Timer(0.3, session.cut).start()
            for delivery in session.export_many(iter(queue), window=4):
                queue.note(delivery)

        assert time.monotonic() - started < 3
        assert [type(end) for end in queue.ends()] == [TemporaryError, type(None), type(None)]

    def test_tells_that_it_died_while_it_lay_idle(self, openssh: OpenSSH) -> None:
        with (
            CuttingProxy(openssh.port, after=None) as proxy,
            CONNECTOR.open_session(DropzoneConfig.parse(openssh.config(port=proxy.port)), fakes.context()) as session,
        ):
            session.check()
            session.check()
            proxy.__exit__()
            with pytest.raises(TemporaryError) as caught:
                session.check()

        assert caught.value.code is Code.CONNECTION_LOST

    def test_abandoned_half_way_is_of_no_more_use(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(stall_before="rename", skip=1, times=1)
        with CONNECTOR.open_session(DropzoneConfig.parse(server.config()), fakes.context()) as session:
            deliveries = session.export_many(iter(Queue.of(*[SMALL] * 9)), window=3)
            next(deliveries)
            deliveries.close()  # with others under way
            with pytest.raises(TemporaryError):
                session.check()
