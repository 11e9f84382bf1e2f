"""The headers that tell a browser what a page of ours may do: nothing that it does not need.

There is no inline script or style anywhere, so the policy needs neither 'unsafe-inline' nor nonces. Trusted Types are
not asked for: the jQuery of Django's admin and Swagger UI write HTML as text, and would not start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
}
_UNUSED_FEATURES: Final = (
    "accelerometer", "autoplay", "browsing-topics", "camera", "display-capture", "encrypted-media", "geolocation",
    "gyroscope", "hid", "idle-detection", "magnetometer", "microphone", "midi", "payment", "picture-in-picture",
    "publickey-credentials-get", "screen-wake-lock", "serial", "sync-xhr", "usb", "xr-spatial-tracking",
)  # fmt: skip
_SWAGGER_UI: Final = "/api/v1/docs"


def content_security_policy(**changes: str) -> str:
    """Return the policy as the header has it (CSP Level 3).

    Args:
        changes: sources of directives that differ, by their names with underscores.
    """
    policy = _POLICY | {name.replace("_", "-"): sources for name, sources in changes.items()}
    return "; ".join(f"{name} {sources}" for name, sources in policy.items())


HEADERS: Final = {
    "Content-Security-Policy": content_security_policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED_FEATURES),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer, also on those that the web server gives by itself."""

_WITH_DATA_IMAGES: Final = content_security_policy(img_src="'self' data:")  # in the style sheet of Swagger UI


class SecurityHeadersMiddleware:
    """Completes every answer, whoever gave it; stands before all other middleware.

    Strict-Transport-Security comes from Django's SecurityMiddleware, which knows whether a request came by HTTPS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.path == _SWAGGER_UI:
            response.headers["Content-Security-Policy"] = _WITH_DATA_IMAGES
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        return response
