"""Odoo's two interfaces, JSON-2 (19 and later) and JSON-RPC (14 to 18), behind the few questions an order needs.

How an adapter uses it:

    odoo = log_in(client, config)
    rows = odoo.search_read("res.partner", [["ref", "=", "4711"]], ["id"], limit=2)
    key = odoo.create("sale.order", values)

Both answer alike: money as floats, relations as `[id, name]`, and False for whatever is empty.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from connectors import exact_json
from connectors.config import INERT, Expiry, Secret
from connectors.exact_json import Json
from connectors.exceptions import AuthenticationFailed, ConnectorError, Fault
from connectors.transports.http_answers import Unusable
from connectors.transports.http_auth import AUTH_KIND, SENDABLE
from connectors.transports.http_client import HttpClient, Judged
from connectors.transports.http_erp import HttpErpConfig
from connectors.transports.http_errors import Meaning, rule
from connectors.validation import Line

Row = dict[str, Any]
Domain = list[Json]

_FIRST_WITH_JSON_2: Final = 19
_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
_UNKNOWN_ADDRESS: Final = (rule((400, 404, 405, 415), Meaning.NOT_FOUND),)


class OdooServerConfig(HttpErpConfig):
    """Which database of which Odoo, and who we are there."""

    auth_kind: Annotated[Literal["api_key"], INERT, AUTH_KIND] = "api_key"
    api_key: Annotated[
        Secret,
        Field(
            title="API key",
            description="Made by the technical user in Odoo, under Preferences, Account Security.",
            max_length=1024,
        ),
        SENDABLE,
    ]
    api_key_expires_on: Annotated[
        date | None,
        INERT,
        Field(title="API key expires on", description="The day that Odoo shows beside the key; warned of before."),
    ] = None
    interface: Annotated[
        Literal["auto", "json_2", "json_rpc"],
        Field(
            title="Interface",
            description="json_2: Odoo 19 and later. json_rpc: 14 to 18, and still in 19. auto: Odoo is asked.",
        ),
    ] = "auto"
    database: Annotated[
        Annotated[Line, Field(max_length=128)] | None,
        Field(
            title="Database",
            description="Its name. May only be left out with json_2, on a server with a single one.",
            examples=["production"],
        ),
    ] = None
    username: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(title="User name", description="Login of the technical user. Not needed with json_2."),
    ] = None
    language: Annotated[
        str,
        INERT,
        Field(
            title="Language",
            description="In which units, taxes and order types are named, and errors told; it has to be active.",
            pattern=r"^[a-z]{2,3}(_[A-Za-z0-9@]{2,10})?$",
        ),
    ] = "en_US"

    def expiries(self) -> Iterator[Expiry]:
        yield from super().expiries()
        if (last_day := self.api_key_expires_on) is not None:
            yield Expiry(field="api_key", kind="API key", expires_at=datetime.combine(last_day, time.min, UTC))

    def cross_field_faults(self) -> Iterable[Fault]:
        yield from super().cross_field_faults()
        for name in ("database", "username"):
            if self.interface != "json_2" and getattr(self, name) is None:
                yield Fault(path=name, message="is required unless interface is json_2", code="missing")


class Odoo(ABC):
    """One user in one database. Not to be shared between threads."""

    interface: ClassVar[str]

    def __init__(self, client: HttpClient, config: OdooServerConfig, version: str) -> None:
        self._client, self._config = client, config
        self.version = version
        self.environment: dict[str, Json] = {"lang": config.language}
        """What goes with each call as Odoo's context."""

    # Hooks: how a method is called.

    @property
    @abstractmethod
    def uid(self) -> int:
        """The user's id.

        Raises:
            AuthenticationFailed: Odoo does not know the user, or the key.
        """

    @abstractmethod
    def _call(
        self, model: str, method: str, arguments: dict[str, Json], *, ids: list[Json] | None = None, safe: bool = True
    ) -> tuple[Any, Judged]:
        """Call a method and return what it returns, and the answer that it stood in."""

    # What can be asked.

    @property
    def major(self) -> int:
        """The version as a number, such as 18."""
        return _major(self.version)

    def search_read(
        self, model: str, domain: Domain, fields: Iterable[str], *, limit: int, archived: bool = False
    ) -> list[Row]:
        """Return records with these fields and their id, the oldest first.

        Args:
            model: such as `res.partner`.
            domain: which of them.
            fields: by name.
            limit: no more than so many.
            archived: whether those that are archived are among them.
        """
        arguments: dict[str, Json] = {"domain": domain, "fields": list(fields), "limit": limit, "order": "id"}
        if archived:
            arguments["context"] = {**self.environment, "active_test": False}
        rows, judged = self._call(model, "search_read", arguments)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_id(row.get("id")) for row in rows):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return rows

    def types_of(self, model: str, names: Iterable[str]) -> dict[str, str]:
        """Return those of these fields that a model has, and the type of each."""
        arguments: dict[str, Json] = {"allfields": list(names), "attributes": ["type"]}
        found, judged = self._call(model, "fields_get", arguments)
        if not isinstance(found, dict) or not all(isinstance(about, dict) for about in found.values()):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return {name: str(about.get("type")) for name, about in found.items()}

    def may(self, model: str, operation: str) -> bool:
        """Return whether the user may do something with records of a model, such as `create`."""
        if self.major >= 18:
            granted, _ = self._call(model, "has_access", {"operation": operation}, ids=[])
        else:
            arguments: dict[str, Json] = {"operation": operation, "raise_exception": False}
            granted, _ = self._call(model, "check_access_rights", arguments)
        return granted is True

    def create(self, model: str, values: dict[str, Json]) -> int:
        """Make one record, with all that belongs to it, in one transaction, and return its id.

        Raises:
            OutcomeUnknown: it may have been made.
            ConnectorError: it was not.
        """
        made, judged = self._call(model, "create", {"vals_list": [values]}, safe=False)
        if not isinstance(made, list) or len(made) != 1 or not _is_id(made[0]):
            raise judged.answer.unusable(Unusable.NO_NUMBER)
        return int(made[0])

    def act(self, model: str, method: str, key: int) -> None:
        """Let one record do something that changes it, such as `action_confirm`."""
        self._call(model, method, {}, ids=[key], safe=False)


