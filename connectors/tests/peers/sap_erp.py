"""An S/4HANA: mock-sap keeps the orders and speaks OData, and what it takes on trust is refused here.

mock-sap is written by somebody else and checks no cookies, no repeated requests and no customers, and its V4 service
has the names of V2. This is what SAP's documentation says of them, put in front of it.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mocksap import db, oauth
from mocksap.schema import ENTITY_TYPES, Prop
from mocksap.service import Context, dispatch

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply

V2_PATH = "/sap/opu/odata/sap/API_SALES_ORDER_SRV"
V4_PATH = "/sap/opu/odata4/sap/api_salesorder/srvd_a2x/sap/salesorder/0001"
TOKEN_PATH = "/sap/bc/sec/oauth2/token"

_MOCK_V4_PATH = "/sap/opu/odata4/sap/api_salesorder/srvd_a2x/sap/api_salesorder/0001"
_V4_NAMES = {
    "_Item": "to_Item",
    "_Partner": "to_Partner",
    "_Text": "to_Text",
    "_ItemPricingElement": "to_PricingElement",
    "ConditionRateAmount": "ConditionRateValue",
    "Product": "Material",
}
_UNITS = ("RequestedQuantitySAPUnit", "RequestedQuantityISOUnit")
_PRICE_UNITS = ("ConditionQuantitySAPUnit", "ConditionQuantityISOUnit")
_LEFT_OUT = {
    "A_SalesOrder": {
        "PurchaseOrderByShipToParty": 35,
        "AssignmentReference": 18,
        "DeliveryBlockReason": 2,
        "HeaderBillingBlockReason": 2,
        "OverallSDDocumentRejectionSts": 1,
    },
    "A_SalesOrderItem": {
        "UnderlyingPurchaseOrderItem": 6,
        "InternationalArticleNumber": 18,
        **dict.fromkeys(_UNITS, 3),
    },
    "A_SalesOrderItemPrElement": dict.fromkeys(_PRICE_UNITS, 3),
}
"""Fields of SAP's interface that mock-sap has no place for, with their lengths."""
for _type, _fields in _LEFT_OUT.items():
    _known = {prop.name for prop in ENTITY_TYPES[_type].props}
    ENTITY_TYPES[_type].props += [Prop(name, max_length=size) for name, size in _fields.items() if name not in _known]


