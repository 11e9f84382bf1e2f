"""Accounts of people in the admin: Django's, guarded, audited, and with the way out of a lost second factor."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.http import require_POST

from tenants.sign_in import confirmation, second_factor, sessions
from tenants.sign_in.events import note
from tenants.sign_in.models import Authenticator

admin.site.unregister(User)


@admin.register(User)
class AccountAdmin(UserAdmin):
    """Who has an account at all; for superusers. Whatever is changed here is confirmed first."""

    change_form_template = "admin/auth/user/change_form.html"
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "has_second_factor", "last_login")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the accounts, each with whether it has a second factor."""
        has_one = models.Exists(Authenticator.objects.filter(user_id=models.OuterRef("pk")))
        return super().get_queryset(request).annotate(has_second_factor=has_one)

    @admin.display(description="second factor", boolean=True)
    def has_second_factor(self, user: Any) -> bool:
        """Return whether the person has a second factor."""
        return bool(user.has_second_factor)

    def get_urls(self) -> list[Any]:
        """Add the page that takes a second factor away."""
        reset = self.admin_site.admin_view(require_POST(self.reset_second_factor))
        return [
            path("<int:object_id>/reset-second-factor/", reset, name="auth_user_reset_second_factor"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show the list; its actions delete accounts."""
        return confirmation.demand(request, ("POST",)) or super().changelist_view(request, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show the form, to be saved by whoever has confirmed who they are."""
        return confirmation.demand(request, ("POST",)) or super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """As above."""
        return confirmation.demand(request, ("POST",)) or super().delete_view(request, *args, **kwargs)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        """Give an account another password, after which its sessions are over."""
        unconfirmed = confirmation.demand(request, ("POST",))
        if unconfirmed:
            return unconfirmed
        answer = super().user_change_password(request, id, form_url)
        person = self.get_object(request, id)
        if person and answer.status_code == HTTPStatus.FOUND:
            note(request, "account.password_changed", person)
            sessions.end_all(person, but=request.session)
        return answer

    def reset_second_factor(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Take the second factor from somebody who lost it, with a reason."""
        if not request.user.is_superuser:
            raise PermissionDenied
        person = self.get_object(request, str(object_id))
        if person is None:
            raise Http404
        unconfirmed = confirmation.demand(request)
        if unconfirmed:
            return unconfirmed
        reason = request.POST.get("reason", "").strip()
        if "confirmed" not in request.POST or not 0 < len(reason) <= 200:
            return self._ask_why(request, person)
        with transaction.atomic():
            if second_factor.remove(person, but=request.session if person.pk == request.user.pk else None):
                note(request, "second_factor.reset", person, reason=reason)
        messages.success(request, f"{person} has no second factor any more and is signed out everywhere.")
        return redirect("admin:auth_user_change", person.pk)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Save, and write it into the audit trail; what was typed as a password has no place there."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            fields = [name for name in form.changed_data if "password" not in name]
            rights = {name: getattr(obj, name) for name in ("is_active", "is_staff", "is_superuser")}
            note(request, "account.changed" if change else "account.created", obj, fields=fields, **rights)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete, and write it into the audit trail."""
        with transaction.atomic():
            note(request, "account.deleted", obj, username=obj.get_username())
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """As above, for several."""
        for person in queryset:
            self.delete_model(request, person)

    def _ask_why(self, request: HttpRequest, person: Any) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "original": person,
            "title": "Reset second factor",
            "question": "Make sure that it is really them who ask, by voice or in person.",
            "consequences": [
                "All sessions of this person end.",
                "At the next sign-in the password is enough"
                + (", and another device has to be set up." if second_factor.is_required() else "."),
            ],
            "objects": [person],
            "button": "Reset second factor",
            "hidden": [("confirmed", "yes")],
            "asks_why": True,
            "is_reason_missing": "confirmed" in request.POST,
            "back": "../change/",
        }
        return TemplateResponse(request, "admin/confirm.html", context)
