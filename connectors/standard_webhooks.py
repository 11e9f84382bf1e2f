"""Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): how a message is signed, sent, and sent again.

Symmetric signatures only. What a receiver answers is its status; the body of an answer is not read.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import Final

import httpx2

from connectors.network import EgressPolicy
from connectors.port import Context
from connectors.transports.http import HttpTarget, open_session
from connectors.transports.http_answers import retry_after_s
from connectors.transports.http_signing import WEBHOOK_SECRET_PREFIX, webhook_signature

TIMEOUT_S: Final = 15.0
"""A receiver should put work aside and answer at once; the specification recommends 15 to 30 seconds."""

RETRY_DELAYS_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After each failed attempt, as the specification recommends: the last one is made after a good three days."""

MAX_URL: Final = 2_000

_MAX_HOST: Final = 253  # RFC 1035, section 2.3.4, as it is written
_SECRET_SIZE: Final = 32
_JITTER: Final = 0.1
_MAX_RETRY_AFTER_S: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent in each attempt, the same every time."""

    id: str
    """By which a receiver recognises what it has got before; without a full stop."""
    body: str
    secrets: tuple[str, ...] = field(repr=False)
    """Each signs it: for a while after a rotation there are two."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a receiver answered."""

    status: int
    retry_after_s: float | None

    @property
    def is_accepted(self) -> bool:
        """Whether it has taken the message."""
        return 200 <= self.status < 300

    @property
    def is_farewell(self) -> bool:
        """Whether it never wants another message."""
        return self.status == 410


def new_secret() -> str:
    """Return a random secret, as it is shown to the receiver."""
    return WEBHOOK_SECRET_PREFIX + b64encode(secrets.token_bytes(_SECRET_SIZE)).decode("ascii")


def sign(message: Message, *, timestamp: int) -> str:
    """Return the header `webhook-signature` for an attempt at this time, in seconds since 1970."""
    body = message.body.encode()
    return " ".join(
        webhook_signature(secret, message_id=message.id, timestamp=timestamp, body=body) for secret in message.secrets
    )


def check_url(url: str, policy: EgressPolicy) -> str:
    """Return the host of a URL to which messages may be sent.

    Raises:
        ValueError: says why it cannot be used, without the URL, which may hold a token.
    """
    return httpx2.URL(_target(url, policy).base_url).host


def post(url: str, message: Message, context: Context, *, ca_bundle: str | None = None) -> Reply:
    """Make one attempt. No redirect is followed; plain HTTP goes only to networks that are allowed by name.

    Args:
        url: as `check_url` has let it pass.
        message: what to send.
        context: by whose dialer and until when.
        ca_bundle: PEM certificates that are believed instead of the system's.

    Raises:
        ValueError: as `check_url`.
        TemporaryError, OutcomeUnknown: nobody answered, or with a redirect.
    """
    target = replace(_target(url, context.dialer.policy), ca_bundle=ca_bundle)
    timestamp = int(context.clock.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(message, timestamp=timestamp),
    }
    with open_session(target, context) as session:
        answer = session.request("POST", str(httpx2.URL(url)), headers=headers, content=message.body.encode())
    return Reply(status=answer.status, retry_after_s=retry_after_s(answer))


def delay_s(attempt: int, *, asked_s: float | None, jitter: float) -> float | None:
    """Return after how many seconds a failed message is sent again; None when the attempts are spent.

    Args:
        attempt: the number of the attempt that failed, from 1.
        asked_s: the receiver's own Retry-After, which is waited for, though not for more than a day.
        jitter: a random number from 0 to 1: what failed together shall not come back together.
    """
    if attempt > len(RETRY_DELAYS_S):
        return None
    planned = RETRY_DELAYS_S[attempt - 1] * (1 + _JITTER * jitter)
    return max(planned, min(asked_s or 0.0, _MAX_RETRY_AFTER_S))


def _target(url: str, policy: EgressPolicy) -> HttpTarget:
    parsed = _parsed(url)
    if parsed is None or len(url) > MAX_URL:
        raise ValueError(f"must be a URL of at most {MAX_URL} characters")
    if parsed.userinfo or parsed.fragment:
        raise ValueError("must have no user, no password and no fragment")
    is_plain = parsed.scheme == "http"
    if not (parsed.scheme == "https" or (is_plain and policy.allowed_networks)):
        raise ValueError("must begin with https://")
    if len(parsed.raw_host) > _MAX_HOST:
        raise ValueError(f"must name a host of at most {_MAX_HOST} characters")
    origin = str(parsed.copy_with(raw_path=b"/"))
    try:
        return HttpTarget(base_url=origin, allow_plain=is_plain, timeout_s=TIMEOUT_S, reads_answers=False)
    except ValueError:
        pass
    raise ValueError("must name a host")


def _parsed(url: str) -> httpx2.URL | None:
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        return None
