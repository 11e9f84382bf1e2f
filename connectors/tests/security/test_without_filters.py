"""The database alone keeps organisations apart: without the filters in Python a request sees no foreign row either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet

from connectors.models import ERPConnection
from connectors.tests.api.test_access import filled, operations, undone
from connectors.tests.security.test_cross_tenant import BODIES, places, read
from connectors.tests.security.test_cross_tenant_admin import _PLACE, PAGES, WITHOUT_IDS, kind_of, shown
from tenants import scope
from tenants.admin import OrganizationScopedAdmin
from tenants.models import Role
from tenants.querysets import OrganizationScopedQuerySet

pytestmark = pytest.mark.usefixtures("_no_limits")


def _without_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrganizationScopedQuerySet, "of", lambda rows, org: rows.all())


def _without_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop every condition on the organisation, wherever it is given."""
    filtered = QuerySet._filter_or_exclude

    def is_about_the_organization(name: str) -> bool:
        return name.split("__")[0] in ("org", "org_id")

    def stripped(condition: Any) -> Any:
        if not isinstance(condition, Q):
            return condition
        left = [
            stripped(each)
            for each in condition.children
            if not (isinstance(each, tuple) and is_about_the_organization(each[0]))
        ]
        return Q(*left, _connector=condition.connector, _negated=condition.negated)

    def unfiltered(rows: Any, negate: bool, args: Any, kwargs: Any) -> Any:
        kept = {name: value for name, value in kwargs.items() if not is_about_the_organization(name)}
        return filtered(rows, negate, tuple(map(stripped, args)), kept)

    monkeypatch.setattr(QuerySet, "_filter_or_exclude", unfiltered)


def _without_the_fence_of_the_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrganizationScopedAdmin, "get_queryset", ModelAdmin.get_queryset)


REMOVALS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    _without_of,
    _without_conditions,
    _without_the_fence_of_the_admin,
)


@pytest.mark.parametrize("remove", REMOVALS[:2])
def test_nothing_in_python_holds_then(own, foreign, monkeypatch, remove):
    """Else the tests below would show nothing."""
    remove(monkeypatch)

    with scope.everything():
        assert foreign.rows["connection_id"] in ERPConnection.objects.of(own.org)


@pytest.mark.parametrize("remove", REMOVALS[:2])
def test_the_api_tells_nothing(own, foreign, caller, monkeypatch, remove):
    call, before, faults = caller(own.org), foreign.fingerprint(), []
    remove(monkeypatch)

    for method, route in operations():
        for ids in (own.ids, foreign.ids) if places(route) else (own.ids,):
            with undone():
                answer = call(method, filled(route, ids | {"connector_type": "MOCK"}), BODIES.get((method, route)))
            if ids is foreign.ids and answer.status_code != 404:
                faults.append(f"{method} {route}: another's answers {answer.status_code}")
            if told := foreign.betrayed_by(read(answer), said=str(ids)):
                faults.append(f"{method} {route}: tells {told}")

    monkeypatch.undo()
    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before


@pytest.mark.parametrize("remove", REMOVALS)
def test_the_admin_tells_nothing(own, foreign, person, sign_in, monkeypatch, remove):
    client, before, faults = sign_in(person(own.org, Role.ADMIN)), foreign.fingerprint(), []
    remove(monkeypatch)

    rows = [(address, foreign.row(model)) for address, _ in PAGES if "<" in address and (model := kind_of(address))]
    for address, row in (*((address, None) for address in WITHOUT_IDS), *((a, row) for a, row in rows if row)):
        answer = client.get(_PLACE.sub(str(row.pk), address) if row else address)
        if row and answer.status_code not in (302, 403, 404, 405):
            faults.append(f"{address}: another's answers {answer.status_code}")
        if told := foreign.betrayed_by(shown(answer), said=str(row.pk) if row else ""):
            faults.append(f"{address}: tells {told}")

    monkeypatch.undo()
    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before