class SapErp(Imitation):
    """One system with one client; close it in the end."""

    def __init__(self, *, user: str = "shop", password: str, client: str = "100") -> None:
        super().__init__()
        self.user, self.password, self.client = user, password, client
        self.oauth = oauth.TokenStore("shop", password)
        self.gives_tokens = True
        """False for a system that guards its writes in another way."""
        self.is_idempotent = True
        """Whether its administrator has set up idempotent services."""
        self.unknown_customers = {"9999"}
        self.bodies: dict[str, bytes] = {}
        """What was posted for each order, by its number."""
        self.request_ids: dict[str, str] = {}
        """The RequestID of each order that came with one, by its number."""
        self._sessions: dict[str, str] = {}
        self._processed: dict[str, Reply] = {}
        self._database = db.open_database(":memory:")
        db.init_schema(self._database)

    def close(self) -> None:
        """Forget everything."""
        db.forget(self._database)
        self._database.close()

    # What tests see and do.

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The headers of all orders."""
        rows = self._database.execute('SELECT * FROM "A_SalesOrder" ORDER BY "SalesOrder"')
        return [dict(row) for row in rows.fetchall()]

    def items(self) -> list[dict[str, Any]]:
        """Return the items of all orders."""
        return [dict(row) for row in self._database.execute('SELECT * FROM "A_SalesOrderItem"').fetchall()]

    def change(self, field: str, value: str) -> None:
        """Set a field of all orders, as somebody in the office would."""
        self._database.execute(f'UPDATE "A_SalesOrder" SET "{field}" = ?', (value,))  # noqa: S608  # of a test
        self._database.commit()

    def double(self) -> None:
        """Enter the last order a second time."""
        body = list(self.bodies.values())[-1]
        path = V4_PATH + "/SalesOrder" if b'"_Item"' in body else V2_PATH + "/A_SalesOrder"
        self._forward("POST", path, "", {}, body)

    def forget_sessions(self) -> None:
        """Let all tokens and their cookies expire."""
        self._sessions.clear()

    # What it is like.

    def changes(self, exchange: Exchange) -> bool:
        return exchange.command == "POST" and not exchange.path.startswith(TOKEN_PATH)

    def respond(self, exchange: Exchange) -> Reply:
        url = urlsplit(exchange.path)
        if url.path == TOKEN_PATH:
            return self._token(exchange)
        if not self._is_authorised(exchange):
            realm = f'Basic realm="SAP NetWeaver Application Server [S4H/{self.client}]"'
            return Reply(401, "<html>Anmeldung fehlgeschlagen</html>", {"WWW-Authenticate": realm})
        if parse_qs(url.query).get("sap-client", [self.client]) != [self.client]:
            return Reply(401, "<html>Client is not available</html>", {"Content-Type": "text/html"})
        if not url.path.startswith((V2_PATH, V4_PATH)):
            return _error(403, "/IWFND/MED/170", "No service found")
        if exchange.command == "POST":
            return self._write(exchange, url.path, url.query)
        reply = self._forward("GET", url.path, url.query, dict(exchange.headers))
        return self._with_token(reply) if exchange.headers.get("X-CSRF-Token") == "Fetch" else reply

    def _token(self, exchange: Exchange) -> Reply:
        try:
            form = oauth.parse_form(exchange.body)
            basic = oauth.basic_credentials(exchange.headers.get("Authorization", ""))
            return Reply(200, self.oauth.grant(form, basic).response())
        except oauth.OAuthError as error:
            return Reply(error.status, error.payload())

    def _is_authorised(self, exchange: Exchange) -> bool:
        given = exchange.headers.get("Authorization", "")
        if (bearer := oauth.bearer_token(given)) is not None:
            try:
                return bool(self.oauth.validate(bearer))
            except oauth.OAuthError:
                return False
        return given == f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    def _with_token(self, reply: Reply) -> Reply:
        """Add a token, and the cookie without which it is worth nothing (SAP KBA 3048103)."""
        if not self.gives_tokens:
            return reply
        session, token = secrets.token_hex(12), secrets.token_urlsafe(16)
        self._sessions[session] = token
        cookie = f"SAP_SESSIONID_S4H_{self.client}={session}; path=/; secure; HttpOnly"
        return replace(reply, headers={**reply.headers, "x-csrf-token": token, "Set-Cookie": cookie})

    def _write(self, exchange: Exchange, path: str, query: str) -> Reply:
        cookies = SimpleCookie(exchange.headers.get("Cookie", ""))
        session = cookies.get(f"SAP_SESSIONID_S4H_{self.client}")
        token = self._sessions.get(session.value) if session else None
        if self.gives_tokens and (token is None or exchange.headers.get("X-CSRF-Token") != token):
            headers = {"x-csrf-token": "Required", "Content-Type": "text/plain"}
            return Reply(403, "CSRF token validation failed", headers)
        request_id = exchange.headers.get("RequestID")
        if request_id is None:
            return self._create(exchange, path, query)
        assert len(request_id) == 32
        assert exchange.headers["RepeatabilityCreation"]
        if not self.is_idempotent:
            return _error(400, "/IWBEP/CM_COS/001", "Idempotent services are not set up")
        if request_id not in self._processed:
            self._processed[request_id] = self._create(exchange, path, query)
            self.request_ids[self.orders[-1]["SalesOrder"]] = request_id
        reply = self._processed[request_id]
        return replace(reply, headers={**reply.headers, "RepeatabilityResult": "accepted"})

    def _create(self, exchange: Exchange, path: str, query: str) -> Reply:
        customer = json.loads(exchange.body).get("SoldToParty")
        if customer in self.unknown_customers:
            return _error(400, "V1/201", f"Sold-to party {customer} not maintained for sales area")
        reply = self._forward("POST", path, query, dict(exchange.headers), exchange.body)
        if reply.status == 201:
            self.bodies[self.orders[-1]["SalesOrder"]] = exchange.body
        return reply

    def _forward(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes = b"") -> Reply:
        """Let mock-sap answer, under the names that its V4 service has."""
        if path.startswith(V4_PATH):
            path = _MOCK_V4_PATH + path.removeprefix(V4_PATH)
            body = json.dumps(_renamed(json.loads(body))).encode() if body else b""
        context = Context(self._database, "https://erp.test", self.user.upper(), self.client)
        lower = {name.lower(): value for name, value in headers.items()}
        answer = dispatch(context, method, path, query, lower, body)
        return Reply(answer.status, answer.body, {k: v for k, v in answer.headers.items() if v is not None})


def _renamed(value: Any) -> Any:
    match value:
        case dict():
            return {_V4_NAMES.get(name, name): _renamed(inner) for name, inner in value.items()}
        case list():
            return [_renamed(inner) for inner in value]
    return value


def _error(status: int, code: str, text: str) -> Reply:
    details = [{"code": code, "message": text, "severity": "error"}]
    inner = {"transactionid": "5F3A00", "timestamp": "20251126101500.1234567", "errordetails": details}
    return Reply(status, {"error": {"code": code, "message": {"lang": "en", "value": text}, "innererror": inner}})
