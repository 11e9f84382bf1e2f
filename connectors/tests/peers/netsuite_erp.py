"""An imitation of Oracle NetSuite: SuiteTalk REST (record v1), SuiteQL, and both ways to log in.

Assertions are verified by joserfc and OAuth 1.0a signatures by oauthlib, and SuiteQL is answered by SQLite, so that
none of them is checked by what made it.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply, read_json

ACCOUNT = "1234567_SB1"
RECORDS = "/services/rest/record/v1"
TOKENS = "/services/rest/auth/oauth2/v1/token"
CLIENT, KEY_ID = "c" * 64, "k-Zx81"
STATES = {"A": "Pending Approval", "B": "Pending Fulfillment", "C": "Cancelled", "H": "Closed"}

_ALGORITHMS = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_ERROR = {"Content-Type": "application/vnd.oracle.resource+json; type=error"}
_FIELDS = {
    "externalId", "entity", "tranDate", "otherRefNum", "memo", "shipDate", "currency", "orderStatus", "customForm",
    "shippingAddress", "billingAddress", "item", "location", "custbody_channel",
}  # fmt: skip
_LINE_FIELDS = {"item", "quantity", "price", "rate", "description", "units", "expectedShipDate", "taxCode"}
_SCHEMA = """
    CREATE TABLE customer (id, entityid, externalid, isinactive);
    CREATE TABLE item (id, itemid, upccode, externalid, isinactive);
    CREATE TABLE currency (id, symbol, isinactive);
    INSERT INTO customer VALUES ('107', '4711', 'c-1', 'F'), ('108', 'O''Neill', 'c-2', 'F'),
        ('109', 'old', 'c-3', 'T'), ('110', 'twin', 'c-4', 'F'), ('111', 'twin', 'c-5', 'F');
    INSERT INTO item VALUES ('45', 'INT-1', '4006381333931', 'INT-1', 'F'),
        ('46', 'INT-2', NULL, 'INT-2', 'F'), ('47', 'INT-3', NULL, 'INT-3', 'F');
    INSERT INTO currency VALUES ('1', 'USD', 'F'), ('4', 'EUR', 'F');
