"""Frappe over HTTP (13 to 16): documents and methods, what its answers mean, and what it says in them.

frappe = Frappe(client, site=None)
frappe.find("Customer", [["tax_id", "=", "4711"]], "name", "default_currency")
frappe.write("POST", "Sales Order", content)
frappe.ask("frappe.auth.get_logged_user")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from connectors import exact_json, strict_json
from connectors.codes import Code
from connectors.exact_json import Json
from connectors.exceptions import AuthenticationFailed, InvalidInput
from connectors.transports.http_answers import Unusable
from connectors.transports.http_client import HttpClient, Judged
from connectors.transports.http_errors import ErrorRule, Meaning, rule

_MAX_FOUND: Final = 20
_MAX_MESSAGES: Final = 10
_MAX_NAME: Final = 140

# By what Frappe names in `exc_type`. Whatever it does not accept is a 417.
_LATER: Final = (
    "TimestampMismatchError", "DocumentLockedError", "QueryDeadlockError", "QueryTimeoutError", "SessionStopped",
)  # fmt: skip
RULES: Final = (
    *(rule((), Meaning.RATE_LIMITED, path="exc_type", contains=name) for name in ("RateLimit", "TooManyRequests")),
    *(rule((), Meaning.TEMPORARY, path="exc_type", contains=name) for name in _LATER),
    rule(503, Meaning.TEMPORARY, contains="is being updated"),
    rule((), Meaning.REJECTED, path="exc_type", contains="UniqueValidationError"),
    rule(409, Meaning.EXISTS, path="exc_type", contains="DuplicateEntryError"),
    # A 404 of Frappe is about what was asked for, or what a document names; any other is that of somebody in between.
    rule(404, Meaning.NOT_FOUND, path="exc_type", safe=True),
    rule(404, Meaning.REJECTED, path="exc_type"),
    rule(404, Meaning.CONFIGURATION),
)
"""What its answers mean beyond the usual."""
_NOT_FOR_US: Final = (rule(403, Meaning.NOT_FOUND, path="exc_type"),)
_IF_IT_MAY: Final = (rule((403, 404, 417, 500), Meaning.NOT_FOUND),)


@dataclass(frozen=True)
class Frappe:
    """One site of Frappe, asked by an authorised client."""

    client: HttpClient
    site: str | None = None
    """Which site of the server, where its host name does not tell."""

    def find(self, doctype: str, filters: list[list[str]], *fields: str) -> list[dict[str, Any]]:
        """Return documents, up to twenty, with their names and these fields.

        Args:
            doctype: what they are.
            filters: field, operator and value each, and before them the table where it is another.
            fields: what else is to be known.

        Raises:
            AuthenticationFailed: there are no such documents on this site, or we may not read them.
            ConnectorError: they cannot be told.
        """
        wanted: list[Json] = ["name", *fields]
        asked: list[Json] = [[*each] for each in filters]
        params = {"filters": exact_json.dumps(asked), "fields": exact_json.dumps(wanted)}
        params["limit_page_length"] = str(_MAX_FOUND)
        judged = self._call("GET", _path(doctype), params=params, rules=_NOT_FOR_US)
        if judged.is_missing:
            answer, said = judged.answer, self.client.said(judged.answer)
            if answer.status == 403:
                raise AuthenticationFailed(Code.PERMISSION_DENIED, said=said, path=doctype)
            raise AuthenticationFailed(Code.ENDPOINT_UNUSABLE, said=said, host=answer.host, status=answer.status)
        found = _member(judged.json(), "data")
        if not isinstance(found, list) or not all(_is_document(each) for each in found):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
        return found

    def write(self, method: str, doctype: str, content: bytes, *, name: str | None = None) -> Judged:
        """Make a document (POST), or change some of its fields (PUT).

        Raises:
            ConnectorError: see `HttpClient.call`.
        """
        return self._call(method, _path(doctype, name), content=content)

    def ask(self, method: str, *, if_it_may: bool = True, **params: str) -> Any:
        """Return what a method that changes nothing says, as a rule under `message`.

        Args:
            method: its dotted path.
            if_it_may: whether an answer can be done without: then None where the method is not there, or not for us.
            params: its arguments.
        """
        rules = _IF_IT_MAY if if_it_may else ()
        judged = self._call("GET", f"api/method/{method}", params=params, rules=rules)
        return None if judged.is_missing else judged.json()

    def user(self) -> str:
        """Return as whom we are known.

        Raises:
            AuthenticationFailed: as nobody.
        """
        user = _member(self.ask("frappe.auth.get_logged_user", if_it_may=False), "message")
        if not isinstance(user, str) or user == "Guest":
            raise AuthenticationFailed
        return user

    def warnings(self, judged: Judged) -> tuple[str, ...]:
        """Return what Frappe wants the user to read although it did what it should."""
        said = (self.client.shown(text) for text in messages(judged.json()))
        return tuple(text for text in said if text)

    def _call(self, method: str, path: str, *, rules: Iterable[ErrorRule] = (), **what: Any) -> Judged:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.site:
            headers["X-Frappe-Site-Name"] = self.site
        return self.client.call(method, path, headers=headers, rules=rules, **what)


def written(judged: Judged) -> dict[str, Any]:
    """Return the document that was written.

    Raises:
        ConnectorError: the answer does not name it.
    """
    document = _member(judged.json(), "data")
    if not _is_document(document):
        raise judged.answer.unusable(Unusable.NO_NUMBER)
    return dict(document)


def messages(body: Any) -> list[str]:
    """Return what Frappe wants the user to read, markup included: JSON texts in a JSON list in a JSON text."""
    packed = _unwrapped(_member(body, "_server_messages"))
    found = [_unwrapped(each) for each in packed[:_MAX_MESSAGES]] if isinstance(packed, list) else []
    texts = [_member(each, "message") if isinstance(each, Mapping) else each for each in found]
    return [text for text in texts if isinstance(text, str)]


def unpacked(body: Any) -> Any:
    """Return a body in which the messages stand as `message`; tracebacks stand elsewhere, in `exc`."""
    if not isinstance(body, Mapping):
        return body
    said, exception = "; ".join(messages(body)), body.get("exception")
    if not said and isinstance(exception, str) and exception.startswith(("frappe.", "erpnext.")):
        said = exception.partition(": ")[2]  # that of other exceptions is about the program
    return {**body, "message": said} if said else body


def _unwrapped(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value.encode())
    except InvalidInput:
        return value


def _path(doctype: str, name: str | None = None) -> str:
    return "/".join(["api/resource", quote(doctype), *([quote(name, safe="")] if name else [])])


def _member(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, Mapping) else None


def _is_document(value: Any) -> bool:
    """Return whether this is a document with a name that can stand in an address."""
    name = _member(value, "name")
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and bool(name.strip("."))
