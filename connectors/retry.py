"""When to try again: a value in, a value out; no clock, no sleep."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.exceptions import ConnectorError, OutcomeUnknown, RateLimited, TemporaryError


@dataclass(frozen=True, kw_only=True)
class RetryDecision:
    """Whether to try again, and after how many seconds."""

    again: bool
    delay_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter, bounded in number and in time.

    The delay before attempt n+1 is drawn evenly from 0 to min(max_delay_s, base_s * 2**(n-1)); the far end's own
    Retry-After is a lower bound. Full jitter keeps orders that failed together from coming back together
    (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog).
    """

    max_attempts: int = 8
    base_s: float = 5.0
    max_delay_s: float = 3600.0
    max_retry_after_s: float = 86_400.0
    """No far end may put an order off for longer than this."""

    def decide(self, error: ConnectorError, *, attempt: int, jitter: float) -> RetryDecision:
        """Decide what follows a failed attempt.

        Args:
            error: what the attempt raised.
            attempt: the number of that attempt, from 1.
            jitter: a random number from 0 to 1.

        Returns:
            Again with a delay for errors that pass, unless the attempts are spent.
        """
        if not isinstance(error, TemporaryError | OutcomeUnknown) or attempt >= self.max_attempts:
            return RetryDecision(again=False)
        # The exponent is bounded because a float overflows at 2**1024.
        delay = jitter * min(self.max_delay_s, self.base_s * 2 ** min(attempt - 1, 63))
        if isinstance(error, RateLimited) and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, self.max_retry_after_s))
        return RetryDecision(again=True, delay_s=delay)
