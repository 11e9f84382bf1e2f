"""Confirm it is you: before anything sensitive, whoever signed in a while ago gives password and code again.

A session that is stolen, or left open on a desk, reveals no secret and issues no credential. The page stands in place
of the one that was asked for. What was sent there waits in it, sealed, and goes on when the answer is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_variables

from tenants.sign_in import lockout, sealing, second_factor
from tenants.sign_in.events import note

RECENT_SECONDS: Final = 300

_CONFIRMED_AT: Final = "confirmed_at"
_HELD: Final = "confirm-held"
_P = ParamSpec("_P")


class CodeInput(forms.PasswordInput):
    """A code to be read while it is typed, and not repeated by the page that refuses it."""

    input_type = "text"

    def __init__(self, **attrs: Any) -> None:
        """Take further attributes of the element."""
        super().__init__({"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false", **attrs})


class ConfirmationForm(forms.Form):
    """Password and, of who has one, the second factor."""

    prefix = "confirm"
    use_required_attribute = True

    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True})
    )
    code = forms.CharField(
        max_length=40,
        label="Code",
        help_text="From your authenticator app, or a recovery code.",
        widget=CodeInput(),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Ask only for what the person has."""
        super().__init__(*args, **kwargs)
        self.request = request
        self.label_suffix = ""
        if second_factor.of(request.user) is None:
            del self.fields["code"]

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        """Check the password, then the code; a wrong one of either counts towards the lock-out."""
        given = super().clean() or {}
        if self.errors:
            return given
        user: Any = self.request.user
        found = authenticate(self.request, username=user.get_username(), password=given["password"])
        if found is None or found.pk != user.pk:
            raise forms.ValidationError("That is not right. Try again.", code="invalid")
        if "code" in self.fields and second_factor.verify(user, given["code"]) is None:
            lockout.count_failure(self.request, user)
            raise forms.ValidationError("That is not right. Wait for the next code and try again.", code="invalid")
        return given


def confirm(request: HttpRequest) -> None:
    """Note that it is the person themselves, now."""
    request.session[_CONFIRMED_AT] = int(time.time())


def is_recent(request: HttpRequest) -> bool:
    """Return whether the signed-in person showed it a moment ago."""
    return bool(time.time() - request.session.get(_CONFIRMED_AT, 0) < RECENT_SECONDS)


def recently_confirmed(
    *methods: str,
) -> Callable[
    [Callable[Concatenate[HttpRequest, _P], HttpResponseBase]], Callable[Concatenate[HttpRequest, _P], HttpResponseBase]
]:
    """Guard a page of the admin: it opens when the person has confirmed a moment ago that it is them.

    Args:
        methods: that are guarded; none means all of them.
    """

    def decorate(
        page: Callable[Concatenate[HttpRequest, _P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, _P], HttpResponseBase]:
        @wraps(page)
        def guarded(request: HttpRequest, /, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponseBase:
            return demand(request, methods) or page(request, *args, **kwargs)

        return guarded

    return decorate


def demand(request: HttpRequest, methods: Collection[str] = ()) -> HttpResponseBase | None:
    """Return the page that asks for confirmation, or None when the request may go on.

    For a method of a ModelAdmin: `return confirmation.demand(request) or self.…`.

    Args:
        request: what is wanted; after a right answer it is again what was first sent.
        methods: that are guarded; none means all of them.
    """
    if methods and request.method not in methods:
        return None
    if _HELD in request.POST:
        return _answered(request)
    return None if is_recent(request) else _ask(request, ConfirmationForm(request), _hold(request))


def _answered(request: HttpRequest) -> HttpResponseBase | None:
    held = request.POST[_HELD]
    form = ConfirmationForm(request, request.POST)
    if not form.is_valid():
        return _ask(request, form, held)
    lockout.forget_failures(request, request.user)
    confirm(request)
    request.session.cycle_key()
    note(request, "sign_in.confirmed", path=request.path)
    sent = _release(request, held)
    if sent is None:  # it was only looked at: the address of the page does not stand for an answer
        return HttpResponseRedirect(request.get_full_path())
    request.POST = sent  # type: ignore[assignment]  # the stubs know a request as it came in
    return None


def _ask(request: HttpRequest, form: ConfirmationForm, held: str) -> TemplateResponse:
    from django.contrib import admin  # whose site imports us

    context = {
        **admin.site.each_context(request),
        "title": "Confirm it is you",
        "form": form,
        "held_name": _HELD,
        "held": held,
        "is_something_held": bool(held),
    }
    response = TemplateResponse(request, "admin/confirm_identity.html", context)
    response["Cache-Control"] = "no-store"
    return response


def _hold(request: HttpRequest) -> str:
    """Return what was sent, sealed: it may hold secrets, and goes through a page."""
    if request.method != "POST":
        return ""
    return sealing.seal(request.POST.urlencode().encode(), purpose=_purpose(request), owner=request.user.pk).hex()


def _release(request: HttpRequest, held: str) -> QueryDict | None:
    if not held:
        return None
    try:
        sent = sealing.unseal(bytes.fromhex(held), purpose=_purpose(request), owner=request.user.pk)
    except (sealing.Unreadable, ValueError):
        return None
    return QueryDict(sent, encoding=request.POST.encoding)


def _purpose(request: HttpRequest) -> str:
    return f"held request to {request.get_full_path()}"