"""


class NetSuiteErp(Imitation):
    """One account."""

    def __init__(self, *, public_key: str = "", secrets: tuple[str, str] = ("", "")) -> None:
        """Open the account.

        Args:
            public_key: of the certificate that is mapped for OAuth 2.0, in PEM.
            secrets: of the consumer and of the token, for TBA.
        """
        super().__init__()
        self.orders: dict[str, dict[str, Any]] = {}
        """By external id."""
        self.bodies: dict[str, bytes] = {}
        self.public_key, self.state = public_key, "B"
        self.link_host = "1234567-sb1.suitetalk.api.netsuite.com"
        self.instead_of_reading: list[Reply] = []
        """What it answers to the next look at an order that is there."""
        self.refuses_client = False
        self.answers_nothing = ""
        """Why SuiteQL is refused; empty for not at all."""
        self.tokens: list[str] = []
        self.assertions: list[Any] = []
        self.questions: list[str] = []
        self.signatures = _Signatures(secrets)
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.executescript(_SCHEMA)

    def changes(self, exchange: Exchange) -> bool:
        return exchange.command != "GET" and exchange.path.startswith(f"{RECORDS}/")

    def respond(self, exchange: Exchange) -> Reply:
        url = urlsplit(exchange.path)
        if url.path == TOKENS:
            return self._token(exchange)
        if not self._knows(exchange):
            return _error(401, "INVALID_LOGIN", "Invalid login attempt.")
        if url.path == "/services/rest/query/v1/suiteql":
            return self._suiteql(exchange)
        if url.path == f"{RECORDS}/metadata-catalog/salesOrder":
            accepted = exchange.headers["Accept"] == "application/schema+json"
            return Reply(200, {"type": "object", "properties": {}}) if accepted else Reply(406)
        if url.path == f"{RECORDS}/salesOrder":
            return self._create(exchange) if exchange.command == "POST" else self._list(url.query)
        if found := re.fullmatch(rf"{RECORDS}/salesOrder/eid:([^/]+)", url.path):
            return self._get(found[1])
        return _error(404, "INVALID_URL", "The requested resource does not exist.")

    # Who asks

    def _knows(self, exchange: Exchange) -> bool:
        kind, _, value = exchange.headers.get("Authorization", "").partition(" ")
        if kind == "OAuth":
            return self.signatures.verify(exchange)
        return kind == "Bearer" and value == (self.tokens or [None])[-1]

    def _token(self, exchange: Exchange) -> Reply:
        form = dict(parse_qsl(exchange.body.decode()))
        wanted = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
        assertion = form.pop("client_assertion", "")
        if form != wanted:
            return Reply(400, {"error": "invalid_request"})
        if self.refuses_client or not self._accepts(assertion, f"https://{exchange.headers['Host']}{TOKENS}"):
            return Reply(400, {"error": "invalid_client", "error_description": f"no {assertion}"})
        self.tokens.append(f"token-{len(self.tokens) + 1}")
        return Reply(200, {"access_token": self.tokens[-1], "expires_in": "3600", "token_type": "bearer"})

    def _accepts(self, assertion: str, audience: str) -> bool:
        is_curve = isinstance(load_pem_public_key(self.public_key.encode()), EllipticCurvePublicKey)
        key = (ECKey if is_curve else RSAKey).import_key(self.public_key)
        try:
            token = jwt.decode(assertion, key, algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            return False
        self.assertions.append(token)
        claims, now = token.claims, time.time()
        return (
            (token.header["kid"], token.header["typ"]) == (KEY_ID, "JWT")
            and claims.keys() == {"iss", "scope", "aud", "iat", "exp"}
            and (claims["iss"], claims["scope"], claims["aud"]) == (CLIENT, "rest_webservices", audience)
            and claims["iat"] <= now + 1 < claims["exp"] < claims["iat"] + 3600
        )

    # Reading

    def _suiteql(self, exchange: Exchange) -> Reply:
        if exchange.headers.get("Prefer") != "transient" or "limit" not in parse_qs(urlsplit(exchange.path).query):
            return _error(400, "INVALID_HEADER", "The Prefer header is missing.")
        if self.answers_nothing:
            return _error(400, "INVALID_PARAMETER", self.answers_nothing)
        self.questions.append(read_json(exchange)["q"])
        found = self._database.execute(self.questions[-1])
        names = [column[0] for column in found.description]
        rows = [{"links": [], **dict(zip(names, row, strict=True))} for row in found]
        limit = int(parse_qs(urlsplit(exchange.path).query)["limit"][0])
        page = {"items": rows[:limit], "count": len(rows[:limit]), "hasMore": len(rows) > limit, "offset": 0}
        return Reply(200, page | {"links": [], "totalResults": len(rows)})

    def _list(self, query: str) -> Reply:
        link = f"https://{self.link_host}{RECORDS}/salesOrder?{query}"
        return Reply(200, {"links": [{"rel": "self", "href": link}], "items": [], "count": 0, "totalResults": 0})

    def _get(self, external_id: str) -> Reply:
        order = self.orders.get(external_id)
        if order is None:
            return _error(404, "NONEXISTENT_ID", "The record instance does not exist.")
        if self.instead_of_reading:
            return self.instead_of_reading.pop(0)
        link = f"https://{self.link_host}{RECORDS}/salesOrder/{order['id']}"
        shown = {name: order[name] for name in ("id", "tranId", "externalId", "subtotal")}
        state = {"id": self.state, "refName": STATES[self.state]}
        return Reply(200, {"links": [{"rel": "self", "href": link}], "status": state, **shown})

    # Writing

    def _create(self, exchange: Exchange) -> Reply:
        body = read_json(exchange)
        if body["externalId"] in self.orders:
            return _error(400, "USER_ERROR", "Error while accessing a resource. This record already exists.")
        if exchange.headers.get("X-NetSuite-PropertyNameValidation") != "Error":
            body = {name: value for name, value in body.items() if name in _FIELDS}
        if fault := self._fault(body):
            return _error(400, "INVALID_CONTENT", f"Invalid reference or field {fault}.", fault)
        order_id = str(5000 + len(self.orders))
        subtotal = sum((self._amount(line) for line in body["item"]["items"]), Decimal(0))
        self.orders[body["externalId"]] = {
            **body, "id": order_id, "tranId": f"SO-{1000 + len(self.orders)}", "subtotal": float(subtotal),
        }  # fmt: skip
        self.bodies[body["externalId"]] = exchange.body
        return Reply(204, b"", {"Location": f"https://{self.link_host}{RECORDS}/salesOrder/{order_id}"})

    def _fault(self, body: dict[str, Any]) -> str | None:
        """Return the path of the first thing in an order that is not known here."""
        if unknown := body.keys() - _FIELDS:
            return sorted(unknown)[0]
        if not self._has("customer", body.get("entity")):
            return "entity"
        if "currency" in body and not self._has("currency", body["currency"]):
            return "currency"
        for index, line in enumerate(body["item"]["items"]):
            if unknown := line.keys() - _LINE_FIELDS:
                return f"item.items[{index}].{sorted(unknown)[0]}"
            if not self._has("item", line.get("item")):
                return f"item.items[{index}].item"
            if not isinstance(line.get("units", ""), str) or not isinstance(line["quantity"], int | Decimal):
                return f"item.items[{index}]"
        return None

    def _has(self, table: str, reference: Any) -> bool:
        if not isinstance(reference, dict) or len(reference) != 1:
            return False
        ((name, value),) = reference.items()
        if name not in ("id", "externalId") or not isinstance(value, str):
            return False
        asked = f"SELECT 1 FROM {table} WHERE {name.lower()} = ? AND isinactive = 'F'"  # noqa: S608  # names of ours
        return self._database.execute(asked, [value]).fetchone() is not None

    def _amount(self, line: dict[str, Any]) -> Decimal:
        """Return what a line comes to: a rate counts with a custom price only."""
        is_custom = line.get("price") == {"id": "-1"} and "rate" in line
        return Decimal(line["quantity"]) * Decimal(line["rate"] if is_custom else "9.99")


class _Signatures(RequestValidator):
    """What oauthlib has to know of the account."""

    enforce_ssl = False
    client_key_length = access_token_length = (64, 64)
    allowed_signature_methods = ("HMAC-SHA256",)
    timestamp_lifetime = 300
    dummy_client = dummy_access_token = "d" * 64

    def __init__(self, secrets: tuple[str, str]) -> None:
        self.endpoint, self.secrets, self.used = ResourceEndpoint(self), secrets, set[tuple[str, str]]()

    def verify(self, exchange: Exchange) -> bool:
        url = f"https://{exchange.headers['Host']}{exchange.path}"
        sent = {"Authorization": exchange.headers["Authorization"]}
        good, request = self.endpoint.validate_protected_resource_request(url, exchange.command, "", sent, [])
        return bool(good) and request.realm == ACCOUNT

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == CLIENT

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        return token == "t" * 64

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, **_: Any) -> bool:
        is_new = (timestamp, nonce) not in self.used
        self.used.add((timestamp, nonce))
        return is_new

    def validate_realms(self, *_: Any, **__: Any) -> bool:
        return True

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return self.secrets[0]

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.secrets[1]


def _error(status: int, code: str, detail: str, path: str | None = None) -> Reply:
    fault = {"detail": detail, "o:errorCode": code} | ({"o:errorPath": path} if path else {})
    body = {"type": "https://www.rfc-editor.org/rfc/rfc9110.html", "title": "Bad Request", "status": status}
    return Reply(status, json.dumps(body | {"o:errorDetails": [fault]}), _ERROR)
