"""An imitation of Business Central, written from its documentation: it cannot be installed here, and this is not it.

POST /<tenant>/oauth2/v2.0/token                       Microsoft Entra, client credentials
GET  /v2.0/<tenant>/<environment>/api/v2.0/companies   online; /BC/api/v2.0 on premises, with a user and a key
GET  …/companies(<id>)/<entities>                      $filter (eq, and, or), $select, $expand, $top, pages
POST …/companies(<id>)/salesOrders                     with its lines in it, all of it or nothing
POST …/api/contoso/sales/v1.0/companies(<id>)/orders(<id>)/Microsoft.NAV.release   an extension

What is not documented as allowed is refused: names that a type does not have, texts that are too long, spaces written
as plus signs, `sequence` in a line.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import NAMESPACE_URL, uuid5

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply, read_json

TENANT, ENVIRONMENT = "contoso.onmicrosoft.com", "Production"
SCOPE = "https://api.businesscentral.dynamics.com/.default"
ONLINE, ON_PREMISES = f"/v2.0/{TENANT}/{ENVIRONMENT}/", "/BC/"
NOTHING = "00000000-0000-0000-0000-000000000000"

Row = dict[str, Any]
_API = re.compile(r"api/v2\.0/(?:(companies)|companies\(([^()]+)\)/(\w+))")
_RELEASE = re.compile(r"api/contoso/sales/v1\.0/companies\((.+)\)/orders\((.+)\)/Microsoft\.NAV\.release")
_LIMITS = {
    "number": 20, "customerNumber": 20, "externalDocumentNumber": 35, "currencyCode": 10, "shipToName": 100,
    "shipToContact": 100, "shipToAddressLine1": 100, "shipToAddressLine2": 50, "shipToCity": 30, "shipToState": 30,
    "shipToPostCode": 20, "shipToCountry": 10, "lineType": 20, "lineObjectNumber": 20, "description": 100,
    "unitOfMeasureCode": 10,
}  # fmt: skip
_DATES = ("orderDate", "postingDate", "requestedDeliveryDate", "shipmentDate")
_DECIMALS = ("quantity", "unitPrice")
_CODES = ("number", "customerNumber", "externalDocumentNumber", "currencyCode", "lineObjectNumber", "unitOfMeasureCode")
_WRITABLE_LINE = ("lineType", "lineObjectNumber", "description", "unitOfMeasureCode", *_DECIMALS, "shipmentDate")
_WRITABLE_ORDER = (*(name for name in _LIMITS if name not in _WRITABLE_LINE), *_DATES[:3], "salesOrderLines")
_READ_ONLY = ("id", "status", "customerName", "totalAmountExcludingTax", "fullyShipped", "lastModifiedDateTime")


class Refusal(Exception):
    """An answer with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        text = f"{message}  CorrelationId:  {_guid('correlation')}."
        self.reply = Reply(status, {"error": {"code": code, "message": text}})


