"""An authorised session with an ERP: what every adapter over HTTP sends its requests with.

    with context.steps.plan(*HTTP_TEST_STEPS), open_client(config, context, RULES) as client:
        with context.steps.step("authenticate"):
            client.authenticate()                       # gets the token, where there is one to get
        with context.steps.step("read"):
            client.call("GET", "orders", params={"limit": "1"})

`call` adds what identifies us, renews it once after a 401, and judges the answer by the table in `http_errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from connectors.exceptions import (
    AuthenticationFailed,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    Said,
    TemporaryError,
)
from connectors.port import Context
from connectors.transports.http import HTTP_LOGIN_STEPS, HttpSession, open_session
from connectors.transports.http_answers import Answer
from connectors.transports.http_auth import HttpConfig
from connectors.transports.http_authoriser import Authoriser
from connectors.transports.http_errors import ErrorRule, Meaning, Unpack, as_it_is, judge, reason, shown

HTTP_TEST_STEPS: Final = (*HTTP_LOGIN_STEPS, "authenticate", "read")
"""The stages of a connection test over HTTP."""
HTTP_ERRORS: Final = frozenset(
    {TemporaryError, RateLimited, OutcomeUnknown, AuthenticationFailed, RejectedByERP, DocumentError}
)
"""How an export over HTTP can fail."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An answer and what it means."""

    answer: Answer
    meaning: Meaning

    @property
    def exists(self) -> bool:
        """Whether an earlier request had done it."""
        return self.meaning is Meaning.EXISTS

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for is not there."""
        return self.meaning is Meaning.NOT_FOUND

    def json(self) -> Any:
        """Return what the body says; see `Answer.json`."""
        return self.answer.json()


class HttpClient:
    """Sends requests to one ERP; made by `open_client`. Not to be shared between threads."""

    def __init__(
        self,
        session: HttpSession,
        config: HttpConfig,
        context: Context,
        rules: tuple[ErrorRule, ...],
        unpack: Unpack = as_it_is,
    ) -> None:
        self.session, self.context = session, context
        self._rules, self._unpack = rules, unpack
        self._authoriser: Authoriser = config.authoriser()
        self._hidden = config.hidden()
        self._sent: tuple[str, ...] = ()

    def authenticate(self) -> None:
        """Get whatever is sent with each request, without asking the ERP for anything."""
        self._authoriser.headers(self.context)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        safe: bool | None = None,
        rules: Iterable[ErrorRule] = (),
        context: Context | None = None,
    ) -> Judged:
        """Send a request and judge the answer; see `HttpSession.request` for the arguments.

        Args:
            rules: come before those of the client.

        Raises:
            ConnectorError: see `http_errors.judge` and `HttpSession.request`.
        """
        answer = self.exchange(
            method, path, params=params, headers=headers, content=content, safe=safe, context=context
        )
        return self.judged(answer, rules)

    def judged(self, answer: Answer, rules: Iterable[ErrorRule] = ()) -> Judged:
        """Judge the answer of an `exchange`; see `call`."""
        meaning = judge(answer, (*rules, *self._rules), hidden=self._all_hidden(), unpack=self._unpack)
        return Judged(answer=answer, meaning=meaning)

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        safe: bool | None = None,
        context: Context | None = None,
    ) -> Answer:
        """Send a request and return the answer without judging it; after a 401, once more with new credentials."""
        context = context or self.context

        def send() -> Answer:
            merged = {**(params or {}), **self._authoriser.params()}
            url = str(self.session.url(path, merged or None))
            own = self._authoriser.headers(context) | self._authoriser.signature(method, url, context)
            self._sent = tuple(value.rpartition(" ")[2] for value in own.values())
            return self.session.request(
                method, url, headers={**own, **(headers or {})}, content=content, safe=safe, context=context
            )

        answer = send()
        if answer.status == 401 and self._authoriser.renew(context):
            answer = send()  # a 401 says that nothing was done
        return answer

    def hide(self, *texts: str) -> None:
        """Take what the ERP gave us in confidence, such as a token, out of whatever it says from now on."""
        self._hidden = tuple({*self._hidden, *(text for text in texts if len(text) > 3)})

    def said(self, answer: Answer) -> Said:
        """Return what the ERP gives as its reason, without our secrets."""
        return reason(answer, hidden=self._all_hidden(), unpack=self._unpack)

    def shown(self, text: str) -> str:
        """Return a text of the ERP as it may be shown, bounded, without markup and our secrets."""
        return Said(message=shown(text, self._all_hidden())).message or ""

    def _all_hidden(self) -> tuple[str, ...]:
        return (*self._hidden, *(value for value in self._sent if len(value) > 3))


@contextmanager
def open_client(
    config: HttpConfig,
    context: Context,
    rules: tuple[ErrorRule, ...] = (),
    *,
    keep_cookies: bool = False,
    unpack: Unpack = as_it_is,
) -> Iterator[HttpClient]:
    """Connect to an ERP; records the steps resolve, connect and tls.

    Args:
        config: where it is and who we are.
        context: by whose dialer and until when.
        rules: what its answers mean beyond the default table.
        keep_cookies: whether it keeps a session by them.
        unpack: how it wraps up its reasons.

    Raises:
        TemporaryError: it cannot be reached, may not be reached, or is not to be trusted.
    """
    with open_session(config.target(keep_cookies=keep_cookies), context) as session:
        yield HttpClient(session, config, context, rules, unpack)
