"""What an HTTP answer means for an order: one table of rules, read from top to bottom, the first that fits decides.

How an adapter uses it:

    RULES = (
        rule(409, Meaning.EXISTS, path="$.error.code", contains="DUPLICATE"),
        rule(200, Meaning.REJECTED, path="$.error", message_path="$.error.data.message"),
    )
    meaning = judge(answer, RULES)      # raises the ConnectorError; returns SUCCESS, EXISTS or NOT_FOUND

Its own rules come before those of `DEFAULT_RULES`, those of a configuration (a field of `tuple[ErrorRule, ...]`) before
both. "Unknown" is UNKNOWN only for a request that was not safe; for a look-up the same status is a TemporaryError. What
the far end gives as its reason travels as `error.said`: bounded, without markup, tracebacks and `hidden` secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from html import unescape
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from connectors import strict_json
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    InvalidInput,
    RateLimited,
    RejectedByERP,
    Said,
    TemporaryError,
)
from connectors.json_path import JsonPath, PathText
from connectors.transports.http_answers import Answer, Unusable, retry_after_s
from connectors.validation import Line, StrictModel

MAX_RULES: Final = 50

_MAX_READ: Final = 256 * 1024
_MAX_LISTED: Final = 5


class Meaning(StrEnum):
    """What an answer says of the request."""

    SUCCESS = "success"  #: it was done
    EXISTS = "exists"  #: an earlier request had done it
    NOT_FOUND = "not_found"  #: what was asked for is not there
    TEMPORARY = "temporary"  #: it was not done; again later
    RATE_LIMITED = "rate_limited"  #: it was not done; again when the far end allows
    UNKNOWN = "unknown"  #: it may have been done, or still is being done; look it up
    AUTHENTICATION = "authentication"  #: it was refused because of who we are; the connection is paused
    CONFIGURATION = "configuration"  #: there is nothing at this address; the connection is paused
    REJECTED = "rejected"  #: it was refused because of what it says
    UNUSABLE = "unusable"  #: nothing can be concluded


def _status(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Say in one sentence what is wrong; pydantic would name each kind of value by its own words for it."""
    try:
        return handler(value)
    except ValidationError:
        pass
    raise PydanticCustomError("status", "must be a number from 100 to 599, or one of 2xx, 3xx, 4xx and 5xx")


Status = Annotated[Annotated[int, Field(ge=100, le=599)] | Literal["2xx", "3xx", "4xx", "5xx"], WrapValidator(_status)]


class Condition(StrictModel):
    """When a rule fits: each part that is given has to."""

    status: Annotated[tuple[Status, ...], Field(max_length=50, description="Any of these; empty for all.")] = ()
    json_path: Annotated[PathText | None, Field(description="Something has to lie here: no null, false or empty.")] = (
        None
    )
    contains: Annotated[
        Annotated[Line, Field(max_length=200)] | None,
        Field(description="Stands in the text at the path, or without a path anywhere in the body; in any case."),
    ] = None
    header: Annotated[
        Annotated[Line, Field(max_length=100)] | None, Field(description="The answer has this header.")
    ] = None
    html: Annotated[bool | None, Field(description="Whether the body is a web page.")] = None
    safe: Annotated[bool | None, Field(description="Whether the request changes nothing at the far end.")] = None


class ErrorRule(StrictModel):
    """One line of the table."""

    when: Condition
    outcome: Meaning
    message_path: Annotated[PathText | None, Field(description="Where the far end gives its reason.")] = None
    code_path: Annotated[PathText | None, Field(description="Where the far end gives its own code.")] = None


ErrorRules = Annotated[tuple[ErrorRule, ...], Field(max_length=MAX_RULES)]
Unpack = Callable[[Any], Any]
"""Turns a JSON body into one in which the reason stands where most say it, for an ERP that wraps it up."""


def as_it_is(body: Any) -> Any:
    """Return a body in which nothing is wrapped up."""
    return body


def rule(
    status: Status | tuple[Status, ...],
    outcome: Meaning,
    *,
    path: str | None = None,
    contains: str | None = None,
    message_path: str | None = None,
    code_path: str | None = None,
    **when: Any,
) -> ErrorRule:
    """Return a rule, written short; an empty tuple fits every status."""
    statuses = status if isinstance(status, tuple) else (status,)
    condition = Condition(status=statuses, json_path=path, contains=contains, **when)
    return ErrorRule(when=condition, outcome=outcome, message_path=message_path, code_path=code_path)


