"""Staff of one organisation sees and touches nothing of another: every address of the admin.

The addresses come from the URL table and the models from the admin's registry, so that a new page is asked for too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.admin.options import ModelAdmin
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver

from connectors.tests.security.belongings import HOW, Belongings
from tenants.models import Organization, Role

pytestmark = pytest.mark.usefixtures("_no_limits")

_OF_THE_PAGE = re.compile(r'csrfmiddlewaretoken" value="[^"]*"|nonce="[^"]*"|nonce-[A-Za-z0-9_+/=-]+')
_PLACE = re.compile(r"<(?:\w+:)?(\w+)>")
_ENDS_THE_SESSION = {"logout", "login"}


def addresses(resolver: URLResolver, before: str = "/") -> Iterator[tuple[str, str]]:
    """Yield the address and the name of each page."""
    for each in resolver.url_patterns:
        text = before + str(each.pattern).removesuffix("$")
        if isinstance(each, URLResolver):
            yield from addresses(each, text)
        elif isinstance(each, URLPattern) and each.name not in _ENDS_THE_SESSION and "(?P<" not in text:
            yield text, each.name or ""


PAGES = [page for page in addresses(get_resolver()) if page[0].startswith("/admin/")]
WITHOUT_IDS = [address for address, _ in PAGES if "<" not in address]


def kind_of(address: str) -> type[models.Model] | None:
    """Return the model that a page is about."""
    parts = address.split("/")
    found = [model for model in admin.site._registry if parts[2:4] == [model._meta.app_label, model._meta.model_name]]
    return found[0] if found else None


def belongs_to_an_organization(model: type[models.Model]) -> bool:
    return model is Organization or any(field.name == "org" for field in model._meta.fields)


def shown(answer: Any, *ids: object) -> str:
    """Return what an answer says, without what differs with each request and without the ids that were asked for."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    headers = {name: answer.headers.get(name) for name in ("Content-Type", "Location", "Content-Disposition", "Allow")}
    text = _OF_THE_PAGE.sub("", f"{answer.status_code} {headers} {content.decode()}")
    for each in ids:
        text = text.replace(f"/{each}/", "/ID/")
    return text


def test_there_is_a_sample_for_every_model(own):
    missing = [
        model._meta.label for model in admin.site._registry if belongs_to_an_organization(model) and not own.row(model)
    ]
    assert not missing, f"{missing} have admin pages, but there is no row of that kind: {HOW}"


@pytest.fixture
def staff(own, person, sign_in):
    """Return a function that signs somebody of the organisation in."""
    return lambda role: sign_in(person(own.org, role))


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
def test_another_organisations_row_is_as_good_as_none(own, foreign, staff, role):
    client, before, faults = staff(role), foreign.fingerprint(), []

    for address, _ in PAGES:
        model = kind_of(address)
        if "<" not in address or model is None:
            continue
        row = foreign.row(model) or model._default_manager.first()
        if row is None:
            continue  # the installation's own, of which there is none
        unknown = uuid4() if isinstance(row._meta.pk, models.UUIDField) else type(row.pk)("987654321")
        for method in ("get", "post"):
            answers = [
                getattr(client, method)(_PLACE.sub(str(key), address), {"confirmed": "yes", "post": "yes"})
                for key in (row.pk, unknown)
            ]
            if answers[0].status_code not in (302, 403, 404, 405):
                faults.append(f"{method} {address}: {answers[0].status_code}")
            if shown(answers[0], row.pk) != shown(answers[1], unknown):
                faults.append(f"{method} {address}: another's can be told from nobody's")
            if told := foreign.betrayed_by(shown(answers[0]), said=str(row.pk)):
                faults.append(f"{method} {address}: the page tells {told}")

    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
def test_no_page_tells_of_another(own, foreign, staff, role):
    client, before, faults = staff(role), foreign.fingerprint(), []

    own_pages = [
        _PLACE.sub(str(own.row(model).pk), address)
        for address, _ in PAGES
        if "<" in address and (model := kind_of(address)) and own.row(model)
    ]
    for address in (*WITHOUT_IDS, *own_pages):
        answer = client.get(address)
        if answer.status_code not in (200, 302, 403, 404, 405):
            faults.append(f"{address}: {answer.status_code}")
        if told := foreign.betrayed_by(shown(answer)):
            faults.append(f"{address}: the page tells {told}")

    assert not faults, "\n".join(faults)
    assert foreign.fingerprint() == before


