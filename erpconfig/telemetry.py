"""Traces by OpenTelemetry: only with OTEL_EXPORTER_OTLP_ENDPOINT and the packages of requirements-otel.txt.

Each request is a span with its method, route, status and request id. Paths with ids, queries, headers and bodies stay
out, and so do the texts of exceptions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def is_wanted() -> bool:
    """Return whether somebody said where traces go."""
    return bool(os.environ.get(ENDPOINT))


def start() -> None:
    """Send the spans of this process to the endpoint, if there is one.

    Raises:
        ImproperlyConfigured: there is one, but the packages are missing.
    """
    if not is_wanted():
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise ImproperlyConfigured(f"{ENDPOINT} is set. Run: pip install -r requirements-otel.txt, or unset it.")
    provider = tracer_provider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def tracer_provider() -> TracerProvider:
    """Return a provider that names this service, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES do."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: "erp-connector"}))


class RequestSpans:
    """Middleware: one span for each request, within that of the caller if he names one (W3C Trace Context)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        """Stand in front of `get_response`."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request within a span."""
        from opentelemetry import propagate, trace

        caller = propagate.extract({name.lower(): value for name, value in request.headers.items()})
        tracer = trace.get_tracer("erp_connector")
        with tracer.start_as_current_span(
            request.method or "",
            context=caller,
            kind=trace.SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            response = self._get_response(request)
            route = request.resolver_match.route if request.resolver_match else ""
            span.update_name(f"{request.method} /{route}")
            span.set_attributes(_described(request, response, route))
            return response


def _described(request: HttpRequest, response: HttpResponseBase, route: str) -> dict[str, Any]:
    described = {
        "http.request.method": request.method or "",
        "http.route": f"/{route}",
        "http.response.status_code": response.status_code,
    }
    request_id = structlog.contextvars.get_contextvars().get("request_id") or response.headers.get("X-Request-ID")
    return described | ({"erp.request_id": str(request_id)} if request_id else {})