DEFAULT_RULES: Final = (
    rule("2xx", Meaning.SUCCESS),
    rule("3xx", Meaning.UNUSABLE),
    rule((401, 403, 407), Meaning.AUTHENTICATION),
    rule(404, Meaning.CONFIGURATION, html=True),  # a proxy or a server that knows no such address, and no interface
    rule(404, Meaning.NOT_FOUND, safe=True),
    rule((405, 406, 415), Meaning.CONFIGURATION),
    rule(408, Meaning.UNKNOWN),
    rule(409, Meaning.UNKNOWN),  # a duplicate, or the first one is not done yet: a look-up tells
    rule(429, Meaning.RATE_LIMITED),
    rule("4xx", Meaning.REJECTED),
    rule(503, Meaning.RATE_LIMITED, header="Retry-After"),  # known not to have done anything when it says that
    rule("5xx", Meaning.UNKNOWN),
)
"""What statuses mean where nobody says more."""


def judge(
    answer: Answer, rules: Iterable[ErrorRule] = (), *, hidden: Iterable[str] = (), unpack: Unpack = as_it_is
) -> Meaning:
    """Return what an answer means, or raise the error that it stands for.

    Args:
        answer: what the far end said.
        rules: come before the default ones.
        hidden: texts that must not be repeated although the far end does.
        unpack: see `Unpack`; rules look into the body as it came.

    Returns:
        SUCCESS, EXISTS or NOT_FOUND.

    Raises:
        ConnectorError: the subclass says what may happen next; `said` holds the far end's reason.
    """
    found = first_match(answer, rules)
    if found is None:
        raise answer.unusable(Unusable.STATUS)
    if found.outcome in (Meaning.SUCCESS, Meaning.EXISTS, Meaning.NOT_FOUND):
        return found.outcome
    raise _error(answer, found.outcome, reason(answer, found, hidden=hidden, unpack=unpack))


def first_match(answer: Answer, rules: Iterable[ErrorRule] = ()) -> ErrorRule | None:
    """Return the rule that decides about an answer; None for a status of no class."""
    read = _Body(answer)
    return next((rule for rule in (*rules, *DEFAULT_RULES) if _fits(rule.when, answer, read)), None)


def _error(answer: Answer, outcome: Meaning, said: Said) -> ConnectorError:
    during = f" (HTTP {answer.status})"
    match outcome:
        case Meaning.AUTHENTICATION:
            return AuthenticationFailed(said=said)
        case Meaning.CONFIGURATION:
            return AuthenticationFailed(Code.ENDPOINT_UNUSABLE, said=said, host=answer.host, status=answer.status)
        case Meaning.RATE_LIMITED:
            return RateLimited(said=said, retry_after=_asked_wait_s(answer))
        case Meaning.TEMPORARY:
            return TemporaryError(Code.REMOTE_ERROR, said=said, during=during)
        case Meaning.UNKNOWN:
            return answer.failure(Code.REMOTE_ERROR, said=said, during=during)
        case Meaning.REJECTED if answer.safe:
            return ConnectorError(Code.REMOTE_ERROR, said=said, during=during)
        case Meaning.REJECTED:
            return RejectedByERP(said=said)
    return answer.unusable(Unusable.STATUS)


def _asked_wait_s(answer: Answer) -> float | None:
    """Return the seconds to wait; some servers say it in a header of their own instead of Retry-After."""
    asked = retry_after_s(answer)
    if asked is not None:
        return asked
    for name in ("RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset"):
        value = answer.headers.get(name, "")
        if re.fullmatch("[0-9]{1,10}", value):
            seconds = float(value)
            # Some count the seconds from now, some from 1970.
            return seconds if seconds < 10**9 else max(0.0, seconds - answer.received_at.timestamp())
    return None


