"""Addresses of the admin, and reading its pages."""

from __future__ import annotations

from html import unescape

from django.urls import reverse


def at(model: str, page: str, *args: object) -> str:
    """Return an address, such as at("erpconnection", "change", pk)."""
    app = (
        "tenants" if model in ("organization", "apikey", "serviceaccount", "invitation", "auditevent") else "connectors"
    )
    return reverse(f"admin:{app}_{model}_{page}", args=args)


def text(response: object) -> str:
    """Return a page as a person reads it: with its entities resolved."""
    return unescape(response.content.decode())


def messages(response: object) -> list[str]:
    """Return what stands above the page."""
    return [str(message) for message in response.context["messages"]]
