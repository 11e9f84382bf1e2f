"""ERPNEXT: Sales Orders by the REST interface of Frappe, on which ERPNext is built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote

from pydantic import Field

from connectors import exact_json, strict_json
from connectors.codes import Code
from connectors.config import INERT, Secret
from connectors.exceptions import AuthenticationFailed, Fault, RejectedByERP, Said
from connectors.formats import erpnext
from connectors.formats.erpnext import DOCTYPE, ErpNextFields, Filters
from connectors.json_path import JsonPath
from connectors.order import Order
from connectors.port import Awaited, ExportContext, Guarantee, StepNote
from connectors.results import AckStatus, Document, RemoteIdentity
from connectors.transports import frappe
from connectors.transports.frappe import Frappe
from connectors.transports.http_auth import AUTH_KIND, SENDABLE
from connectors.transports.http_authoriser import Authoriser, Fixed
from connectors.transports.http_erp import HttpErpConfig, HttpErpConnector, HttpErpSession, Placed, ambiguous, unknown

_READ: Final = ("docstatus", "status", "amended_from", "owner", "po_no", "net_total")
_MAX_AMENDMENTS: Final = 10
_STATUS: Final = {1: AckStatus.ACKED, erpnext.CANCELLED: AckStatus.REJECTED}


class ErpNextConfig(ErpNextFields, HttpErpConfig):
    """Where ERPNext is reached, as which user, and what is done there."""

    auth_kind: Annotated[Literal["token"], AUTH_KIND, INERT] = "token"
    api_key: Annotated[
        str,
        Field(
            title="API key",
            description="Of the technical user, who gets it by API Access, Generate Keys.",
            pattern=r"^[!-9;-~]{1,140}$",
        ),
    ]
    api_secret: Annotated[
        Secret,
        Field(title="API secret", description="Shown once, when the keys are generated.", max_length=1000),
        SENDABLE,
    ]
    site: Annotated[
        Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,255}$")] | None,
        Field(title="Site", description="Which site of the server, where the host name in the address does not tell."),
    ] = None
    export_id_is_unique: Annotated[
        bool,
        INERT,
        Field(title="Our id is unique", description="The field for our id is Unique: no order can be made twice."),
    ] = False
    submit: Annotated[
        bool,
        INERT,
        Field(title="Submit", description="Submits each order; otherwise it stays a draft until a person submits it."),
    ] = False

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        if self.export_id_is_unique and self.export_id_field is None:
            yield Fault(path="export_id_field", message="is required where our id is unique", code="missing")

    def authoriser(self) -> Authoriser:
        return Fixed({"Authorization": f"token {self.api_key}:{self.api_secret.get_secret_value()}"})


class ErpNextSession(HttpErpSession[ErpNextConfig]):
    """One connection that takes many orders."""

    @property
    def frappe(self) -> Frappe:
        """The site that is asked."""
        return Frappe(self.client, self.config.site)

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        number, reference = self.config.customer_number(order), erpnext.reference(order, self.config)
        rows = self._ours(number, reference, str(names.export_id))
        found = [self._placed(row) for row in rows]
        if len(found) == 1 and not found[0].is_complete:
            # Whoever typed in the customer's order, or amends ours, submits that draft himself.
            return [replace(found[0], is_complete=rows[0].get("owner") != self.frappe.user())]
        return found

    def create(self, document: Document, context: ExportContext) -> Placed | None:
        sent = strict_json.loads(document.content)
        known = self._known(sent, context)
        content = document.content if known == sent else exact_json.dumps(known).encode()
        try:
            judged = self.frappe.write("POST", DOCTYPE, content)
        except RejectedByERP:
            # A second order of the customer with this number is refused like any other fault: it may be ours, by now.
            if self._ours(sent["customer"], sent["po_no"], str(context.export_id)):
                return None
            raise
        if judged.exists:
            return None
        made = frappe.written(judged)
        return self._placed(made, (*self.frappe.warnings(judged), *erpnext.lost(known, made, self.config)))

    def complete(self, placed: Placed, context: ExportContext) -> Placed:
        try:
            judged = self.frappe.write("PUT", DOCTYPE, b'{"docstatus":1}', name=placed.key)
        except RejectedByERP as refusal:
            # The order is there: a person corrects the draft and submits it, or makes it void.
            reason = (refusal.said.message if refusal.said else None) or "no reason is given"
            return replace(placed, status=None, warnings=(*placed.warnings, f"It was not submitted: {reason}"))
        return self._placed(frappe.written(judged), (*placed.warnings, *self.frappe.warnings(judged)))

    def check_access(self, note: StepNote) -> None:
        config = self.config
        user = self.frappe.user()
        if config.export_id_field:
            self._check_field(config.export_id_field)
        for doctype, filters in erpnext.questions(config):
            self.frappe.find(doctype, filters)
        for action in ("create", "submit") if config.submit else ("create",):
            answer = self.frappe.ask("frappe.client.has_permission", doctype=DOCTYPE, docname="", perm_type=action)
            if _may.first(answer) in (False, 0):
                raise AuthenticationFailed(Code.PERMISSION_DENIED, path=f"{DOCTYPE} ({action})")
        version = _version.text_in(self.frappe.ask("frappe.utils.change_log.get_versions"))
        note.detail = self.client.shown(f"{user}, ERPNext {version or 'of an unknown version'}")

    def identity(self) -> RemoteIdentity:
        company = self.config.company
        found = self.frappe.find("Company", [["name", "=", company]], "default_currency")
        if not found:
            raise AuthenticationFailed(Code.PATH_NOT_FOUND, path=f"The company {company}")
        currency = found[0].get("default_currency")
        return RemoteIdentity(company=found[0]["name"], currency=currency if isinstance(currency, str) else None)

    def _check_field(self, name: str) -> None:
        # A field that is not there is dropped without a word when an order is made, which is then never found again.
        unique = self.config.export_id_is_unique
        described = self.frappe.ask("frappe.desk.form.load.getdoctype", doctype=DOCTYPE)
        if erpnext.is_kept(described, name, unique=unique) is False:
            field = f"The unique field {name}" if unique else f"The field {name}"
            raise AuthenticationFailed(Code.PATH_NOT_FOUND, path=f"{field} of {DOCTYPE}")

    def _ours(self, number: str, reference: str, export_id: str) -> list[dict[str, Any]]:
        """Return the Sales Orders of an export that count, an amended one in its last form."""
        by_id = self.config.export_id_field is not None
        customer = number if by_id else self._customer(number)
        filters = erpnext.ours(self.config, customer=customer, reference=reference, export_id=export_id)
        found = self.frappe.find(DOCTYPE, filters, *_READ)
        # MariaDB takes letters in upper and lower case for the same.
        found = [row for row in found if by_id or row.get("po_no") == reference]
        for _ in range(_MAX_AMENDMENTS):
            found = erpnext.standing(found)
            if not found or found[0].get("docstatus") != erpnext.CANCELLED:
                break
            amended = self.frappe.find(DOCTYPE, [["amended_from", "=", found[0]["name"]]], *_READ)
            if not amended:
                break
            found = amended
        return found

    def _placed(self, doc: dict[str, Any], warnings: tuple[str, ...] = ()) -> Placed:
        name, state, status = doc["name"], doc.get("docstatus"), doc.get("status")
        return Placed(
            key=name,
            location=f"{self.config.base_url.rstrip('/')}/app/sales-order/{quote(name, safe='')}",
            number=name,
            status=_STATUS.get(state) if isinstance(state, int) else None,
            is_complete=state != 0 or not self.config.submit,
            said=Said(code=status if state == erpnext.CANCELLED and isinstance(status, str) else None),
            net_total=doc.get("net_total") if self.config.send_prices else None,
            warnings=warnings,
        )

    def _known(self, sent: dict[str, Any], context: ExportContext) -> dict[str, Any]:
        """Return a Sales Order with the names that ERPNext has for what stands in it by number."""
        config, customer = self.config, self._customer(sent["customer"])
        known = {**sent, "customer": customer}
        if config.export_id_field:  # which may be younger than the document
            known[config.export_id_field] = str(context.export_id)
        if config.item_by != "item_code":
            codes: dict[str, str] = {}
            for index, item in enumerate(sent["items"]):
                number, where = item["item_code"], f"lines.{index}.{config.item_number_from}"
                if number not in codes:
                    codes[number] = self._name("Item", erpnext.item_by(config, number, customer), where)
            known["items"] = [{**item, "item_code": codes[item["item_code"]]} for item in sent["items"]]
        for name, where in erpnext.ADDRESSES.items():
            if name in sent:
                filters = erpnext.address_by(config, sent[name], customer)
                known[name] = self._name("Address", filters, f"{where}.gln")
        return known

    def _customer(self, number: str) -> str:
        config = self.config
        if config.customer_field == "name":
            return number
        return self._name("Customer", erpnext.customer_by(config, number), config.customer_number_from)

    def _name(self, doctype: str, filters: Filters, where: str) -> str:
        names = {str(row["name"]) for row in self.frappe.find(doctype, filters)}
        if len(names) != 1:
            raise ambiguous(where) if names else unknown(where)
        return names.pop()


class ErpNextConnector(HttpErpConnector[ErpNextConfig]):
    """Makes each order as a Sales Order, and submits it where that is wanted."""

    connector_type: ClassVar[str] = "ERPNEXT"
    title: ClassVar[str] = "ERPNext"
    summary: ClassVar[str] = "Makes each order as a Sales Order of ERPNext 13 to 16, as a draft or submitted."
    Config = ErpNextConfig
    Session = ErpNextSession
    rules = frappe.RULES

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    supports_identify: ClassVar[bool] = True

    def guarantee_of(self, config: ErpNextConfig) -> Guarantee:
        return Guarantee.HARD if config.export_id_is_unique else Guarantee.LOOKUP

    def render(self, order: Order, config: ErpNextConfig, context: ExportContext) -> Document:
        return erpnext.render(order, config, export_id=context.export_id, created_at=context.created_at)

    def left_out(self, order: Order, config: ErpNextConfig) -> tuple[str, ...]:
        return erpnext.left_out(order, config)

    def unpack(self, body: Any) -> Any:
        return frappe.unpacked(body)


_may: Final = JsonPath.parse("message.has_permission")
_version: Final = JsonPath.parse("message.erpnext.version")
