"""Backoff: bounded in number and time, never before the far end allows."""

import pytest

from connectors.exceptions import (
    AuthenticationFailed,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
    UnsupportedFeature,
)
from connectors.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=5, base_s=10, max_delay_s=60)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 10), (2, 20), (3, 40), (4, 60)])
def test_the_delay_grows_up_to_its_cap(attempt, longest):
    delays = [POLICY.decide(TemporaryError(), attempt=attempt, jitter=jitter).delay_s for jitter in (0, 0.5, 1)]

    assert delays == [0, longest / 2, longest]


@pytest.mark.parametrize("error", [TemporaryError(), OutcomeUnknown(), RateLimited(retry_after=1)])
def test_attempts_are_bounded(error):
    assert POLICY.decide(error, attempt=4, jitter=1).again
    assert not POLICY.decide(error, attempt=5, jitter=1).again


@pytest.mark.parametrize("error_class", [AuthenticationFailed, RejectedByERP, DocumentError, UnsupportedFeature])
def test_what_will_not_pass_is_not_tried_again(error_class):
    assert not POLICY.decide(error_class(), attempt=1, jitter=1).again


@pytest.mark.parametrize(("asked", "waited"), [(0, 5), (300, 300), (1e9, 86_400), (None, 5)])
def test_the_far_end_says_when_at_the_earliest(asked, waited):
    assert POLICY.decide(RateLimited(retry_after=asked), attempt=1, jitter=0.5).delay_s == waited


def test_a_great_many_attempts_do_not_overflow():
    endless = RetryPolicy(max_attempts=100_000)

    assert endless.decide(TemporaryError(), attempt=99_999, jitter=1).delay_s == endless.max_delay_s
