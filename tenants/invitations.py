"""The page on which an invitation is accepted: enter its code, then sign in or choose a password.

The link in the mail carries the code behind the hash sign; a script of the page puts it into the form. So the code
stands in no address that a server, a proxy or a log gets to see.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from tenants import members
from tenants.actors import Actor, ActorKind
from tenants.errors import InvitationIsOver
from tenants.models import Invitation

_KEPT: Final = "invitation"
"""Where the session keeps the hash of the token that was shown."""


class CodeForm(forms.Form):
    """The code of an invitation."""

    code = forms.CharField(
        max_length=100,
        label="Invitation code",
        help_text="From the e-mail.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def clean_code(self) -> str:
        """Look the invitation up; which way it is no good is not said."""
        self.invitation = members.find(self.cleaned_data["code"].strip())
        if self.invitation is None:
            raise forms.ValidationError("This code is wrong, or it is good no more. Ask to be invited again.")
        return str(self.cleaned_data["code"])


@never_cache
@csrf_protect
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Ask for the code, then for what it takes to accept."""
    kept = request.session.get(_KEPT)
    invitation = members.find_by_hash(kept) if kept else None
    if invitation is None or "code" in request.POST:
        return _ask_for_code(request)
    if admin.site.has_permission(request):
        return _accept_as(request, invitation)
    if members.has_account(invitation):
        return HttpResponseRedirect(f"{reverse('admin:login')}?next={request.path}")
    return _accept_as_newcomer(request, invitation)


def _ask_for_code(request: HttpRequest) -> HttpResponse:
    form = CodeForm(request.POST if "code" in request.POST else None, label_suffix="")
    if form.is_valid() and form.invitation is not None:
        request.session[_KEPT] = form.invitation.token_sha256
        return HttpResponseRedirect(request.path)
    return _show(request, "code", form=form)


def _accept_as(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    """Let who is signed in accept, if the invitation went to their address."""
    if not members.is_for(invitation, request.user):
        return _show(request, "other_person")
    if request.method != "POST":
        return _show(request, "accept", invitation=invitation)
    return _accept(request, invitation, request.user, "admin:index", "You are a member of {} now.")


def _accept_as_newcomer(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    """Let a person without an account choose a password for one."""
    user: Any = get_user_model()(username=members.user_name_for(invitation), email=invitation.email, is_staff=True)
    form = SetPasswordForm(user, request.POST or None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        form.save(commit=False)
        told = "You are a member of {} now. Sign in as {}."
        return _accept(request, invitation, user, "admin:login", told)
    return _show(request, "newcomer", invitation=invitation, form=form, user_name=user.get_username())


def _accept(request: HttpRequest, invitation: Invitation, user: Any, then: str, told: str) -> HttpResponse:
    actor = Actor(
        kind=ActorKind.USER,
        id=str(user.pk or ""),
        label=user.get_username(),
        address=request.META.get("REMOTE_ADDR") or None,
        request_id=request.META.get("HTTP_X_REQUEST_ID", ""),
    )
    try:
        members.accept(invitation, actor, user)
    except InvitationIsOver as error:
        messages.error(request, f"{error.message} {error.hint}")
    else:
        messages.success(request, told.format(invitation.org.name, user.get_username()))
    del request.session[_KEPT]
    return HttpResponseRedirect(reverse(then))


def _show(request: HttpRequest, step: str, **context: Any) -> HttpResponse:
    frame = {**admin.site.each_context(request), "title": "Invitation", "subtitle": None, "step": step}
    request.current_app = admin.site.name  # what the url tag goes by
    return TemplateResponse(request, "admin/invitation.html", frame | context)
