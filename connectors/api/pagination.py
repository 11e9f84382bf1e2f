"""Cursor pagination: a page begins after the row where the last one ended, however many rows were added meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.exceptions import Fault, InvalidInput

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
PARAMETERS: Final = frozenset({"limit", "cursor"})


def paginate(
    request: Request, rows: QuerySet[Any], show: Callable[[Any], Any], *, place: Sequence[str] = ()
) -> Response:
    """Return one page of `rows` as `{"results", "next", "previous"}`.

    Args:
        request: with `limit` and `cursor` in its query.
        rows: models or named rows, in the default order of their model, whose last field is unique.
        show: how a row is shown.
        place: the attributes of a row that say where in that order it stands; by default those the order names.

    Raises:
        InvalidInput: the limit is out of range, or the cursor is not one of this list.
    """
    limit = _limit(request)
    backwards, position = _open_cursor(request, rows.model)
    if position is not None:
        rows = rows.filter(_beyond(rows.model, position, backwards=backwards))
    found = list((rows.reverse() if backwards else rows)[: limit + 1])
    page, has_more = found[:limit], len(found) > limit
    if backwards:
        page.reverse()
    has_next = has_more or backwards
    has_previous = position is not None and (has_more or not backwards)

    def link(row: Any, *, backwards: bool) -> str:
        values = [_plain(getattr(row, name)) for name in place or _ordering(rows.model)[0]]
        return _link(request, _signer(rows.model).sign_object((backwards, values)))

    return Response(
        {
            "results": [show(row) for row in page],
            "next": link(page[-1], backwards=False) if page and has_next else None,
            "previous": link(page[0], backwards=True) if page and has_previous else None,
        }
    )


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidInput([Fault(path="limit", message=f"must be a whole number from 1 to {MAX_LIMIT}", code="range")])
    return int(text)


def _open_cursor(request: Request, model: type[Model]) -> tuple[bool, list[Any] | None]:
    cursor = request.query_params.get("cursor")
    if cursor is None:
        return False, None
    try:
        # Signed, so that what comes back is what was given out: no other check of its content is needed.
        backwards, position = _signer(model).unsign_object(cursor)
        return backwards, position
    except signing.BadSignature:
        pass
    raise InvalidInput([Fault(path="cursor", message="is not a cursor of this list; start without one", code="cursor")])


def _beyond(model: type[Model], position: list[Any], *, backwards: bool) -> Q:
    """Return the condition for rows after `position`, or before it when going backwards."""
    names, descending = _ordering(model)
    operator = "lt" if descending is not backwards else "gt"
    if len(names) == 1:
        return Q(**{f"{names[0]}__{operator}": position[0]})
    (first, last), (at, tie) = names, position
    # The range stands outside the alternative, so that the database walks the index from there.
    return Q(**{f"{first}__{operator}e": at}) & (Q(**{f"{first}__{operator}": at}) | Q(**{f"{last}__{operator}": tie}))


def _link(request: Request, cursor: str) -> str:
    query = request.query_params.copy()
    query["cursor"] = cursor
    return f"{request.build_absolute_uri(request.path)}?{query.urlencode()}"


def _ordering(model: type[Model]) -> tuple[list[str], bool]:
    ordering = [str(name) for name in model._meta.ordering or ()]
    names = [name.removeprefix("-") for name in ordering]
    return ["pk" if name == "id" else name for name in names], ordering[0].startswith("-")


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
    return value


def _signer(model: type[Model]) -> signing.Signer:
    # Without a time stamp: the same page has the same cursors, whenever it is asked for.
    return signing.Signer(salt=f"api.cursor.{model._meta.label_lower}")