@dataclass
class BusinessCentral(Imitation):
    """Everything the company knows."""

    company: Row = field(default_factory=lambda: {"id": _guid("CRONUS"), "name": "CRONUS AG", "displayName": "Cronus"})
    secret: str = "s3cret"
    rights: bool = True
    """Whether our application may do anything."""
    allows_numbers: bool = False
    """Whether the number series takes manual numbers."""
    discount: int = 0
    """In per cent, on every line."""
    page: int = 20_000
    """The most entities in one answer."""
    next_page_host: str = ""
    """Where the next page is said to be; empty for this server."""

    def __post_init__(self) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self.bodies: dict[str, bytes] = {}
        """What was sent for each order, by its number."""
        self.sets: dict[str, list[Row]] = {
            "companies": [self.company, {"id": _guid("other"), "name": "Other AG", "displayName": "Other"}],
            "companyInformation": [{"displayName": "Cronus AG, Berlin", "currencyCode": "EUR"}],
            "customers": [_named(name, displayName=name, blocked="_x0020_") for name in ("C-1", "4711")],
            "items": [_named(f"INT-{n}", gtin=f"400638133393{n}", blocked=False) for n in range(1, 4)],
            "unitsOfMeasure": [{"code": "M"}, {"code": "PCS"}],
            "salesOrders": [],
            "salesInvoices": [],
        }
        for entities, rows in self.sets.items():
            for number, row in enumerate(rows):
                row.setdefault("id", _guid(f"{entities} {number}"))

    @property
    def orders(self) -> list[Row]:
        """The sales orders that are not invoiced yet."""
        return self.sets["salesOrders"]

    # What tests tell it.

    def double(self) -> None:
        """Enter the last order once more."""
        number = f"S-ORD{101001 + len(self.bodies)}"
        self.orders.append(self.orders[-1] | {"id": _guid(number), "number": number})

    def invoice(self, order: Row) -> None:
        """Ship and invoice an order, which ends it."""
        self.orders.remove(order)
        lines = {"salesInvoiceLines": order["salesOrderLines"]}
        more = {"id": _guid("invoice"), "number": "PS-INV103001", "orderNumber": order["number"], "status": "Open"}
        kept = {name: order[name] for name in ("externalDocumentNumber", "customerNumber", "totalAmountExcludingTax")}
        self.sets["salesInvoices"].append(kept | more | {"orderId": NOTHING} | lines)

    # The server.

    def changes(self, exchange: Exchange) -> bool:
        return exchange.command != "GET" and not exchange.path.endswith("/token")

    def respond(self, exchange: Exchange) -> Reply:
        try:
            if exchange.path.endswith("/token"):
                return self._token(exchange)
            return self._answer(exchange, *self._authorised(exchange))
        except Refusal as refusal:
            return refusal.reply

    def _token(self, exchange: Exchange) -> Reply:
        form = dict(parse_qsl(exchange.body.decode()))
        right = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": self.secret, "scope": SCOPE}
        errors = {
            "grant_type": ("unsupported_grant_type", "AADSTS70003"),
            "client_id": ("unauthorized_client", "AADSTS700016"),
            "client_secret": ("invalid_client", "AADSTS7000215: Invalid client secret provided."),
            "scope": ("invalid_scope", "AADSTS70011"),
        }
        if exchange.path != f"/{TENANT}/oauth2/v2.0/token":
            return Reply(400, {"error": "invalid_request", "error_description": "AADSTS90002: Tenant not found."})
        for name, value in right.items():
            if form.get(name) != value:
                error, text = errors[name]
                return Reply(401 if name == "client_secret" else 400, {"error": error, "error_description": text})
        self.tokens.append(f"eyJ-{len(self.tokens) + 1}")
        return Reply(body={"token_type": "Bearer", "expires_in": 3599, "access_token": self.tokens[-1]})

    def _authorised(self, exchange: Exchange) -> tuple[str, str]:
        """Return the path below the environment, and the query."""
        path, _, query = exchange.path.partition("?")
        basic = "Basic " + b64encode(f"shop:{self.secret}".encode()).decode()
        right = [f"Bearer {token}" for token in self.tokens] if path.startswith("/v2.0/") else [basic]
        if exchange.headers.get("Authorization") not in right:
            raise Refusal(401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.")
        if path.startswith(ON_PREMISES):
            return path.removeprefix(ON_PREMISES), query
        if not path.startswith(ONLINE):
            raise Refusal(404, "NoEnvironment", "Environment does not exist.")
        return path.removeprefix(ONLINE), query

    def _answer(self, exchange: Exchange, path: str, query: str) -> Reply:
        if released := _RELEASE.fullmatch(path):
            return self._release(*released.groups())
        found = _API.fullmatch(path)
        if found is None:
            raise Refusal(404, "BadRequest_ResourceNotFound", "Resource not found for the segment.")
        if found[2] not in (None, self.company["id"]):
            raise Refusal(404, "Internal_CompanyNotFound", "The company cannot be found.")
        entities = found[1] or found[3]
        if entities not in self.sets:
            raise Refusal(404, "BadRequest_ResourceNotFound", f"Resource not found for the segment '{entities}'.")
        if not self.rights and entities != "companies":
            raise Refusal(400, "Application_DialogException", "You do not have permissions to read Sales Orders.")
        if exchange.command == "GET":
            return self._page(exchange, entities, query)
        if exchange.command != "POST" or entities != "salesOrders":
            raise Refusal(405, "BadRequest_MethodNotAllowed", "Such requests are not allowed.")
        return self._create(exchange)

    # Reading

    def _page(self, exchange: Exchange, entities: str, query: str) -> Reply:
        if "+" in query:
            raise Refusal(400, "BadRequest_NotFound", "Bad Request - Error in query syntax.")
        options = {
            unquote(name): unquote(value) for name, _, value in (part.partition("=") for part in query.split("&"))
        }
        unknown = set(options) - {"", "$filter", "$select", "$expand", "$top", "$skiptoken"}
        if unknown:
            raise Refusal(400, "BadRequest", "The query parameter is not supported.")
        start, wanted = int(options.get("$skiptoken", 0)), exchange.headers.get("Prefer", "")
        size = min(self.page, int(wanted.rpartition("=")[2]) if "odata.maxpagesize=" in wanted else self.page)
        rows = [row for row in self.sets[entities] if _matches(row, options.get("$filter", ""))]
        end = min(start + size, int(options.get("$top", start + size)))
        body: Row = {"@odata.context": "…", "value": [_shown(row, options) for row in rows[start:end]]}
        if end < len(rows) and "$top" not in options:
            host = self.next_page_host or f"https://{exchange.headers['Host']}"
            rest = "&".join(part for part in query.split("&") if not part.startswith("$skiptoken"))
            body["@odata.nextLink"] = f"{host}{exchange.path.partition('?')[0]}?{rest}&$skiptoken={end}"
        return Reply(body=body)

    # Writing

    def _create(self, exchange: Exchange) -> Reply:
        if not exchange.headers.get("Content-Type", "").startswith("application/json"):
            raise Refusal(415, "BadRequest", "The media type is not supported.")
        sent = read_json(exchange)
        lines = sent.get("salesOrderLines", [])
        _check("salesOrder", sent, _WRITABLE_ORDER)
        for line in lines:
            _check("salesOrderLine", line, _WRITABLE_LINE)
            self._check_line(line)
        order = {name: value.upper() if name in _CODES else value for name, value in sent.items()}
        self._check_order(order)
        number = order.setdefault("number", f"S-ORD{101001 + len(self.bodies)}")
        order |= {
            "id": _guid(number),
            "status": "Draft",
            "totalAmountExcludingTax": self._total(lines),
            "paymentTermsId": NOTHING,
        }
        order = {"requestedDeliveryDate": "0001-01-01", "@odata.etag": 'W/"JzE5Oz"'} | order
        order["salesOrderLines"] = [
            {"id": _guid(f"{number} {n}"), "lineObjectNumber": ""} | line for n, line in enumerate(lines)
        ]
        self.orders.append(order)
        self.bodies[number] = exchange.body
        return Reply(201, _shown(order, {}))

    def _check_order(self, order: Row) -> None:
        known = {row["number"] for row in self.sets["customers"] if row["blocked"] == "_x0020_"}
        if order.get("customerNumber") not in known:
            raise Refusal(400, "Application_DialogException", "The sell-to customer cannot be found.")
        if order.get("currencyCode", "EUR") not in ("EUR", "USD"):
            raise Refusal(400, "Application_DialogException", 'The "currencyCode" does not match to a Currency.')
        if "number" in order and not self.allows_numbers:
            raise Refusal(400, "Application_DialogException", "You may not enter numbers manually.")
        if order.get("number") in {row["number"] for row in self.orders}:
            raise Refusal(400, "Internal_EntityWithSameKeyExists", "The Sales Header already exists.")

    def _check_line(self, line: Row) -> None:
        if next(iter(line), None) != "lineType" or line["lineType"] not in ("Item", "Comment"):
            raise Refusal(400, "Application_DialogException", "The type of the line has to come first.")
        if line["lineType"] == "Comment":
            return
        if line.get("lineObjectNumber", "").upper() not in {row["number"] for row in self.sets["items"]}:
            raise Refusal(400, "Application_DialogException", "Item does not exist.")
        if line.get("unitOfMeasureCode", "M").upper() != "M":
            raise Refusal(400, "Internal_InvalidTableRelation", "The field Unit of Measure Code contains a value …")

    def _total(self, lines: list[Row]) -> float:
        """Return what lines come to: money is a float here, as it is in the JSON of the real one."""
        amounts = [float(line["quantity"]) * float(line["unitPrice"]) for line in lines if "unitPrice" in line]
        return sum(round(amount * (100 - self.discount) / 100, 2) for amount in amounts)

    def _release(self, company: str, order_id: str) -> Reply:
        found = [order for order in self.orders if order["id"] == order_id and company == self.company["id"]]
        if not found:
            raise Refusal(404, "BadRequest_NotFound", "The order does not exist.")
        found[0]["status"] = "Open"
        return Reply(204)


def _check(kind: str, sent: Row, writable: tuple[str, ...]) -> None:
    """Refuse what the type does not have or take."""
    for name, value in sent.items():
        if name in _READ_ONLY:
            raise Refusal(400, "BadRequest_InvalidOperation", f"Control '{name}' is read-only.")
        if name == "sequence":  # the regression of version 22
            raise Refusal(500, "Internal_ServerError", "You cannot change the value of the SystemId field.")
        if name not in writable:
            raise Refusal(400, "BadRequest", f"The property '{name}' does not exist on type 'Microsoft.NAV.{kind}'.")
        if name in _LIMITS and (not isinstance(value, str) or len(value.encode("utf-16-le")) // 2 > _LIMITS[name]):
            raise Refusal(400, "Application_StringExceededLength", f"The length of the string is {len(value)}.")
        if name in _DECIMALS and (isinstance(value, bool) or not isinstance(value, int | Decimal)):
            raise Refusal(400, "BadRequest", "Unable to convert value to Decimal.")
        if name in _DATES and date.fromisoformat(value).isoformat() != value:
            raise Refusal(400, "BadRequest", "Unable to convert value to Date.")


def _matches(row: Row, text: str) -> bool:
    """Return whether a row fits a filter; `and` within one alternative, `or` between them."""
    terms = re.findall(r"(?:^| (and|or) )(\w+) eq ('(?:[^']|'')*'|[0-9a-f-]{36})", text)
    if "".join(f" {how} {name} eq {value}" if how else f"{name} eq {value}" for how, name, value in terms) != text:
        raise Refusal(400, "BadRequest_NotFound", "Bad Request - Error in query syntax.")
    alternatives: list[bool] = [True] if not terms else []
    for how, name, value in terms:
        if name not in row:
            raise Refusal(400, "BadRequest", f"Could not find a property named '{name}'.")
        wanted = value[1:-1].replace("''", "'") if value.startswith("'") else value
        if name in _CODES:
            wanted = wanted.upper()
        fits = row[name] == wanted
        if how == "and":
            alternatives[-1] = alternatives[-1] and fits
        else:
            alternatives.append(fits)
    return any(alternatives)


def _shown(row: Row, options: dict[str, str]) -> Row:
    """Return what is selected of a row, and the lines where they are expanded."""
    expanded = re.fullmatch(r"(\w+)\(\$select=([\w,]+)\)", options.get("$expand", ""))
    names = (
        options["$select"].split(",") if "$select" in options else [name for name in row if not name.endswith("Lines")]
    )
    lines = expanded[1] if expanded else None
    if set(names) - set(row) or (lines and lines not in row):
        raise Refusal(400, "BadRequest", "Could not find a property.")
    shown = {"@odata.etag": 'W/"JzE5Oz"'} | {name: row[name] for name in names}
    if expanded and lines:
        shown[lines] = [{name: line.get(name, "") for name in expanded[2].split(",")} for line in row[lines]]
    return shown


def _named(number: str, **more: Any) -> Row:
    return {"number": number, **more}


def _guid(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, name))
