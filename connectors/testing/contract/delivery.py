"""The delivery: each order once, alone or among many, and found again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

from connectors.order import Order
from connectors.port import Delivery, ExportContext, Guarantee
from connectors.testing import sample_orders
from connectors.testing.contract.hooks import ContractHooks


class DeliveryContract(ContractHooks):
    """What becomes of orders."""

    def test_export_twice_is_delivered_once(self) -> None:
        order, before, attempt = self.complete_order(), dict(self.far_end()), self._export_context()

        first = self._connector().export(order, self._parsed(), attempt)
        second = self._connector().export(order, self._parsed(), attempt)

        assert not first.receipt.already_delivered
        assert second.receipt.already_delivered
        assert (first.receipt.size, first.receipt.sha256) == (second.receipt.size, second.receipt.sha256)
        assert len(self.far_end()) == len(before) + 1

    def test_rendered_document_is_what_arrives(self) -> None:
        if not self.connector_class.supports_render:
            return
        order, attempt = self.complete_order(), self._export_context()

        self._connector().export(order, self._parsed(), attempt)

        rendered = self._connector().render(order, self._parsed(), attempt)
        assert self.far_end()[rendered.filename] == rendered.content

    def test_find_export_tells_what_arrived(self) -> None:
        if not self.connector_class.supports_find_export:
            return
        order, attempt = sample_orders.minimal(), self._export_context()

        assert self._connector().find_export(order, self._parsed(), attempt) is None
        sent = self._connector().export(order, self._parsed(), attempt)
        found = self._connector().find_export(order, self._parsed(), attempt)

        assert found is not None
        assert found.receipt.already_delivered
        assert found.receipt.sha256 == sent.receipt.sha256

    def test_one_session_takes_many_orders(self) -> None:
        if not self.connector_class.supports_session:
            return
        before = dict(self.far_end())

        with self._connector().open_session(self._parsed(), self._context()) as session:
            for number in range(3):
                session.export(sample_orders.minimal(f"SO-{number}"), self._export_context())

        assert len(self.far_end()) == len(before) + 3

    def test_many_in_one_session_arrive_each_once(self) -> None:
        if not self.connector_class.supports_session:
            return
        exports = [(sample_orders.minimal(f"SO-{number}"), self._export_context()) for number in range(7)]
        source, before = _Source(exports, window=3), dict(self.far_end())

        with self._connector().open_session(self._parsed(), self._context()) as session:
            session.check()
            for delivery in session.export_many(source, window=3):
                source.note(delivery)
            session.check()

        assert [delivery.error for delivery in source.deliveries] == [None] * len(exports)
        settled = {delivery.context.export_id: delivery.result for delivery in source.deliveries}
        assert len(settled) == len(source.deliveries) == len(exports)
        assert len(self.far_end()) == len(before) + len(exports)
        for order, attempt in exports:
            again = self._connector().export(order, self._parsed(), attempt)
            assert again.receipt.already_delivered
            assert settled[attempt.export_id] == replace(again, receipt=replace(again.receipt, already_delivered=False))

    def test_many_are_what_they_are_one_by_one(self) -> None:
        if not self.connector_class.supports_session:
            return
        exports = [(sample_orders.minimal(f"SO-{number}"), self._export_context()) for number in range(4)]
        alone = [self._connector().export(order, self._parsed(), attempt) for order, attempt in exports]
        before = dict(self.far_end())

        with self._connector().open_session(self._parsed(), self._context()) as session:
            together = {delivery.context.export_id: delivery for delivery in session.export_many(exports, window=2)}

        assert dict(self.far_end()) == before
        for (_, attempt), result in zip(exports, alone, strict=True):
            expected = replace(result, receipt=replace(result.receipt, already_delivered=True))
            assert together[attempt.export_id].result == expected

    def test_with_a_window_of_one_each_has_arrived_before_the_next_is_taken(self) -> None:
        if not self.connector_class.supports_session:
            return
        before = len(self.far_end())

        def exports() -> Iterator[tuple[Order, ExportContext]]:
            for number in range(3):
                assert len(self.far_end()) == before + number
                yield sample_orders.minimal(f"SO-{number}"), self._export_context()

        with self._connector().open_session(self._parsed(), self._context()) as session:
            assert all(delivery.result for delivery in session.export_many(exports(), window=1))
        assert len(self.far_end()) == before + 3

    def test_a_session_finds_what_it_sent(self) -> None:
        if not (self.connector_class.supports_session and self.connector_class.supports_find_export):
            return
        sent, missing = ((sample_orders.minimal(name), self._export_context()) for name in ("SO-1", "SO-2"))

        with self._connector().open_session(self._parsed(), self._context()) as session:
            (delivery,) = session.export_many([sent], window=1)
            found = session.find(*sent)

            assert delivery.result
            assert found
            assert found.receipt.sha256 == delivery.result.receipt.sha256
            assert session.find(*missing) is None

    def test_says_what_keeps_an_order_from_arriving_twice(self) -> None:
        assert isinstance(self.connector_class.guarantee, Guarantee)
        if self.connector_class.guarantee is Guarantee.LOOKUP:
            assert self.connector_class.supports_find_export


class _Source:
    """Exports to be taken one by one, by somebody who takes no more than he has room for, and never beyond the end."""

    def __init__(self, exports: Sequence[tuple[Order, ExportContext]], *, window: int) -> None:
        self._exports, self._window = exports, window
        self._taken, self._has_ended = 0, False
        self.deliveries: list[Delivery] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Order, ExportContext]:
        assert not self._has_ended, "asked again after the end"
        if self._taken == len(self._exports):
            self._has_ended = True
            raise StopIteration
        self._taken += 1
        assert self._taken - len(self.deliveries) <= self._window, "more under way than allowed"
        return self._exports[self._taken - 1]

    def note(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
