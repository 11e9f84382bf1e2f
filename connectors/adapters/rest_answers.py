"""How REST_API reads what an ERP answers: the number of an order, its state, and what else it says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import Field

from connectors.config import INERT, ConnectorConfig
from connectors.exceptions import RejectedByERP, Said
from connectors.json_path import JsonPath, PathText
from connectors.results import AckStatus, ExportResult, Receipt
from connectors.validation import Line

_MAX_WARNINGS: Final = 20

_States = Annotated[tuple[Annotated[Line, Field(max_length=100)], ...], Field(max_length=50)]


class AnswerFields(ConnectorConfig):
    """Where in an answer things stand."""

    found_at: Annotated[
        PathText | None,
        INERT,
        Field(
            title="Found orders",
            description="Where the orders stand in the answer of the look-up, such as $.items[*]; empty where the "
            "answer is the order, or 404.",
        ),
    ] = None
    number_at: Annotated[
        PathText | None,
        INERT,
        Field(title="Order number", description="Where the ERP's number stands in an order.", examples=["$.number"]),
    ] = None
    number_in_location: Annotated[
        bool,
        INERT,
        Field(title="Number in Location", description="Whether it is the last part of the header Location."),
    ] = False
    warnings_at: Annotated[
        PathText | None, INERT, Field(title="Warnings", description="Where warnings stand in an answer.")
    ] = None
    state_at: Annotated[
        PathText | None,
        INERT,
        Field(title="State", description="Where the state stands in an order.", examples=["$.status"]),
    ] = None
    accepted_states: Annotated[
        _States, INERT, Field(title="Accepted", description="The states that mean yes, as a JSON list.")
    ] = ("accepted", "confirmed", "created", "completed")
    rejected_states: Annotated[
        _States, INERT, Field(title="Rejected", description="The states that mean no, as a JSON list.")
    ] = ("rejected", "cancelled", "failed")
    message_at: Annotated[
        PathText | None,
        INERT,
        Field(title="Reason", description="Where the reason of a no stands in an order."),
    ] = None

    def orders(self, body: Any) -> list[Any]:
        """Return the orders in the answer of a look-up."""
        if self.found_at is None:
            return [body] if body else []
        return _flat(JsonPath.parse(self.found_at).find(body))

    def number(self, item: Any) -> str | None:
        """Return the ERP's number of an order."""
        return Said(message=_text(self.number_at, item)).message

    def status(self, item: Any) -> AckStatus | None:
        """Return whether the state of an order is a yes or a no; None as long as it is neither."""
        state = (_text(self.state_at, item) or "").lower()
        if state and state in _lower(self.rejected_states):
            return AckStatus.REJECTED
        return AckStatus.ACKED if state and state in _lower(self.accepted_states) else None

    def reason(self, item: Any) -> Said:
        """Return why the ERP does not take an order."""
        return Said(code=_text(self.state_at, item), message=_text(self.message_at, item))

    def result(self, item: Any, receipt: Receipt) -> ExportResult:
        """Return what an order at the ERP says of itself.

        Raises:
            RejectedByERP: that it was refused.
        """
        status = self.status(item)
        if status is AckStatus.REJECTED:
            raise RejectedByERP(said=self.reason(item))
        found = _flat(JsonPath.parse(self.warnings_at).find(item)) if self.warnings_at else []
        warnings = [Said(message=text).message for text in found[:_MAX_WARNINGS] if isinstance(text, str)]
        return ExportResult(
            receipt=receipt,
            erp_order_id=self.number(item),
            acknowledged=status is AckStatus.ACKED,
            warnings=tuple(text for text in warnings if text),
        )


def _flat(found: list[Any]) -> list[Any]:
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _text(path: str | None, item: Any) -> str | None:
    return JsonPath.parse(path).text_in(item) if path else None


def _lower(states: Iterable[str]) -> list[str]:
    return [state.lower() for state in states]
