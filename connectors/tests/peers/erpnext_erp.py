"""An imitation of ERPNext 15 on Frappe 15, written from what running ones answered; it is as strict as they are.

GET  /api/resource/<DocType>?filters=…&fields=…         lists: 20 rows, only names unless more is asked for
POST /api/resource/Sales Order                          a draft; what is missing, unknown or there already is refused
PUT  /api/resource/Sales Order/<name> {"docstatus": 1}  submits it
GET  /api/method/frappe.…                               who am I, what may I, what is there
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply

Doc = dict[str, Any]

_HEADER = (
    "company", "customer", "po_no", "po_date", "order_type", "currency", "transaction_date", "delivery_date",
    "ignore_pricing_rule", "terms", "naming_series", "set_warehouse", "customer_address", "shipping_address_name",
)  # fmt: skip
_ITEM = ("item_code", "qty", "uom", "rate", "delivery_date", "description")
_OWN = ("name", "docstatus", "status", "amended_from", "net_total", "grand_total", "owner")
_STATUS = {0: "Draft", 1: "To Deliver and Bill", 2: "Cancelled"}
_CHILDREN = {"Item Barcode": "barcodes", "Item Customer Detail": "customer_items", "Dynamic Link": "links"}


@dataclass
class _Refused(Exception):
    status: int
    kind: str
    text: str


class ErpNextErp(Imitation):
    """One site."""

    def __init__(self, *, key: str = "key", secret: str = "secret", user: str = "connector@example.test") -> None:
        super().__init__()
        self.key, self.secret, self.user = key, secret, user
        self.site: str | None = None
        """Has to be named by a header, where it is set."""
        self.orders: dict[str, Doc] = {}
        self.bodies: dict[str, bytes] = {}
        """As they came."""
        self.documents: dict[str, list[Doc]] = {
            "Company": [{"name": "ACME Europe", "default_currency": "EUR"}],
            "Customer": [{"name": "4711", "tax_id": "DE1"}, {"name": "c-1", "tax_id": "DE2"}],
            "Item": [{"name": f"INT-{number}", "barcodes": [], "customer_items": []} for number in (1, 2, 3)],
            "Address": [],
        }
        self.units = {"M", "Nos"}
        self.custom_fields: dict[str, bool] = {"custom_export_id": True}
        """Of Sales Order, and whether they are unique."""
        self.allows_many_per_po = False
        self.refuses_to_submit = ""
        self.forbidden: set[str] = set()
        """DocTypes that the user may not read, and what else he may not do."""
        self.list_prices: dict[str, float] = {}

    def changes(self, exchange: Exchange) -> bool:
        return exchange.command != "GET"

    def respond(self, exchange: Exchange) -> Reply:
        if self.site and exchange.headers.get("X-Frappe-Site-Name") != self.site:
            return Reply(404, "<html><h1>127.0.0.1 does not exist</h1></html>", {"Content-Type": "text/html"})
        url = urlsplit(exchange.path)
        try:
            self._log_in(exchange)
            match [unquote(part) for part in url.path.strip("/").split("/")], exchange.command:
                case ["api", "method", name], "GET":
                    return Reply(200, self._method(name, dict(parse_qsl(url.query))))
                case ["api", "resource", doctype], "GET":
                    return Reply(200, {"data": self._list(doctype, dict(parse_qsl(url.query)))})
                case ["api", "resource", "Sales Order"], "POST":
                    return self._create(exchange.body)
                case ["api", "resource", "Sales Order", name], "PUT":
                    return self._update(name, self._json(exchange.body))
        except _Refused as refused:
            return _error(refused)
        return Reply(404, "<html>Page not found</html>", {"Content-Type": "text/html"})

    def add(self, **values: Any) -> Doc:
        """Put an order into the ERP as somebody there would."""
        name = values.pop("name", None) or f"SAL-ORD-2026-{len(self.orders) + 1:05d}"
        empty = dict.fromkeys((*_HEADER, *self.custom_fields, "amended_from"))
        self.orders[name] = {
            **empty,
            "docstatus": 0,
            "items": [],
            "owner": "person@example.test",
            **values,
            "name": name,
        }
        return self.orders[name]

    def _log_in(self, exchange: Exchange) -> None:
        sent = exchange.headers.get("Authorization")
        if sent is None:
            raise _Refused(403, "PermissionError", "")
        if sent != f"token {self.key}:{self.secret}":
            raise _Refused(401, "AuthenticationError", "")

    def _method(self, name: str, query: Mapping[str, str]) -> Any:
        match name:
            case "frappe.auth.get_logged_user":
                return {"message": self.user}
            case "frappe.client.has_permission":
                return {"message": {"has_permission": query["perm_type"] not in self.forbidden}}
            case "frappe.utils.change_log.get_versions" if name not in self.forbidden:
                return {"message": {"frappe": {"version": "15.44.2"}, "erpnext": {"version": "15.47.3"}}}
            case "frappe.desk.form.load.getdoctype" if name not in self.forbidden:
                known = dict.fromkeys(_HEADER, False) | self.custom_fields
                fields = [{"fieldname": field, "unique": int(unique)} for field, unique in known.items()]
                return {"docs": [{"name": "Sales Order", "fields": fields}], "user_settings": "{}"}
        raise _Refused(403, "PermissionError", "")

    def _list(self, doctype: str, query: Mapping[str, str]) -> list[Doc]:
        if doctype in self.forbidden:
            raise _Refused(403, "PermissionError", "")
        rows = [self._shown(order) for order in self.orders.values()]
        if doctype != "Sales Order":
            if doctype not in self.documents:
                raise _Refused(404, "DoesNotExistError", f"DocType {doctype} not found")
            rows = self.documents[doctype]
        wanted = json.loads(query.get("fields", '["name"]'))
        known = {*_OWN, *_HEADER, *self.custom_fields} if doctype == "Sales Order" else {*rows[0]} if rows else None
        for condition in json.loads(query.get("filters", "[]")):
            rows = [row for row in rows if _fits(row, condition)]
            wanted = [*wanted, *([condition[0]] if len(condition) == 3 else [])]
        if known is not None and (missing := [field for field in wanted if field not in known]):
            raise _Refused(417, "DataError", f"Field not permitted in query: {missing[0]}")
        fields = json.loads(query.get("fields", '["name"]'))
        return [{field: row.get(field) for field in fields} for row in rows[: int(query.get("limit_page_length", 20))]]

    def _create(self, body: bytes) -> Reply:
        sent = self._json(body)
        if not isinstance(sent, dict) or not isinstance(sent.get("items"), list):
            raise _Refused(500, "TypeError", "")
        kept = {name: sent[name] for name in (*_HEADER, *self.custom_fields) if name in sent}
        self._check(kept, sent["items"])
        warnings = self._check_duplicates(kept)
        items = [self._item(item) for item in sent["items"]]
        order = self.add(**kept, items=items, owner=self.user)
        self.bodies[order["name"]] = body
        return Reply(200, {"data": self._shown(order), **_spoken(*warnings)})

    def _check(self, order: Doc, items: list[Doc]) -> None:
        for doctype, name in (("Customer", "customer"), ("Company", "company")):
            if order.get(name) not in {row["name"] for row in self.documents[doctype]}:
                raise _Refused(404, "DoesNotExistError", f"{doctype} <b>{order.get(name)}</b> not found")
        for index, item in enumerate(items, start=1):
            if item.get("item_code") not in {row["name"] for row in self.documents["Item"]}:
                raise _Refused(404, "DoesNotExistError", f"Item {item.get('item_code')} not found")
            if item["uom"] not in self.units:
                raise _Refused(417, "LinkValidationError", f"Could not find Row #{index}: UOM: {item['uom']}")
            if not isinstance(item["qty"], int | Decimal) or not item["qty"]:
                raise _Refused(417, "InvalidQtyError", f"Row #{index}: Quantity cannot be zero.")
            if not (item.get("delivery_date") or order.get("delivery_date")):
                raise _Refused(417, "ValidationError", "Please enter Delivery Date")
            if order.get("po_date", "") > item["delivery_date"]:
                text = f"Row #{index}: Expected Delivery Date cannot be before Purchase Order Date"
                raise _Refused(417, "ValidationError", text)
        if not items:
            raise _Refused(417, "MandatoryError", "[Sales Order, new]: items")

    def _check_duplicates(self, order: Doc) -> list[str]:
        for field, unique in self.custom_fields.items():
            if unique and order.get(field) and order[field] in {other[field] for other in self.orders.values()}:
                raise _Refused(417, "UniqueValidationError", f"{field} must be unique")
        others = [
            other["name"]
            for other in self.orders.values()
            if other["docstatus"] < 2
            and _alike(other["po_no"], order.get("po_no"))
            and other["customer"] == order["customer"]
        ]
        if not others:
            return []
        text = f"Sales Order {others[0]} already exists against Customer's Purchase Order {order['po_no']}"
        if not self.allows_many_per_po:
            raise _Refused(417, "ValidationError", text)
        return [f"Warning: {text}"]

    def _item(self, sent: Doc) -> Doc:
        item = {name: sent[name] for name in _ITEM if name in sent}
        price = float(item.get("rate", 0)) or self.list_prices.get(item["item_code"], 0.0)
        return item | {"qty": float(item["qty"]), "rate": price, "amount": float(item["qty"]) * price}

    def _update(self, name: str, changes: Doc) -> Reply:
        order = self.orders.get(name)
        if order is None:
            raise _Refused(404, "DoesNotExistError", f"Sales Order {name} not found")
        if order["docstatus"] == 2:
            raise _Refused(417, "DocstatusTransitionError", "Cannot edit cancelled document")
        if order["docstatus"] == 1 and changes != {"docstatus": 1}:
            raise _Refused(417, "UpdateAfterSubmitError", "Not allowed to change after submission")
        if self.refuses_to_submit:
            raise _Refused(417, "ValidationError", self.refuses_to_submit)
        if "submit" in self.forbidden:
            raise _Refused(403, "PermissionError", "")
        order.update(changes)
        return Reply(200, {"data": self._shown(order)})

    @staticmethod
    def _shown(order: Doc) -> Doc:
        total = sum(item["amount"] for item in order["items"])
        return order | {
            "status": _STATUS[order["docstatus"]],
            "net_total": total,
            "grand_total": total,
            "doctype": "Sales Order",
        }

    @staticmethod
    def _json(body: bytes) -> Any:
        try:
            return json.loads(body, parse_float=Decimal)
        except ValueError:
            raise _Refused(500, "JSONDecodeError", "") from None


def _fits(row: Doc, condition: list[Any]) -> bool:
    if len(condition) == 4:
        table, field, _, value = condition
        return any(_alike(child.get(field), value) for child in row[_CHILDREN[table]])
    field, operator, value = condition
    assert operator == "="
    return _alike(row.get(field), value)


def _alike(one: Any, other: Any) -> bool:
    """Compare as MariaDB does."""
    return str(one or "").rstrip().lower() == str(other or "").rstrip().lower()


def _spoken(*texts: str) -> Doc:
    """Return messages for the user: JSON in JSON in JSON."""
    packed = [json.dumps({"message": text, "title": "Message", "indicator": "red"}) for text in texts]
    return {"_server_messages": json.dumps(packed)} if packed else {}


def _error(refused: _Refused) -> Reply:
    trace = f'Traceback (most recent call last):\n  File "apps/frappe/app.py", line 7\n{refused.kind}: {refused.text}'
    body = {"exc_type": refused.kind, "exc": json.dumps([trace])} | (_spoken(refused.text) if refused.text else {})
    if refused.status == 417:
        body["exception"] = f"frappe.exceptions.{refused.kind}: {refused.text}"
    return Reply(refused.status, body)