class _Body:
    """A body that is read as JSON once, when a rule asks for it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._read = False
        self._json: Any = None

    @property
    def json(self) -> Any:
        if not self._read:
            self._read, self._json = True, _json_of(self._answer)
        return self._json

    @property
    def text(self) -> str:
        return self._answer.content[:_MAX_READ].decode(errors="replace")

    @property
    def is_html(self) -> bool:
        content = self._answer.content.lstrip()[:1]
        return content == b"<" or "html" in self._answer.headers.get("Content-Type", "").lower()


def _json_of(answer: Answer) -> Any:
    try:
        return strict_json.loads(answer.content.removeprefix(b"\xef\xbb\xbf"))
    except InvalidInput:
        return None


def _fits(when: Condition, answer: Answer, body: _Body) -> bool:
    if when.status and not {answer.status, f"{answer.status // 100}xx"} & set(when.status):
        return False
    if when.safe is not None and when.safe is not answer.safe:
        return False
    if when.header is not None and when.header not in answer.headers:
        return False
    if when.html is not None and when.html is not body.is_html:
        return False
    if when.json_path is None:
        return when.contains is None or when.contains.lower() in body.text.lower()
    found = JsonPath.parse(when.json_path).find(body.json)
    if when.contains is None:
        return any(value not in (None, False, "", [], {}) for value in found)
    return any(when.contains.lower() in _as_text(value).lower() for value in found)


def _as_text(value: Any) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict() | list():
            return " ".join(_as_text(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return str(value)


# What the far end gives as its reason

_TAGS: Final = re.compile(r"(?is)<(script|style|head)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)|<[/!?a-z][^>]*(>|\Z)")
_TRACE: Final = re.compile(
    r"Traceback \(most recent call last\)|^\s*File \".*\", line \d+"  # Python
    r"|^\s+at [\w.$<>]+\(|\bat [\w$]+(\.[\w$<>]+)+\([^)]*:\d+\)"  # Java, JavaScript, .NET
    r"|^Stack ?trace:|#0 .*\(\d+\):",  # PHP
    re.MULTILINE,
)

_CODE_PATHS: Final = (
    "error.code", "code", "errorCode", "error_code", "errors[0].code", "exc_type", "error.type", "error",
)  # fmt: skip
_MESSAGE_PATHS: Final = (
    "error.message.value", "error.message", "error.detail", "message", "detail", "error_description",
    "errors[0].message", "errors[0].detail", "errors[0]", "errorMessage", "description", "title", "error", "reason",
)  # fmt: skip


def reason(
    answer: Answer, found: ErrorRule | None = None, *, hidden: Iterable[str] = (), unpack: Unpack = as_it_is
) -> Said:
    """Return what the far end gives as its reason: as it is told where to look, else where most say it.

    Args:
        answer: what the far end said.
        found: the rule that decided; may say where the reason stands.
        hidden: texts that are replaced.
        unpack: see `Unpack`.
    """
    body = _json_of(answer) if len(answer.content) <= _MAX_READ else None
    if body is None:
        return Said(message=shown(answer.content[:_MAX_READ].decode(errors="replace"), hidden))
    body = unpack(body)
    code = _first_text(body, (found.code_path,) if found and found.code_path else _CODE_PATHS)
    message = _first_text(body, (found.message_path,)) if found and found.message_path else None
    message = message or _problem(answer, body) or _first_text(body, _MESSAGE_PATHS)
    if isinstance(body, str):
        message = body
    if code and (len(code) > 64 or code == message):
        code = None
    return Said(code=code and shown(code, hidden), message=message and shown(message, hidden))


def _problem(answer: Answer, body: Any) -> str | None:
    """Return the sentence of a problem report (RFC 9457): its title, its detail, and the first of its faults."""
    if "problem+json" not in answer.headers.get("Content-Type", "") or not isinstance(body, dict):
        return None
    said = [text for name in ("title", "detail") if isinstance(text := body.get(name), str) and text.strip()]
    faults = body.get("errors")
    for fault in faults[:_MAX_LISTED] if isinstance(faults, list) else ():
        where = _first_text(fault, ("pointer", "path", "field", "name"))
        what = _first_text(fault, ("detail", "message", "reason", "$"))
        said += [f"{where}: {what}" if where and what else what or ""]
    return "; ".join(text for text in said if text) or None


def _first_text(body: Any, paths: Iterable[str]) -> str | None:
    return next((text for path in paths if (text := JsonPath.parse(path).text_in(body))), None)


def shown(text: str, hidden: Iterable[str] = ()) -> str:
    """Return a text of the far end without its markup, without what tells of its inside, and without what is secret."""
    text = _TRACE.split(text, maxsplit=1)[0] if _TRACE.search(text) else text
    text = unescape(_TAGS.sub(" ", text)) if "<" in text else text
    for secret in hidden:
        if secret:
            text = text.replace(secret, "•••")
    return " ".join(text.split())
