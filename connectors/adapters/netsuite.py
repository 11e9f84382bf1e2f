"""NETSUITE: sales orders in Oracle NetSuite, by SuiteTalk REST (record v1) and SuiteQL.

The export's id becomes the order's external id, which NetSuite takes only once: a second POST is refused, where a PUT
would add its lines to those of the first one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Final

from connectors import exact_json, strict_json
from connectors.exceptions import ConnectorError, DocumentError, OutcomeUnknown, RejectedByERP, Said
from connectors.formats import netsuite, orderflow_json_v1
from connectors.formats.netsuite import NetSuiteFields
from connectors.json_path import JsonPath
from connectors.order import Order
from connectors.port import Awaited, ExportContext, Guarantee, StepNote
from connectors.results import AckStatus, Document, RemoteIdentity
from connectors.transports.http_answers import Unusable
from connectors.transports.http_erp import HttpErpConnector, HttpErpSession, Placed, ambiguous, unknown
from connectors.transports.netsuite import (
    JSON,
    ORDERS,
    RULES,
    SCHEMA,
    SENT_JSON,
    NetSuiteAccess,
    account_at,
    environment_of,
    last_part,
    read,
    rows,
    unpacked,
)

_ASKED_AT_ONCE: Final = 400
"""Numbers in one SuiteQL, which takes a thousand values and gives a thousand rows."""

_KEPT_S: Final = 300.0
_MAX_KEPT: Final = 10_000
_NOTHING: Final = ("", 0.0)

_STATES: Final = {
    "A": None,  # pending approval
    "B": AckStatus.ACKED,  # pending fulfilment
    "C": AckStatus.REJECTED,  # cancelled
    "D": AckStatus.ACKED,  # partially fulfilled
    "E": AckStatus.ACKED,  # pending billing, partially fulfilled
    "F": AckStatus.ACKED,  # pending billing
    "G": AckStatus.ACKED,  # billed
    "H": AckStatus.REJECTED,  # closed by hand: it goes no further
}


class NetSuiteConfig(NetSuiteFields, NetSuiteAccess):
    """Which account, who we are, and how an order becomes one there."""


class NetSuiteSession(HttpErpSession[NetSuiteConfig]):
    """One connection to one account."""

    @cached_property
    def _kept(self) -> dict[tuple[str, str], tuple[str, float]]:
        """The internal ids of numbers, and until when they are believed."""
        return {}

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        placed = self._read(str(names.export_id))
        return [placed] if placed else []

    def create(self, document: Document, context: ExportContext) -> Placed | None:
        external_id, content = str(context.export_id), self._with_ids(document)
        validation = {"X-NetSuite-PropertyNameValidation": "Error" if self.config.strict_fields else "Warning"}
        try:
            judged = self.client.call("POST", ORDERS, headers={**SENT_JSON, **validation}, content=content)
        except RejectedByERP:
            # Which words say that it is there already is not documented, and a script may fail once it was saved.
            if self._is_there(external_id):
                return None
            raise
        if judged.exists:
            return None
        internal_id = last_part(judged.answer.headers.get("Location"))
        if internal_id is None:
            raise judged.answer.unusable(Unusable.NO_NUMBER)
        made = self._placed(external_id, {"id": internal_id})
        try:
            return self._read(external_id) or made
        except ConnectorError:  # it is there; what it is called is asked again
            return made

    def check_access(self, note: StepNote) -> None:
        read(self.client.call("GET", SCHEMA, headers={"Accept": "application/schema+json"}))
        self._listed()
        names = {self.config.customer_by, self.config.item_by} & netsuite.LOOKED_UP.keys()
        asked = sorted(names | ({"symbol"} if self.config.send_currency else set()))
        for name in asked:
            rows(self.client, netsuite.question(name), limit=1)
        note.detail = f"Readable: {', '.join(['salesOrder', *(netsuite.LOOKED_UP[name][0] for name in asked)])}."

    def identity(self) -> RemoteIdentity:
        link = JsonPath.parse("links[0].href").text_in(self._listed())
        account = account_at(link) or self.config.realm  # another server in between may write links of its own
        return RemoteIdentity(company=account, environment=environment_of(account), server="NetSuite")

    def _listed(self) -> dict[str, Any]:
        return read(self.client.call("GET", ORDERS, params={"limit": "1"}, headers=JSON))

    def _read(self, external_id: str) -> Placed | None:
        fields = {"fields": "tranId,status,subtotal"}
        judged = self.client.call("GET", f"{ORDERS}/eid:{external_id}", params=fields, headers=JSON)
        return None if judged.is_missing else self._placed(external_id, read(judged))

    def _placed(self, external_id: str, body: dict[str, Any]) -> Placed:
        def text(path: str) -> str | None:
            return JsonPath.parse(path).text_in(body)

        internal_id = text("id") or last_part(text("links[0].href"))
        key = f"eid:{external_id}"
        state = text("status.id")
        return Placed(
            key=key,
            location=self.config.page_of(internal_id) if internal_id else f"{self.config.address()}/{ORDERS}/{key}",
            number=Said(message=text("tranId")).message,
            status=_STATES.get(state or ""),
            said=Said(code=state, message=text("status.refName")),
            net_total=body.get("subtotal") if self.config.send_prices else None,
        )

    def _is_there(self, external_id: str) -> bool:
        try:
            return self._read(external_id) is not None
        except ConnectorError:
            raise OutcomeUnknown from None

    def _with_ids(self, document: Document) -> bytes:
        """Return the document with internal ids in the place of what NetSuite does not follow by itself."""
        body = strict_json.loads(document.content)
        asked: dict[str, set[str]] = {}
        for _, reference in netsuite.references(body, self.config):
            for name in netsuite.LOOKED_UP.keys() & reference:
                asked.setdefault(name, set()).add(reference[name])
        if not asked:
            return document.content
        known = {name: self._ids(name, sorted(numbers)) for name, numbers in asked.items()}
        for where, reference in netsuite.references(body, self.config):
            for name in known.keys() & reference:
                ids = known[name].get(reference.pop(name), [])
                if len(ids) != 1:
                    raise (ambiguous if ids else unknown)(where)
                reference["id"] = ids[0]
        return exact_json.dumps(body).encode()

    def _ids(self, name: str, numbers: list[str]) -> dict[str, list[str]]:
        """Return the internal ids that belong to each number; a clear one is not asked for again for a while."""
        now = self.context.clock.monotonic()
        kept = {number: self._kept.get((name, number), _NOTHING) for number in numbers}
        found = {number: [internal_id] for number, (internal_id, until) in kept.items() if until > now}
        missing = [number for number in numbers if number not in found]
        for first in range(0, len(missing), _ASKED_AT_ONCE):
            for row in self._answered(netsuite.question(name, missing[first : first + _ASKED_AT_ONCE])):
                number, internal_id = str(row.get(netsuite.LOOKED_UP[name][1])), str(row.get("id", ""))
                found.setdefault(number, []).append(internal_id)
                self._kept[name, number] = (internal_id, now + _KEPT_S) if len(found[number]) == 1 else _NOTHING
        if len(self._kept) > _MAX_KEPT:
            self._kept.clear()
        return found

    def _answered(self, question: str) -> list[dict[str, Any]]:
        try:
            return rows(self.client, question, limit=1000)
        except ConnectorError as error:
            if type(error) is not ConnectorError:
                raise
            # Nobody but this order is concerned: it holds a number that cannot be asked for.
            raise DocumentError(said=error.said, where=" (NetSuite does not look its numbers up)") from None


class NetSuiteConnector(HttpErpConnector[NetSuiteConfig]):
    """Creates each order in one request, and reads its number and state from there."""

    connector_type: ClassVar[str] = "NETSUITE"
    title: ClassVar[str] = "Oracle NetSuite"
    summary: ClassVar[str] = (
        "Creates sales orders by SuiteTalk REST, with OAuth 2.0 (M2M) or token-based authentication."
    )
    Config = NetSuiteConfig
    Session = NetSuiteSession
    rules = RULES

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    supports_identify: ClassVar[bool] = True

    def render(self, order: Order, config: NetSuiteConfig, context: ExportContext) -> Document:
        names: dict[str, Any] = {"export_id": context.export_id, "created_at": context.created_at}
        return Document(
            filename=orderflow_json_v1.filename(order.order_id, **names),
            content=netsuite.render(order, config, external_id=str(context.export_id)),
            media_type=netsuite.MEDIA_TYPE,
        )

    def looks_first(self, config: NetSuiteConfig) -> bool:
        return True  # a second POST is refused only after scripts of the account have run

    def left_out(self, order: Order, config: NetSuiteConfig) -> tuple[str, ...]:
        return netsuite.left_out(order, config)

    def unpack(self, body: Any) -> Any:
        return unpacked(body)
