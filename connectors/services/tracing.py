"""Spans for OpenTelemetry, where it is installed and switched on; elsewhere nothing happens.

A span carries ids, states and codes, never what an order says, never the text of an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from importlib import import_module
from typing import Any, Final, ParamSpec, TypeVar

try:
    trace: Any = import_module("opentelemetry.trace")
except ImportError:  # requirements-otel.txt is optional
    trace = None

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")

SCOPE: Final = "erp_connector"


def traced(name: str) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Let each call of a function be a span of this name."""

    def wrap(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        if trace is None:
            return function

        @wraps(function)
        def in_span(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            tracer = trace.get_tracer(SCOPE)
            with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
                try:
                    return function(*args, **kwargs)
                except Exception as error:
                    span.set_attribute("error.type", type(error).__name__)
                    raise

        return in_span

    return wrap


def note(**attributes: Any) -> None:
    """Add ids, states or codes to the present span."""
    if trace is not None:
        trace.get_current_span().set_attributes(_named(attributes))


def record(name: str, started_at: datetime, **attributes: Any) -> None:
    """Write down a span that ends now."""
    if trace is not None:
        began = int(started_at.timestamp() * 1_000_000_000)
        trace.get_tracer(SCOPE).start_span(name, start_time=began, attributes=_named(attributes)).end()


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        f"erp.{name}": value if isinstance(value, int) else str(value)
        for name, value in attributes.items()
        if value is not None
    }
