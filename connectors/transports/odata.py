"""What servers that speak OData share: how a question is quoted, how entities are wrapped, and SAP's token for writing.

    path = odata.path("A_SalesOrder", {"$filter": odata.equal({"SoldToParty": number}), "$top": "2"})
    orders = odata.entities(client.call("GET", path, headers=odata.JSON))

Both versions are read alike: V2 wraps in `d` and `results`, V4 in `value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from connectors.port import Context
from connectors.transports.http_answers import Answer, Unusable
from connectors.transports.http_client import HttpClient, Judged
from connectors.transports.http_errors import ErrorRule, Meaning, rule

JSON: Final[Mapping[str, str]] = {"Accept": "application/json"}
"""Without it, V2 answers in XML, errors included."""

_IN_PATH: Final = "/$(),='@!*:;~"
_FLAG: Final = 15
"""Cookies as short as this hold a setting, such as `sap-client=100` of sap-usercontext, and no secret."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,1000}", re.ASCII)


def text(value: str) -> str:
    """Return a text as it stands in a filter or a key: in quotes, those in it doubled."""
    return "'" + value.replace("'", "''") + "'"


def equal(values: Mapping[str, str]) -> str:
    """Return the filter for entities of which each of these properties has this text."""
    return " and ".join(f"{name} eq {text(value)}" for name, value in values.items())


def key(value: str) -> str:
    """Return what addresses one entity by a text, behind the name of its set: `('4711')`, quoted for a path."""
    return f"({quote(text(value), safe=chr(39))})"


def path(resource: str, options: Mapping[str, str] | None = None) -> str:
    """Return a path with its query, both quoted.

    Spaces become %20: not every server takes a plus sign for one.

    Args:
        resource: below the root of the service, such as `companies(…)/salesOrders`; keys in it by `key`.
        options: such as `$filter`, unquoted.
    """
    query = "&".join(f"{quote(name, safe='$')}={quote(value, safe='')}" for name, value in (options or {}).items())
    where = quote(resource, safe=_IN_PATH + "%")
    return f"{where}?{query}" if query else where


def entities(judged: Judged) -> list[dict[str, Any]]:
    """Return the entities of a collection, those of its first page.

    Raises:
        ConnectorError: UNUSABLE_ANSWER; it is something else.
    """
    body = judged.json()
    found = body.get("value", body.get("d")) if isinstance(body, dict) else None
    if isinstance(found, dict):
        found = found.get("results")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
    return found


def entity(judged: Judged) -> dict[str, Any]:
    """Return one entity.

    Raises:
        ConnectorError: UNUSABLE_ANSWER; it is something else.
    """
    body = judged.json()
    found = body.get("d", body) if isinstance(body, dict) else None
    if not isinstance(found, dict):
        raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
    return found


def next_page(judged: Judged) -> str | None:
    """Return where a collection goes on; None at its end."""
    body = judged.json()
    inner = body.get("d", body) if isinstance(body, dict) else None
    link = inner.get("@odata.nextLink", inner.get("__next")) if isinstance(inner, dict) else None
    return link if isinstance(link, str) else None


# What an error says

_MOST_DETAILS: Final = 10
_ROOM: Final = 400
_NO_FAULTS: Final = ("warning", "info", "success")


def unpacked(body: Any) -> Any:
    """Return an error body with one sentence in `error.message`: its message, its details, and SAP's transaction.

    Both versions give a message and beside it the single faults: V2 in `innererror.errordetails`, V4 in `details`
    (OData JSON Format 4.01, section 21.1). By the transaction an administrator finds the error in SAP's own log.
    """
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return body
    message, inner = error.get("message"), error.get("innererror")
    if not isinstance(inner, dict):
        inner = {}
    said = [message.get("value") if isinstance(message, dict) else message]
    said += [detail.get("message") for detail in _details(inner.get("errordetails")) + _details(error.get("details"))]
    sentence = "; ".join(dict.fromkeys(line.strip() for line in said if isinstance(line, str) and line.strip()))
    transaction = inner.get("transactionid", inner.get("transactionId"))
    if isinstance(transaction, str) and transaction.strip("0 "):
        sentence = f"{sentence[:_ROOM]} (transaction {transaction[:40]}, {str(inner.get('timestamp', ''))[:30]})"
    return {**body, "error": {**error, "message": sentence}} if sentence else body


def _details(found: Any) -> list[dict[str, Any]]:
    """Return the faults of a list; what SAP says beside them is none."""
    details = found[:_MOST_DETAILS] if isinstance(found, list) else []
    return [item for item in details if isinstance(item, dict) and item.get("severity") not in _NO_FAULTS]


# SAP's token against forged requests

_REFUSED: Final = (
    rule(403, Meaning.TEMPORARY, header="X-CSRF-Token"),  # again with a new one: no reason to give up
    rule(403, Meaning.TEMPORARY, contains="CSRF token validation failed"),
)
_NO_SERVICE: Final = rule(404, Meaning.CONFIGURATION)


class CsrfGuard:
    """Writes with the token that SAP Gateway wants beside the cookies it gives with it; both last for a while.

    The session has to keep cookies. A server that gives no token is written to without one.
    """

    def __init__(self, client: HttpClient, root: str) -> None:
        """Begin without a token.

        Args:
            client: sends the requests.
            root: the path that tokens are fetched from, with its slash: without it some servers redirect and forget.
        """
        self._client, self._root = client, root
        self._token: str | None = None
        self.cookies: dict[str, str] | None = None
        """Those that came with the token; None before it was asked for."""

    def fetch(self, context: Context | None = None) -> bool:
        """Get a token, in the place of one there is; return whether the server gives any.

        Raises:
            ConnectorError: nothing was written; we may not, or it cannot be reached.
        """
        headers = {**JSON, "X-CSRF-Token": "Fetch"}
        answer = self._client.call("GET", self._root, headers=headers, rules=(_NO_SERVICE,), context=context).answer
        given = answer.headers.get("X-CSRF-Token", "")
        self._token = given if _TOKEN.fullmatch(given) and given.lower() not in ("required", "fetch") else ""
        self.cookies = _cookies(answer)
        self._client.hide(self._token, *(value for value in self.cookies.values() if len(value) > _FLAG))
        return bool(self._token)

    def write(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        rules: Iterable[ErrorRule] = (),
        context: Context | None = None,
    ) -> Judged:
        """Send a request that changes something; see `HttpClient.call`. A token that has expired is renewed once."""
        if self._token is None:
            self.fetch(context)

        def send() -> Answer:
            token = {"X-CSRF-Token": self._token} if self._token else {}
            return self._client.exchange(method, path, headers={**headers, **token}, content=content, context=context)

        answer = send()
        if _is_refused(answer):
            self.fetch(context)
            answer = send()  # a refused token says that nothing was done
        rules = (*_REFUSED, *rules) if _is_refused(answer) else rules
        return self._client.judged(answer, rules)


def _is_refused(answer: Answer) -> bool:
    if answer.status != 403:
        return False
    said = answer.headers.get("X-CSRF-Token", "").lower()
    return said == "required" or b"csrf token validation failed" in answer.content[:100_000].lower()


def _cookies(answer: Answer) -> dict[str, str]:
    """Return the cookies that an answer sets, by their names, which change from one release of SAP to the next."""
    pairs = (cookie.partition(";")[0].partition("=") for cookie in answer.headers.get_list("Set-Cookie"))
    return {name.strip(): value for name, _, value in pairs}
