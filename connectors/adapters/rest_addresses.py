"""The addresses of REST_API: paths and queries in which the numbers of an order stand in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import quote

import httpx2
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from connectors.exceptions import DocumentError
from connectors.order import Order
from connectors.port import Awaited, ExportContext
from connectors.transports.http_auth import HeaderName
from connectors.validation import Line

_PATH: Final = re.compile(r"[\w.~!$&'()*+,;=:@%/{}-]*", re.ASCII)
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS: Final = ("export_id", "order_id", "reference", "erp_order_id")
_PLAIN_VALUE: Final = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or ".." in text or "//" in text or "%2e" in text.lower():
        raise PydanticCustomError("path", "must be a path below the address, without query and without ..")
    return _template(text)


def _template(text: str) -> str:
    named, rest = _PLACEHOLDER.findall(text), _PLACEHOLDER.sub("", text)
    if set(named) - set(_PLACEHOLDERS) or "{" in rest or "}" in rest:
        known = ", ".join(_PLACEHOLDERS)
        raise PydanticCustomError("placeholder", "may name {known} in braces and nothing else", {"known": known})
    return text


Path = Annotated[str, Field(max_length=500), AfterValidator(_path)]
Value = Annotated[str, Field(pattern=_PLAIN_VALUE, max_length=500)]
Query = Annotated[
    dict[Annotated[Line, Field(max_length=100)], Annotated[Value, AfterValidator(_template)]],
    Field(max_length=30),
]
Headers = Annotated[dict[HeaderName, Value], Field(max_length=30)]


def fill(template: str, values: Mapping[str, str | None]) -> str | None:
    """Return a path with its placeholders filled and quoted; None when one of them is not known.

    Raises:
        DocumentError: what is filled in would lead out of the folder.
    """
    if any(not values.get(name) for name in _PLACEHOLDER.findall(template)):
        return None
    filled = _PLACEHOLDER.sub(lambda found: quote(values[found[1]] or "", safe=""), template)
    if any(part in (".", "..") for part in filled.split("/")):
        raise DocumentError(where=" (its number cannot stand in an address)")
    return filled


def fill_query(query: Mapping[str, str], values: Mapping[str, str | None]) -> dict[str, str]:
    """Return parameters with their placeholders filled; quoting is left to the transport."""
    return {
        name: _PLACEHOLDER.sub(lambda found: values.get(found[1]) or "", template) for name, template in query.items()
    }


def values_of(order: Order, names: ExportContext | Awaited) -> dict[str, str | None]:
    """Return what placeholders stand for."""
    return {
        "export_id": str(names.export_id),
        "order_id": order.order_id,
        "reference": order.header.external_order_number,
        "erp_order_id": names.erp_order_id if isinstance(names, Awaited) else None,
    }


def address(base_url: str, path: str) -> str:
    """Return the whole address of a path."""
    return f"{base_url.rstrip('/')}/{path.lstrip('/')}"


def location_of(request_url: str, location: str | None) -> str | None:
    """Return where the Location of an answer leads, if that is at the same server."""
    if not location or len(location) > 1000:
        return None
    try:
        base = httpx2.URL(request_url)
        url = base.join(location)
        is_ours = url.origin == base.origin and not url.userinfo
    except (httpx2.InvalidURL, ValueError):
        return None
    return str(url.copy_with(fragment=None)) if is_ours else None
