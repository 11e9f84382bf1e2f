"""Tryton's JSON-RPC: one address for each database, a session in the place of the password, and 200 for every error.

    rpc = TrytonRpc(client, config)
    rpc.rows("party.party", [["code", "=", "4711"]], ["name"])
    rpc.call("model.sale.sale.quote", [42], safe=False)

A database is at /<database>/ up to 7.8, and from 8.0 on at /<database>/rpc/; either answers 405 at the address of the
other.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from connectors import exact_json
from connectors.codes import Code
from connectors.config import INERT, Secret
from connectors.exact_json import Json
from connectors.exceptions import AuthenticationFailed, RateLimited
from connectors.port import Context, StepRecorder
from connectors.transports.http import open_session
from connectors.transports.http_answers import Answer, Unusable
from connectors.transports.http_auth import AUTH_KIND
from connectors.transports.http_authoriser import Authoriser
from connectors.transports.http_client import HttpClient, Judged
from connectors.transports.http_erp import HttpErpConfig
from connectors.transports.http_errors import ErrorRule, Meaning, judge, rule
from connectors.transports.http_tokens import MAX_LIFETIME_S, Token, Tokens
from connectors.validation import Line

Row = dict[str, Any]
Domain = list[Json]

LOCKED_S: Final = 300.0
"""After more than five wrong passwords even the right one is refused for so long; Tryton does not say until when."""

_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_MAX_WARNINGS: Final = 10
_ELSEWHERE: Final = (rule(405, Meaning.NOT_FOUND),)
_MORE_IS_ASKED: Final = (rule(200, Meaning.NOT_FOUND, path="$.error[0]", contains="LoginException"),)
_WARNING: Final = (rule(200, Meaning.EXISTS, path="$.error[0]", contains="UserWarning"),)

RULES: Final = (
    rule(200, Meaning.AUTHENTICATION, path="$.error[1][0]", contains="You are not allowed to access"),
    rule(200, Meaning.AUTHENTICATION, path="$.error[0]", contains="LoginException"),
    rule(200, Meaning.REJECTED, path="$.error[0]", contains="UserError"),
    rule(200, Meaning.REJECTED, path="$.error[0]", contains="UserWarning"),
    rule(200, Meaning.TEMPORARY, path="$.error[0]", contains="ConcurrencyException"),
    # The name of a model for an error: its module is not active.
    rule(200, Meaning.CONFIGURATION, path="$.error[0]", contains="'sale.sale'"),
    rule(200, Meaning.UNKNOWN, path="$.error"),
)
"""What a 200 means in which an error stands; all that was done before it is taken back, but for what it does later."""


class TrytonServerConfig(HttpErpConfig):
    """Which database of which server, and who we are there."""

    # The same password goes to the same place, once or with each request.
    auth_kind: Annotated[Literal["session", "basic"], INERT, AUTH_KIND] = "session"
    database: Annotated[
        str,
        Field(
            title="Database",
            description="Its name, as it stands in the address of the web client.",
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$",
        ),
    ]
    username: Annotated[
        Annotated[Line, Field(pattern=r"^[^:]+$", max_length=255)],
        Field(title="User name", description="Login of the technical user, without a colon."),
    ]
    password: Annotated[Secret, Field(title="Password", description="Its password.", max_length=1024)]
    company: Annotated[
        Annotated[Line, Field(max_length=200)] | None,
        INERT,
        Field(title="Company", description="Whose sales these are, by its name; empty for the company of the user."),
    ] = None
    accept_warnings: Annotated[
        bool,
        INERT,
        Field(
            title="Accept warnings",
            description="Whether a warning, such as that of a credit limit, is answered by yes and only told.",
        ),
    ] = False

    def authoriser(self) -> Authoriser:
        return Sessions(self) if self.auth_kind == "session" else super().authoriser()


class Sessions(Tokens):
    """Logs in once, and sends what Tryton gives for it with each request; Tryton ends a session that lies idle."""

    scheme: ClassVar[str] = "Session"
    _config: TrytonServerConfig

    def fetch(self, context: Context) -> Token:
        """Log in.

        Raises:
            AuthenticationFailed: user, password or database is wrong, or a password is not enough.
            RateLimited: there were too many wrong passwords.
        """
        config = self._config
        params: list[Json] = [config.username, {"password": config.password.get_secret_value()}]
        # The steps of a test are those of the calls.
        aside = replace(context, steps=StepRecorder(context.clock))
        with open_session(config.target(), aside) as session:
            for path in addresses(config):
                content = _request("common.db.login", params)
                answer = session.request("POST", path, headers=_HEADERS, content=content, safe=True)
                if answer.status != 405:
                    break
        return Token(value=self._key(answer), expires=context.clock.monotonic() + MAX_LIFETIME_S)

    def _key(self, answer: Answer) -> str:
        config = self._config
        if answer.status == 401:
            raise AuthenticationFailed(username=config.username)
        if answer.status == 429:
            raise RateLimited(retry_after=LOCKED_S)
        judge(answer, (*_MORE_IS_ASKED, *RULES), hidden=config.hidden())
        match answer.json():
            case {"result": [int(user), str(key), *_]}:
                return b64encode(f"{config.username}:{user}:{key}".encode()).decode("ascii")
            case {"error": _}:
                reason = "it asks for more than a password"
                raise AuthenticationFailed(
                    Code.TOKEN_REFUSED, host=answer.host, username=config.username, reason=reason
                )
        raise answer.unusable(Unusable.NO_TOKEN)


class TrytonRpc:
    """Calls methods of one database. Not to be shared between threads."""

    def __init__(self, client: HttpClient, config: TrytonServerConfig) -> None:
        self._client = client
        self._paths = addresses(config)
        self.environment: dict[str, Json] = {"language": "en"}
        """What goes with each call as Tryton's context; errors are told by their English words."""

    def call(self, method: str, *params: Json, safe: bool = True) -> Any:
        """Return what a method returns.

        Args:
            method: such as `model.sale.sale.create`.
            params: without the context.
            safe: whether it changes nothing.

        Raises:
            ConnectorError: see `RULES`.
        """
        return self._result(self._ask(method, params, safe=safe))

    def call_despite(self, warnings: list[str], method: str, *params: Json) -> Any:
        """Return what a method returns that changes something; what Tryton warns of is answered by yes.

        Args:
            warnings: takes the texts of what it warned of.
            method: see `call`.
            params: see `call`.
        """
        for _ in range(_MAX_WARNINGS):
            judged = self._ask(method, params, safe=False, rules=_WARNING)
            if not judged.exists:
                return self._result(judged)
            match judged.json():
                case {"error": [_, [str(name), str(message), *_]]}:
                    warnings.append(self._client.shown(message) or name)
                    self.call("model.res.user.warning.skip", name, False)
                case _:
                    raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return self._result(self._ask(method, params, safe=False))

    def record(self, method: str, *params: Json) -> Row:
        """Return what a method returns that changes nothing and returns names and values; see `call`."""
        judged = self._ask(method, params, safe=True)
        found = self._result(judged)
        if not isinstance(found, dict):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return found

    def rows(self, model: str, domain: Domain, fields: Sequence[str] = (), *, limit: int | None = None) -> list[Row]:
        """Return records with these fields and their id; dotted fields stand below their first part and a dot."""
        method = f"model.{model}.search_read"
        judged = self._ask(method, [domain, 0, limit, None, ["id", *fields]], safe=True)
        found = self._result(judged)
        if not isinstance(found, list) or not all(_is_row(row, fields) for row in found):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return found

    def _ask(self, method: str, params: Iterable[Json], *, safe: bool, rules: Iterable[ErrorRule] = ()) -> Judged:
        content = _request(method, [*params, self.environment])
        while True:
            elsewhere = _ELSEWHERE if len(self._paths) > 1 else ()
            judged = self._client.call(
                "POST", self._paths[0], headers=_HEADERS, content=content, safe=safe, rules=(*rules, *elsewhere)
            )
            if not (judged.is_missing and elsewhere):
                return judged
            self._paths.pop(0)

    @staticmethod
    def _result(judged: Judged) -> Any:
        body = judged.json()
        if not isinstance(body, dict) or "result" not in body:
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return body["result"]


def unpack(body: Any) -> Any:
    """Return an error with the message that is meant for people; that of any other may tell of the server's inside."""
    match body:
        case {"error": ["UserError", [str(message), *_]]} | {"error": ["UserWarning", [str(), str(message), *_]]}:
            return {"message": message}
        case {"error": [*_]}:
            return {}
    return body


def addresses(config: TrytonServerConfig) -> list[str]:
    """Return the paths at which a database may be, the newer one first."""
    return [f"{config.database}/rpc/", f"{config.database}/"]


def is_id(value: Any) -> bool:
    """Return whether a value is the id of a record."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_row(row: Any, fields: Iterable[str]) -> bool:
    if not isinstance(row, dict) or not is_id(row.get("id")):
        return False
    dotted = {f"{name.partition('.')[0]}." for name in fields if "." in name}
    return all(isinstance(row.get(name), dict | list) for name in dotted) and all(
        name in row for name in fields if "." not in name
    )


def _request(method: str, params: list[Json]) -> bytes:
    return exact_json.dumps({"id": 1, "method": method, "params": params}).encode()
