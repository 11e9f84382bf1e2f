"""The admin of organisations, members, API keys and the audit trail, and the fence every other admin stands behind.

A superuser sees everything. Other staff see only the organisations they are members of, and there only what their role
allows; Django's own model permissions play no part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, Final, NoReturn
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.forms import (
    BaseFormSet,
    BaseInlineFormSet,
    BooleanField,
    CheckboxSelectMultiple,
    ModelForm,
    MultipleChoiceField,
)
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants import api_keys, members
from tenants.actors import Actor
from tenants.audit import INSTALLATION, AuditLink, AuditSeal, Changes
from tenants.errors import AccountDisabled, AccountNameTaken, BeyondAccount, Conflict, LastAdministrator
from tenants.middleware import roles_of
from tenants.models import ApiKey, AuditEvent, Invitation, Membership, Organization, ServiceAccount, record
from tenants.roles import ADMINISTER, ALL, CONFIGURE, Role, Scope, held_by
from tenants.sign_in import confirmation

NOBODY: Final[frozenset[Role]] = frozenset()
"""Only superusers."""

admin.site.site_header = "ERP Connector"
admin.site.enable_nav_sidebar = False  # the lists need its room
admin.site.site_title = "ERP Connector"
admin.site.index_title = "Overview"
admin.site.site_url = None


def actor_of(request: HttpRequest) -> Actor:
    """Return the signed-in person, as the audit trail records them."""
    return Actor.user(
        request.user,  # type: ignore[arg-type]  # the admin lets no anonymous user in
        address=request.META.get("REMOTE_ADDR") or None,
        request_id=request.META.get("HTTP_X_REQUEST_ID", ""),
    )


def organizations_of(request: HttpRequest, roles: Iterable[Role]) -> models.QuerySet[Organization]:
    """Return the organisations in which the signed-in person has one of these roles."""
    if request.user.is_superuser:
        return Organization.objects.all()
    wanted = set(roles)
    return Organization.objects.filter(pk__in=[org for org, role in roles_of(request).items() if role in wanted])


def has_role(request: HttpRequest, roles: Iterable[Role], org_id: UUID | None = None) -> bool:
    """Return whether the signed-in person has one of these roles in the organisation, or in any when it is None."""
    user = request.user
    if not (user.is_active and user.is_staff):
        return False
    if user.is_superuser:
        return True
    held = roles_of(request)
    return any(role in set(roles) for role in (held.values() if org_id is None else [held.get(org_id)]))


def badge(kind: str, text: object) -> SafeString:
    """Return a label with a symbol, so that its meaning does not hang on colour alone.

    Args:
        kind: good, bad, warn, wait or off.
        text: what it says.
    """
    symbol = {"good": "✓", "bad": "✕", "warn": "!", "wait": "…", "off": "○"}[kind]
    return format_html(
        '<span class="erp-badge erp-{}"><span class="erp-symbol" aria-hidden="true">{}</span>{}</span>',
        kind,
        symbol,
        text,
    )


class OccurringFilter(admin.RelatedFieldListFilter):
    """Narrows a list down to what belongs to one of the rows that occur in it.

    Each is looked for in the index of the foreign key; Django's own reads the whole list to find out.
    """

    def field_choices(self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Any:
        """Return the key and the name of each."""
        occurs = models.Exists(model_admin.get_queryset(request).filter(**{self.field_path: models.OuterRef("pk")}))
        ordering = self.field_admin_ordering(field, request, model_admin)
        return field.get_choices(include_blank=False, limit_choices_to=models.Q(occurs), ordering=ordering)


class OrganizationFilter(OccurringFilter):
    """Narrows a list down to one of the organisations that occur in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "organisation"


