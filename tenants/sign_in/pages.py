"""The pages of signing in: password, code, and the second factor of the person who looks."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlencode

import segno
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import REDIRECT_FIELD_NAME, get_user_model, login
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.safestring import SafeString, mark_safe
from django.views.generic.edit import FormView

from tenants.sign_in import lockout, second_factor
from tenants.sign_in.confirmation import CodeInput, recently_confirmed
from tenants.sign_in.events import note
from tenants.sign_in.models import provisioning_uri, shown

ISSUER: Final = "ERP Connector"

_HALF_WAY: Final = "half_way"
_HALF_WAY_SECONDS: Final = 300
_GROUP: Final = 4


class CodeForm(forms.Form):
    """One code."""

    code = forms.CharField(
        max_length=40,
        label="Code from your authenticator app",
        widget=CodeInput(autofocus=True),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what any form takes."""
        super().__init__(*args, **kwargs)
        self.label_suffix = ""


class PasswordStep(LoginView):
    """The first step of signing in; the only one for people without a second factor."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in, or go on to the code."""
        user = form.get_user()
        if second_factor.of(user) is None:
            return super().form_valid(form)
        self.request.session.cycle_key()
        self.request.session[_HALF_WAY] = {
            "user": user.pk,
            "backend": user.backend,
            "credentials": user.get_session_auth_hash(),
            "at": int(time.time()),
        }
        target = urlencode({REDIRECT_FIELD_NAME: self.get_success_url()})
        return HttpResponseRedirect(f"{reverse('admin:login_code')}?{target}")


class CodeStep(RedirectURLMixin, FormView):
    """The second step of signing in: nobody is signed in before."""

    form_class = CodeForm
    template_name = "admin/login_code.html"
    next_page = "admin:index"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Send whoever did not give a password a moment ago back to the first step."""
        self.user = _half_way(request)
        if self.user is None:
            messages.info(request, "Sign in with your password first.")
            return redirect("admin:login")
        if lockout.is_locked_out(request, self.user):
            return lockout.answer(request)
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in when the code is right; else count the guess."""
        user: Any = self.user
        authenticator = second_factor.verify(user, form.cleaned_data["code"])
        if authenticator is None:
            lockout.count_failure(self.request, user)
            form.add_error("code", "That code is wrong or was used already. Wait for the next one and try again.")
            return self.form_invalid(form)
        backend = self.request.session.pop(_HALF_WAY)["backend"]
        user.otp_device = authenticator
        login(self.request, user, backend=backend)
        return super().form_valid(form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the page shows, in the frame of the admin."""
        frame = {**admin.site.each_context(self.request), "title": "Enter your code", "subtitle": None}
        return super().get_context_data(**kwargs) | frame | {"next": self.get_redirect_url()}


def _half_way(request: HttpRequest) -> Any:
    """Return who gave the right password a moment ago and has yet to give a code, or None."""
    kept = request.session.get(_HALF_WAY)
    if kept is None or time.time() - kept["at"] >= _HALF_WAY_SECONDS:
        return None
    user = get_user_model()._default_manager.filter(pk=kept["user"], is_active=True, is_staff=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), kept["credentials"]):
        return None
    return user


@recently_confirmed()
def enrol(request: HttpRequest) -> HttpResponse:
    """Offer a secret as a QR code and as text, and take it once its first code was given."""
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        codes = second_factor.enrol(request, form.cleaned_data["code"])
        if codes is not None:
            return _recovery_codes(request, codes, is_new=True)
        form.add_error("code", "That is not the code of this secret for now. Is the clock of your device right?")
    secret = second_factor.pending_secret(request)
    return _page(
        request,
        "admin/second_factor/enrol.html",
        title="Set up a second factor",
        form=form,
        picture=_picture(provisioning_uri(secret, issuer=ISSUER, account=request.user.get_username())),
        secret=" ".join(_groups(shown(secret))),
        replaces=second_factor.of(request.user) is not None,
        is_required=second_factor.is_required(),
    )


def overview(request: HttpRequest) -> HttpResponse:
    """Show the person's second factor and what can be done with it."""
    return _page(
        request,
        "admin/second_factor/overview.html",
        title="Second factor",
        authenticator=second_factor.of(request.user),
        codes_left=second_factor.recovery_codes_left(request.user),
        is_required=second_factor.is_required(),
    )


@recently_confirmed()
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Issue fresh recovery codes and show them once."""
    if second_factor.of(request.user) is None:
        return redirect("admin:second_factor")
    return _recovery_codes(request, second_factor.renew_recovery_codes(request))


@recently_confirmed()
def remove(request: HttpRequest) -> HttpResponse:
    """Remove the person's second factor, where it may be done without."""
    if second_factor.is_required():
        messages.error(request, "Staff needs a second factor here. Set up another device instead.")
    elif second_factor.remove(request.user, but=request.session):
        note(request, "second_factor.removed")
        messages.success(request, "Your second factor is removed: your password is enough to sign in.")
    return redirect("admin:second_factor")


@recently_confirmed()
def confirm(request: HttpRequest) -> HttpResponse:
    """Confirm it is you, for what the API asks it for."""
    messages.success(request, "Confirmed. For five minutes you are not asked again.")
    return redirect("admin:index")


def _recovery_codes(request: HttpRequest, codes: list[str], *, is_new: bool = False) -> HttpResponse:
    title = "Your recovery codes"
    return _page(request, "admin/second_factor/recovery_codes.html", title=title, codes=codes, is_new=is_new)


def _page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    response = TemplateResponse(request, template, {**admin.site.each_context(request), **context})
    response["Cache-Control"] = "no-store"
    return response


def _picture(text: str) -> SafeString:
    """Return a QR code as SVG without styles, dark on light in any theme."""
    code = segno.make(text, error="m", micro=False)
    return mark_safe(code.svg_inline(scale=5, light="#fff", dark="#000"))  # noqa: S308  # nosec B308 B703  # our own


def _groups(text: str) -> list[str]:
    return [text[at : at + _GROUP] for at in range(0, len(text), _GROUP)]
