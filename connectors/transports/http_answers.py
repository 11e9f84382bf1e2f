"""What an HTTP answer means: bounded bodies, strict JSON, and which error a status stands for."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

import httpx2

from connectors import strict_json
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    InvalidInput,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
)


class Unusable(StrEnum):
    """Why an answer is of no use, as the end of a sentence."""

    NOT_HTTP = "it is not HTTP"
    GARBLED = "it cannot be unpacked"
    TOO_LARGE = "it is too large"
    EMPTY = "it is empty"
    HTML = "it is a web page"
    NOT_JSON = "it is not valid JSON"
    STATUS = "its status has no meaning here"
    REDIRECTS_A_WRITE = "it is a redirect, and what is sent is never sent elsewhere"
    REDIRECTS_TOO_OFTEN = "it redirects again and again"
    REDIRECTS_NOWHERE = "it redirects to an address that cannot be read"
    REDIRECTS_TO_PLAIN_HTTP = "it redirects to an address without encryption"
    LEADS_ELSEWHERE = "it names an address at another server"
    NO_TOKEN = "it holds no access token"  # noqa: S105  # nosec B105  # a sentence
    NO_NUMBER = "it does not name the order"
    NOT_AS_EXPECTED = "what is expected there is missing"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer, read to its end."""

    status: int
    headers: httpx2.Headers = field(repr=False)
    content: bytes = field(repr=False)
    host: str
    received_at: datetime
    safe: bool
    """Whether the request could be repeated without changing anything at the far end."""

    def json(self) -> Any:
        """Return what the body says, with a Decimal for every number that has a fraction.

        Raises:
            TemporaryError, OutcomeUnknown: UNUSABLE_ANSWER; the body is empty, a web page or no JSON.
        """
        content = self.content.removeprefix(codecs.BOM_UTF8)
        try:
            return strict_json.loads(content)
        except InvalidInput:
            pass
        if not content.strip():
            raise self.unusable(Unusable.EMPTY)
        is_page = "html" in self.headers.get("Content-Type", "").lower() or content.lstrip()[:1] == b"<"
        raise self.unusable(Unusable.HTML if is_page else Unusable.NOT_JSON)

    def unusable(self, reason: Unusable) -> ConnectorError:
        """Return the error for an answer from which nothing can be concluded."""
        return self.failure(Code.UNUSABLE_ANSWER, host=self.host, reason=reason)

    def failure(self, code: Code, **params: Any) -> ConnectorError:
        """Return the error for a request that failed after the far end had read it."""
        return (TemporaryError if self.safe else OutcomeUnknown)(code, **params)


Rule = Callable[[Answer], ConnectorError | None]
"""Which error an answer stands for; None leaves it to the caller."""


def raise_for_status(answer: Answer, rules: Mapping[int, Rule] | None = None) -> Answer:
    """Raise the error that a status stands for.

    Args:
        answer: what the far end said.
        rules: what an adapter judges differently: `{403: my_rule, 409: left_to_the_caller}`.

    Returns:
        The answer: of status 2xx, or of one that a rule leaves to the caller. By default that is 404, and a caller
        that does not look takes "not found" for a success.

    Raises:
        ConnectorError: as `RULES` say; otherwise 408 and 5xx are REMOTE_ERROR after which a write may have happened,
            every other 4xx is a no.
    """
    error = {**RULES, **(rules or {})}.get(answer.status, _otherwise)(answer)
    if error is not None:
        raise error
    return answer


def refused(answer: Answer) -> ConnectorError:  # noqa: ARG001  # a rule
    """Say that our credentials do not open this door."""
    return AuthenticationFailed()


def rate_limited(answer: Answer) -> ConnectorError:
    """Say that we are too fast."""
    return RateLimited(retry_after=retry_after_s(answer))


def unavailable(answer: Answer) -> ConnectorError | None:
    """Say that the far end is away: known not to have done anything only when it says when to come back."""
    return rate_limited(answer) if retry_after_s(answer) is not None else _otherwise(answer)


def left_to_the_caller(answer: Answer) -> None:
    """Say nothing."""


def _otherwise(answer: Answer) -> ConnectorError | None:
    match answer.status:
        case status if 200 <= status < 300:
            return None
        case status if status == 408 or status >= 500:
            return answer.failure(Code.REMOTE_ERROR, during=f" (HTTP {status})")
        case status if status < 400:
            return answer.unusable(Unusable.STATUS)
        case status if answer.safe:
            return ConnectorError(Code.REMOTE_ERROR, during=f" (HTTP {status})")
        case _:
            return RejectedByERP()


RULES: Final[Mapping[int, Rule]] = {
    401: refused,
    403: refused,
    404: left_to_the_caller,
    407: refused,
    429: rate_limited,
    503: unavailable,
}
"""The statuses that mean more than their first digit says."""


def retry_after_s(answer: Answer) -> float | None:
    """Return the seconds that a Retry-After header asks for; None when there is none that can be read.

    Both forms are read: seconds and a date (RFC 9110, section 10.2.3).
    """
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,10}", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # the date of asctime(3), which is in UTC as well (RFC 9110, section 5.6.7)
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - answer.received_at).total_seconds())