class BoundedPaginator(Paginator):
    """Counts no further than anybody turns pages: a long list costs as much as a short one."""

    MOST: Final = 10_000

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, or MOST if there are more."""
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: self.MOST].count())


class OrganizationScopedAdmin(admin.ModelAdmin):
    """Shows each person only the rows of their organisations, and asks their role there before anything is done."""

    paginator = BoundedPaginator
    org_field: ClassVar[str] = "org"
    """The path to the organisation's key, starting at this model."""
    may_view: ClassVar[frozenset[Role]] = NOBODY
    may_add: ClassVar[frozenset[Role] | None] = None
    """None: not through this page, not even a superuser."""
    may_change: ClassVar[frozenset[Role] | None] = None
    may_delete: ClassVar[frozenset[Role] | None] = None
    gives_access: ClassVar[bool] = False
    """Whether what is saved here lets somebody in, so that it has to be confirmed."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the rows of the organisations whose member may look at them."""
        rows = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        return rows.filter(**{f"{self.org_field}__in": organizations_of(request, self.may_view)})

    @admin.display(description="organisation", ordering="org")
    def organization(self, obj: Any) -> Organization | None:
        """Return the organisation a row belongs to."""
        org: Organization | None = obj.org
        return org

    def org_id_of(self, obj: Any) -> UUID:
        """Return the key of the organisation a row belongs to."""
        org_id: UUID = getattr(obj, f"{self.org_field}_id")
        return org_id

    def allows(self, request: HttpRequest, roles: frozenset[Role] | None, obj: Any = None) -> bool:
        """Return whether the person's role is among `roles`, in the organisation of `obj` or in any of theirs."""
        return roles is not None and has_role(request, roles, self.org_id_of(obj) if obj is not None else None)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may look at anything here."""
        return self.allows(request, self.may_view)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may look."""
        return self.allows(request, self.may_view, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may add one to any organisation."""
        return self.allows(request, self.may_add)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may change it."""
        return self.allows(request, self.may_change, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may delete it."""
        return self.allows(request, self.may_delete, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Leave out Django's bulk deletion, which would pass the audit trail by."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def find(self, request: HttpRequest, object_id: str, roles: frozenset[Role] | None) -> Any:
        """Return the row for a page of our own.

        Raises:
            Http404: there is none, or it is another organisation's.
            PermissionDenied: the person's role may not do this.
        """
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not self.allows(request, roles, obj):
            raise PermissionDenied
        return obj

    def post_only(self, suffix: str, view: Callable[..., HttpResponseBase]) -> URLPattern:
        """Return the route `<id>/<suffix>/` of a page that answers nothing but POST."""

        def guarded(request: HttpRequest, object_id: str) -> HttpResponseBase:
            return view(request, object_id) if request.method == "POST" else HttpResponseNotAllowed(["POST"])

        return self.page(f"<path:object_id>/{suffix}/", guarded, suffix)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show the form; where it gives access, save it only for somebody who confirmed who they are."""
        unconfirmed = confirmation.demand(request, ("POST",)) if self.gives_access else None
        return unconfirmed or super().changeform_view(request, *args, **kwargs)

    def page(self, route: str, view: Callable[..., HttpResponseBase], name: str) -> URLPattern:
        """Return a route of our own, behind the admin's login."""
        return path(
            route,
            self.admin_site.admin_view(view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_{name}",
        )

    def url(self, name: str, *args: Any) -> str:
        """Return the address of one of this admin's pages."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=args)

    def to(self, name: str, *args: Any) -> HttpResponseRedirect:
        """Send the person to one of this admin's pages."""
        return HttpResponseRedirect(self.url(name, *args))

    def render(self, request: HttpRequest, template: str, *, title: str, **context: Any) -> TemplateResponse:
        """Return a page of our own in the admin's frame."""
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, "title": title}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, frame | context)

    def confirm(
        self,
        request: HttpRequest,
        *,
        title: str,
        question: str,
        button: str,
        objects: Iterable[object] = (),
        consequences: Iterable[str] = (),
        hidden: Iterable[tuple[str, object]] = (),
        asks_why: bool = False,
        original: Any = None,
        back: str = "",
    ) -> TemplateResponse:
        """Return a page that asks before the same request is repeated with `confirmed`.

        Args:
            request: what shall be done.
            title: of the page.
            question: whether it shall.
            button: what does it.
            objects: to what.
            consequences: what follows from it.
            hidden: what is repeated with the request.
            asks_why: whether to ask for a `reason`, without which nothing is done.
            original: the row that it is about.
            back: where to go instead; by default to that row, or to the list.
        """
        return self.render(
            request,
            "admin/confirm.html",
            title=title,
            question=question,
            button=button,
            objects=list(objects),
            consequences=list(consequences),
            hidden=[("confirmed", "yes"), *hidden],
            asks_why=asks_why,
            is_reason_missing=asks_why and "confirmed" in request.POST,
            original=original,
            back=back or (self.url("change", original.pk) if original else self.url("changelist")),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page, with a link to the audit trail for those who may read it."""
        has_trail = self.model is not AuditEvent and has_role(request, CONFIGURE)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "has_trail": has_trail})

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the audit trail of this row instead of Django's own log."""
        obj = self.find(request, object_id, self.may_view)
        query = urlencode({"target_type": self.opts.model_name, "target_id": obj.pk})
        return HttpResponseRedirect(f"{reverse('admin:tenants_auditevent_changelist')}?{query}")

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write nothing: the audit trail has it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write nothing: the audit trail has it."""

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> NoReturn:
        # Django would send the person to the overview with a message; what is not theirs does not exist.
        raise Http404


class ReadOnlyAdmin(OrganizationScopedAdmin):
    """Rows that are only looked at."""

    actions = None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return every field that is shown."""
        return list(self.fields or [field.name for field in self.opts.fields])  # type: ignore[arg-type]


class MembersFormSet(BaseInlineFormSet):
    """Keeps the last administrator of an organisation."""

    def clean(self) -> None:
        """Refuse to leave an organisation that has an administrator without one."""
        super().clean()
        if any(self.errors) or self.instance._state.adding:
            return
        members.lock(self.instance)
        before = members.administrators(self.instance)
        changed = {form.instance.pk: form for form in self.initial_forms}
        stay = before - {
            pk
            for pk, form in changed.items()
            if form.cleaned_data.get("DELETE") or form.cleaned_data.get("role", form.instance.role) != Role.ADMIN
        }
        if before and not stay and not any(form.cleaned_data.get("role") == Role.ADMIN for form in self.extra_forms):
            raise ValidationError(f"{LastAdministrator.__doc__} {LastAdministrator.hint}")


class MembershipInline(admin.TabularInline):
    """The people of an organisation. Who has an account at all is the superuser's business."""

    model = Membership
    formset = MembersFormSet
    extra = 0
    fields = ("user", "role", "created_at")
    readonly_fields = ("created_at",)
    verbose_name_plural = "members"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Membership]:
        """Return the members with their accounts."""
        return super().get_queryset(request).select_related("user", "org")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Let an organisation's administrator change roles, but not who it is about."""
        return ("created_at",) if request.user.is_superuser else ("user", "created_at")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may see the members."""
        return has_role(request, ADMINISTER, obj.pk if obj else None)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may choose among all accounts."""
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may change roles."""
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may remove members."""
        return self.has_view_permission(request, obj)


@admin.register(Organization)
class OrganizationAdmin(OrganizationScopedAdmin):
    """Organisations and their members. Created by superusers, never deleted: the audit trail refers to them."""

    org_field = "pk"
    may_view = ALL
    may_add = NOBODY
    may_change = ADMINISTER
    gives_access = True
    list_display = ("name", "slug", "created_at")
    search_fields = ("name", "slug")
    fields = ("name", "slug", "egress_networks", "digest_email", "audit_retention_days", "created_at")
    inlines = (MembershipInline,)

    def org_id_of(self, obj: Any) -> UUID:
        """Return its own key."""
        org_id: UUID = obj.pk
        return org_id

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix the slug once it is known to the world, and leave the networks to who runs the installation."""
        fixed = ("slug", "created_at") if obj else ("created_at",)
        return fixed if request.user.is_superuser else (*fixed, "egress_networks", "audit_retention_days")

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Save and write it into the audit trail."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if not change:
                record(actor_of(request), "organization.created", org=obj, target=obj, slug=obj.slug, name=obj.name)
            elif form.changed_data:
                record(actor_of(request), "organization.changed", org=obj, target=obj, changes=_changes(form))

    def save_formset(self, request: HttpRequest, form: Any, formset: BaseFormSet[Any], change: bool) -> None:
        """Save the members and write each change into the audit trail."""
        with transaction.atomic():
            rows = Membership.objects.of(form.instance).select_related("user", "org")
            before = {member.pk: member for member in rows}
            formset.save()  # type: ignore[attr-defined]  # a model formset
            after = {member.pk: member for member in rows.all()}
            for pk in after.keys() - before.keys():
                _note_member(request, "membership.created", after[pk], role=after[pk].role)
            for pk in before.keys() - after.keys():
                _note_member(request, "membership.deleted", before[pk], role=before[pk].role)
            for pk in after.keys() & before.keys():
                _note_change(request, before[pk], after[pk])


def _note_change(request: HttpRequest, before: Membership, after: Membership) -> None:
    if before.user_id != after.user_id:  # only a superuser can do that; it is one leaving and one joining
        _note_member(request, "membership.deleted", before, role=before.role)
        _note_member(request, "membership.created", after, role=after.role)
    elif before.role != after.role:
        _note_member(request, "membership.changed", after, changes={"role": (before.role, after.role)})


def _note_member(request: HttpRequest, action: str, member: Membership, **details: Any) -> None:
    record(actor_of(request), action, org=member.org, target=member, user=member.user.get_username(), **details)


def _changes(form: ModelForm[Any]) -> Changes:
    """Return the changed fields with their values before and after, as JSON."""
    return {name: (_plain(form.initial.get(name)), _plain(form.cleaned_data[name])) for name in form.changed_data}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


class WithinOwnOrganizations(OrganizationScopedAdmin):
    """Rows that are added to one of the organisations the person administers."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only these organisations."""
        if db_field.name == "org":
            kwargs |= {"queryset": organizations_of(request, ADMINISTER), "label": "Organisation"}
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Take away the links that add or change other rows from within."""
        form = super().get_form(request, obj, change, **kwargs)
        for name in {"org", "account"} & form.base_fields.keys():
            for verb in ("add", "change", "delete", "view"):
                setattr(form.base_fields[name].widget, f"can_{verb}_related", False)
        return form


class ApiKeyForm(ModelForm):
    """A key that its account allows."""

    def clean(self) -> dict[str, Any]:
        """Refuse an account of another organisation, or one that is disabled or may do less."""
        given = super().clean() or {}
        account = given.get("account", self.instance.account)
        role = given.get("role", self.instance.role)
        if account is None or not role:
            return given
        if account.org != given.get("org", getattr(self.instance, "org", None)):
            raise ValidationError({"account": "This service account belongs to another organisation."})
        if account.disabled_at and not self.instance.pk:
            raise ValidationError({"account": f"{AccountDisabled.__doc__} {AccountDisabled.hint}"})
        if not held_by(role, given.get("scopes", ())) <= held_by(account.role):
            raise ValidationError(f"{BeyondAccount.__doc__} {BeyondAccount.hint}")
        return given


class ServiceAccountForm(ModelForm):
    """A service account, and whether it is disabled."""

    disabled = BooleanField(required=False, help_text="Stops all of its keys at once.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["disabled"] = self.instance.disabled_at is not None

    def clean(self) -> dict[str, Any]:
        """Refuse a name that another account of the organisation has."""
        given = super().clean() or {}
        org = given.get("org") or getattr(self.instance, "org", None)
        others = ServiceAccount.objects.filter(org=org, name=given.get("name")).exclude(pk=self.instance.pk)
        if org and others.exists():
            raise ValidationError({"name": f"{AccountNameTaken.__doc__} {AccountNameTaken.hint}"})
        return given


@admin.register(ApiKey)
class ApiKeyAdmin(WithinOwnOrganizations):
    """API keys: shown once when they are issued, revoked but never deleted."""

    may_view = may_add = may_change = ADMINISTER
    gives_access = True
    list_display = ("name", "shown_id", "organization", "role", "state", "created_at", "expires_at", "last_used_at")
    list_filter = ("role", ("org", OrganizationFilter))
    list_select_related = ("org", "account")
    search_fields = ("name", "id")
    actions = ("revoke_selected",)
    change_form_template = "admin/tenants/apikey/change_form.html"
    form = ApiKeyForm

    @admin.display(description="key", ordering="id")
    def shown_id(self, key: ApiKey) -> str:
        """Return the public part of the key."""
        return f"erpk_{key.pk}_…"

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        """Return whether the key opens anything."""
        if key.revoked_at:
            return badge("off", "revoked")
        return badge("good", "valid") if key.is_valid else badge("warn", "expired")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return what is asked for a new key, or shown of an existing one."""
        if obj is None:
            return ("org", "account", "name", "role", "scopes", "networks", "expires_at")
        return ("name", "scopes", "networks", "expires_at", *self.get_readonly_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix everything but the name and what confines the key once it is issued."""
        if obj is None:
            return ()
        shown = ("shown_id", "organization", "account", "role", "state", "succeeds", "created_at")
        return (*shown, "last_used_at", "last_used_from", "revoked_at")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only the organisations this person administers."""
        if db_field.name == "account":
            theirs = ServiceAccount.objects.filter(org__in=organizations_of(request, ADMINISTER))
            kwargs["queryset"] = theirs.select_related("org")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the scopes there are."""
        if db_field.name == "scopes":
            return MultipleChoiceField(
                choices=[(scope.value, f"{scope.value}: {scope.label}") for scope in Scope],
                required=False,
                widget=CheckboxSelectMultiple,
                help_text=db_field.help_text,
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Issue a new key, or save what was changed."""
        if change:
            wanted = {name: form.cleaned_data[name] for name in form.changed_data}
            api_keys.change(obj, actor_of(request), wanted)
            return
        key, obj.token = api_keys.issue(
            obj.org,
            actor_of(request),
            name=obj.name,
            role=obj.role,
            scopes=obj.scopes,
            from_networks=obj.networks,
            expires_at=obj.expires_at,
            account=obj.account,
        )
        obj.pk = key.pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token in this one answer: it goes into no message, no session and no cache."""
        return self._show_token(request, obj, obj.token)

    def _show_token(self, request: HttpRequest, key: ApiKey, token: str) -> HttpResponse:
        response = self.render(
            request, "admin/tenants/apikey/issued.html", title="The new API key", key=key, token=token
        )
        response["Cache-Control"] = "no-store"
        return response

    def get_urls(self) -> list[Any]:
        """Add the pages that rotate and revoke a key."""
        rotate = self.post_only("rotate", confirmation.recently_confirmed()(self.rotate))
        return [self.post_only("revoke", self.revoke), rotate, *super().get_urls()]

    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Issue a successor after asking; the key goes on for a day beside it."""
        key = self.find(request, object_id, ADMINISTER)
        if request.POST.get("confirmed") != "yes":
            return self.confirm(
                request,
                title="Rotate this API key",
                question="A successor is issued that may do the same; this key expires in 24 hours.",
                button="Rotate",
                objects=[key],
                original=key,
            )
        try:
            return self._show_token(request, *api_keys.rotate(key, actor_of(request), timedelta(hours=24)))
        except Conflict as error:
            messages.error(request, f"{error.message} {error.hint}")
        return self.to("change", key.pk)

    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke one key, after asking."""
        key = self.find(request, object_id, ADMINISTER)
        if key.revoked_at is None and request.POST.get("confirmed") != "yes":
            return self._confirm_revocation(request, [key], original=key)
        api_keys.revoke([key], actor_of(request))
        messages.success(request, f"{key.name} is revoked: it opens nothing any more.")
        return self.to("change", key.pk)

    @admin.action(description="Revoke selected API keys", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> HttpResponse | None:
        """Revoke several keys, after asking."""
        keys = list(queryset.filter(revoked_at=None, org__in=organizations_of(request, ADMINISTER)))
        if request.POST.get("confirmed") != "yes":
            selected = [("action", "revoke_selected"), *(("_selected_action", key.pk) for key in keys)]
            return self._confirm_revocation(request, keys, hidden=selected)
        api_keys.revoke(keys, actor_of(request))
        messages.success(request, f"API keys revoked: {len(keys)}.")
        return None

    def _confirm_revocation(self, request: HttpRequest, keys: list[ApiKey], **more: Any) -> HttpResponse:
        return self.confirm(
            request,
            title="Revoke API keys" if len(keys) != 1 else "Revoke this API key",
            question="Whoever uses it is refused from now on. This cannot be undone.",
            button="Revoke",
            objects=keys,
            **more,
        )


@admin.register(ServiceAccount)
class ServiceAccountAdmin(WithinOwnOrganizations):
    """Programs that own keys: disabled rather than deleted."""

    may_view = may_add = may_change = ADMINISTER
    gives_access = True
    list_display = ("name", "organization", "role", "state", "created_at")
    list_filter = ("role", ("org", OrganizationFilter))
    list_select_related = ("org",)
    search_fields = ("name",)
    form = ServiceAccountForm

    @admin.display(description="state")
    def state(self, account: ServiceAccount) -> SafeString:
        """Return whether its keys open anything."""
        return badge("off", "disabled") if account.disabled_at else badge("good", "enabled")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return what is asked for a new account, or shown of an existing one."""
        return ("org", "name", "role") if obj is None else ("organization", "name", "role", "disabled", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix whose account it is."""
        return () if obj is None else ("organization", "created_at")

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Create the account, or save what was changed."""
        if change:
            wanted = {name: form.cleaned_data[name] for name in form.changed_data}
            api_keys.change_account(obj, actor_of(request), wanted)
        else:
            obj.pk = api_keys.create_account(obj.org, actor_of(request), name=obj.name, role=obj.role).pk


@admin.register(Invitation)
class InvitationAdmin(WithinOwnOrganizations):
    """Invitations: sent by e-mail, revoked but never deleted; nobody sees their code here."""

    may_view = may_add = ADMINISTER
    gives_access = True
    list_display = ("email", "organization", "role", "shown_state", "invited_by", "created_at", "expires_at")
    list_filter = (("org", OrganizationFilter),)
    list_select_related = ("org",)
    search_fields = ("email",)
    actions = ("revoke_selected",)

    @admin.display(description="state")
    def shown_state(self, invitation: Invitation) -> SafeString:
        """Return what became of it."""
        kinds = {"OPEN": "wait", "ACCEPTED": "good"}
        return badge(kinds.get(invitation.state, "off"), invitation.state.label)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return what is asked for a new invitation, or shown of an existing one."""
        if obj is None:
            return ("org", "email", "role")
        shown = ("email", "organization", "role", "shown_state", "invited_by")
        return (*shown, "created_at", "expires_at", "accepted_at", "revoked_at")

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Send the invitation."""
        try:
            obj.pk = members.invite(obj.org, actor_of(request), email=obj.email, role=obj.role).pk
        except Conflict as error:
            obj.refused = f"{error.message} {error.hint}"

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Say whether the mail has left."""
        if refused := getattr(obj, "refused", ""):
            messages.error(request, refused)
        else:
            messages.success(request, f"The invitation to {obj.email} has left.")
        return self.to("changelist")

    @admin.action(description="Revoke selected invitations", permissions=["add"])
    def revoke_selected(self, request: HttpRequest, queryset: models.QuerySet[Invitation]) -> None:
        """Take several invitations back; what is over stays as it is."""
        for invitation in queryset.filter(org__in=organizations_of(request, ADMINISTER)):
            with suppress(Conflict):
                members.revoke(invitation, actor_of(request))
        messages.success(request, "The selected invitations are good no more.")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what, when and from where."""

    may_view = CONFIGURE
    fields = (
        *("created_at", "organization", "action", "actor_label", "actor_kind", "actor_id", "address", "request_id"),
        *("target_type", "target_id", "before_and_after", "more", "place", "seal"),
    )
    list_display = ("created_at", "actor_label", "action", "target_type", "target_id", "organization", "address")
    list_filter = ("actor_kind", "action", "target_type", ("org", OrganizationFilter))
    list_select_related = ("org",)
    search_fields = ("actor_label", "action", "target_id", "request_id")
    date_hierarchy = "created_at"
    show_full_result_count = False

    @admin.display(description="changes")
    def before_and_after(self, event: AuditEvent) -> SafeString | str:
        """Return each field that was changed, with its value before and after."""
        rows = ((name, _shown(before), _shown(after)) for name, (before, after) in sorted(event.changes.items()))
        lines = format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", rows)
        table = "<table><thead><tr><th>field</th><th>before</th><th>after</th></tr></thead><tbody>{}</tbody></table>"
        return format_html(table, lines) if lines else "-"

    @admin.display(description="details")
    def more(self, event: AuditEvent) -> SafeString | str:
        """Return what else is known of it."""
        rest = sorted((name, _shown(value)) for name, value in event.details.items() if name != "changes")
        return format_html_join("", "<div>{}: {}</div>", rest) or "-"

    @admin.display(description="place in the chain")
    def place(self, event: AuditEvent) -> str:
        """Return where it stands in its organisation's chain."""
        link = AuditLink.objects.filter(event=event).first()
        return str(link) if link else "none"

    @admin.display(description="sealed")
    def seal(self, event: AuditEvent) -> SafeString:
        """Return when it was last sealed that nothing up to it was changed."""
        link = AuditLink.objects.filter(event=event).first()
        seals = AuditSeal.objects.filter(
            chain_id=event.org_id or INSTALLATION, sequence__gte=link.sequence if link else 0
        )
        last = seals.order_by("-sealed_at").first() if link else None
        return badge("good", f"{last.sealed_at:%Y-%m-%d %H:%M} UTC") if last else badge("wait", "not yet")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Let the trail of one row be linked to."""
        return lookup in ("target_type", "target_id") or super().lookup_allowed(lookup, value, request)


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
