"""What the tests of the HTTP transport share."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from connectors.exceptions import ConnectorError, TemporaryError
from connectors.network import Dialer, EgressPolicy
from connectors.port import Context, StepRecorder
from connectors.transports.http import HttpTarget

LOOPBACK = ("127.0.0.1/32",)


def context_of(
    *, allowed: tuple[str, ...] = LOOPBACK, seconds: float = 20, steps: StepRecorder | None = None
) -> Context:
    """Return a context that may reach 127.0.0.1 and nothing else inside."""
    return Context(
        dialer=Dialer(policy=EgressPolicy(allowed_networks=allowed)),
        deadline=time.monotonic() + seconds,
        steps=steps or StepRecorder(),
    )


def target_of(base_url: str, authority: object, **options: object) -> HttpTarget:
    """Return a target that believes an authority and waits for two seconds."""
    return HttpTarget(**{"base_url": base_url, "ca_bundle": authority.certificate, "timeout_s": 2.0, **options})


def error_of(call: Callable[[], object], kind: type[ConnectorError] = TemporaryError) -> ConnectorError:
    """Return the error of exactly this kind that a call raises, after a look at what it carries along."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert caught.value.__context__ is None
    return caught.value