def lists() -> Iterator[tuple[type[models.Model], ModelAdmin[Any], str]]:
    for model, page in admin.site._registry.items():
        yield model, page, f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def questions(model: type[models.Model], page: ModelAdmin[Any], foreign: Belongings) -> Iterator[dict[str, str]]:
    """Yield what a list can be asked about another organisation: by search, by filter, by any column."""
    yield {"q": foreign.word}
    yield {"q": str(foreign.row(model).pk if foreign.row(model) else foreign.org.pk)}
    for field in model._meta.fields:
        if isinstance(field, models.ForeignKey):
            for row in (*foreign.rows.values(), *foreign.others):
                if isinstance(row, field.related_model):
                    yield {f"{field.name}__{row._meta.pk.name}__exact": str(row.pk)}
                    for text in ("name", "slug", "username", "order_id"):
                        if any(column.name == text for column in row._meta.fields):
                            yield {f"{field.name}__{text}__startswith": foreign.word[:3]}


def test_no_list_finds_what_is_anothers(own, foreign, staff):
    client, faults = staff(Role.ADMIN), []

    for model, page, address in lists():
        for question in questions(model, page, foreign):
            answer = client.get(address, question)
            if answer.status_code == 200 and answer.context and (found := answer.context.get("cl")):
                keys = {row.pk for row in found.result_list}
                if model in map(type, (*foreign.rows.values(), *foreign.others)) and foreign.row(model).pk in keys:
                    faults.append(f"{address}?{question}: is found")
            if told := foreign.betrayed_by(shown(answer), said=str(question)):
                faults.append(f"{address}?{question}: tells {told}")

    assert not faults, "\n".join(faults)


def test_no_action_reaches_what_is_anothers(own, foreign, staff):
    client, before = staff(Role.ADMIN), foreign.fingerprint()

    for model, page, address in lists():
        row = foreign.row(model)
        for _, action, _ in page._get_base_actions() if row else ():
            for across in ("0", "1"):
                form = {"action": action, "_selected_action": row.pk, "select_across": across, "reason": "x"}
                answer = client.post(address, form | {"confirmed": "yes", "post": "yes"})
                assert answer.status_code in (200, 302, 403), (address, action)
                assert not foreign.betrayed_by(shown(answer), said=str(row.pk)), (address, action)

    assert foreign.fingerprint() == before


def test_no_choice_is_anothers(own, foreign, staff):
    """What Django's own helpers of the admin hand out: choices, and the way to a row on the site."""
    client = staff(Role.ADMIN)

    for model, _, _ in lists():
        for field in model._meta.fields:
            if isinstance(field, models.ForeignKey):
                question = {
                    "app_label": model._meta.app_label,
                    "model_name": model._meta.model_name,
                    "field_name": field.name,
                    "term": foreign.word[:4],
                }
                answer = client.get("/admin/autocomplete/", question)
                assert not foreign.betrayed_by(shown(answer), said=str(question)), question


def test_no_form_takes_what_is_anothers(own, foreign, staff):
    """Every add page and every change page of one's own, with another's key in every choice."""
    client, before = staff(Role.ADMIN), foreign.fingerprint()

    for model, _, address in lists():
        wishes: dict[str, str] = {"name": "mine", "slug": "mine", "role": Role.ADMIN, "_save": "Save"}
        for field in model._meta.fields:
            if isinstance(field, models.ForeignKey):
                for row in (*foreign.rows.values(), *foreign.others):
                    if isinstance(row, field.related_model):
                        wishes[field.name] = str(row.pk)
        pages = [f"{address}add/", f"{address}add/?org={foreign.org.pk}&connector_type=MOCK"]
        if row := own.row(model):
            pages.append(f"{address}{row.pk}/change/")
        for page in pages:
            answer = client.post(page, wishes)
            assert answer.status_code in (200, 302, 403, 404), page
            assert not foreign.betrayed_by(shown(answer), said=f"{page} {wishes}"), page

    assert foreign.fingerprint() == before