class Json2(Odoo):
    """JSON-2: an address for each method, named arguments, real statuses."""

    interface: ClassVar[str] = "JSON-2"

    @cached_property
    def uid(self) -> int:
        found, judged = self._call("res.users", "context_get", {})
        if not isinstance(found, dict) or not _is_id(found.get("uid")):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return int(found["uid"])

    def _call(
        self, model: str, method: str, arguments: dict[str, Json], *, ids: list[Json] | None = None, safe: bool = True
    ) -> tuple[Any, Judged]:
        body: dict[str, Json] = {"context": self.environment, **arguments}
        if ids is not None:  # methods that belong to a model refuse them
            body["ids"] = ids
        headers = {**_HEADERS, "Authorization": f"bearer {self._config.api_key.get_secret_value()}"}
        if self._config.database:
            headers["X-Odoo-Database"] = self._config.database
        content = exact_json.dumps(body).encode()
        judged = self._client.call("POST", f"json/2/{model}/{method}", headers=headers, content=content, safe=safe)
        return judged.json(), judged


class JsonRpc(Odoo):
    """JSON-RPC: one address, positional arguments, the credentials in each body, and 200 for every answer."""

    interface: ClassVar[str] = "JSON-RPC"

    def __init__(self, client: HttpClient, config: OdooServerConfig) -> None:
        super().__init__(client, config, version="")
        about, _ = self._ask("common", "version", [], safe=True)
        self.version = str(about.get("server_version", "")) if isinstance(about, dict) else ""

    @cached_property
    def uid(self) -> int:
        user: Json = self._config.username
        uid, _ = self._ask("common", "authenticate", [self._config.database, user, self._secret, {}], safe=True)
        if not _is_id(uid):  # False, without an error
            raise AuthenticationFailed(username=user)
        return int(uid)

    def _call(
        self, model: str, method: str, arguments: dict[str, Json], *, ids: list[Json] | None = None, safe: bool = True
    ) -> tuple[Any, Judged]:
        positional: list[Json] = [] if ids is None else [ids]
        named: dict[str, Json] = {"context": self.environment, **arguments}
        if "vals_list" in named:  # `create` looks at its first argument to see whether one or many are made
            positional.append(named.pop("vals_list"))
        login: list[Json] = [self._config.database, self.uid, self._secret]
        return self._ask("object", "execute_kw", [*login, model, method, positional, named], safe=safe)

    @property
    def _secret(self) -> str:
        return self._config.api_key.get_secret_value()

    def _ask(self, service: str, method: str, arguments: list[Json], *, safe: bool) -> tuple[Any, Judged]:
        params: dict[str, Json] = {"service": service, "method": method, "args": arguments}
        content = exact_json.dumps({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}).encode()
        judged = self._client.call("POST", "jsonrpc", headers=_HEADERS, content=content, safe=safe)
        body = judged.json()
        if not isinstance(body, dict) or "result" not in body:
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return body["result"], judged


def log_in(client: HttpClient, config: OdooServerConfig) -> Odoo:
    """Return the interface that the configuration names, or that Odoo has; who we are is asked for when it is needed.

    Raises:
        ConnectorError: Odoo does not answer as it should.
    """
    match config.interface:
        case "json_2":
            return Json2(client, config, str(_FIRST_WITH_JSON_2))
        case "json_rpc":
            return JsonRpc(client, config)
    version = _version_on_the_web(client)
    return Json2(client, config, version) if _major(version) >= _FIRST_WITH_JSON_2 else JsonRpc(client, config)


def _version_on_the_web(client: HttpClient) -> str:
    """Return the version as Odoo 19 and later give it at an address of its own; older ones know no such address."""
    judged = client.call("GET", "web/version", rules=_UNKNOWN_ADDRESS)
    try:
        about = None if judged.is_missing else judged.json()
    except ConnectorError:  # a page
        return ""
    return str(about.get("version", "")) if isinstance(about, dict) else ""


def _major(version: str) -> int:
    """Return 18 for 18.0 and for saas~18.2; 0 for what is none."""
    found = re.match(r"(?:saas[~-])?([0-9]{1,3})\b", version)
    return int(found[1]) if found else 0


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
