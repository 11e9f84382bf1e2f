"""The admin, open to staff who gave every factor that is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from tenants.sign_in import pages, second_factor, sessions
from tenants.sign_in.events import note


class StaffAdminSite(AdminSite):
    """Django's admin with a second factor."""

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the person is staff and gave every factor."""
        return super().has_permission(request) and second_factor.is_satisfied(request)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Refuse a page of Django's own to whoever may see nothing of its model, before it looks for the row.

        Else the answer would tell whether there is one. Ours look for it among the rows of the person only.
        """
        page = getattr(view, "__self__", None)
        if not isinstance(page, ModelAdmin) or hasattr(page, "org_id_of"):
            return super().admin_view(view, cacheable)

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if not page.has_module_permission(request):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return super().admin_view(guarded, cacheable)

    def get_urls(self) -> list[Any]:
        """Add the pages of signing in and of the second factor."""
        own: list[URLPattern | URLResolver] = [
            path("login/code/", never_cache(self._code_step), name="login_code"),
            path("logout/", self.logout, name="logout"),  # also for whoever may do nothing else
            path("confirm/", self.admin_view(pages.confirm), name="confirm"),
            path("second-factor/", self.admin_view(pages.overview), name="second_factor"),
            path("second-factor/set-up/", self._enrolment(pages.enrol), name="second_factor_enrol"),
            path(
                "second-factor/recovery-codes/",
                self.admin_view(require_POST(pages.recovery_codes)),
                name="second_factor_recovery_codes",
            ),
            path("second-factor/remove/", self.admin_view(require_POST(pages.remove)), name="second_factor_remove"),
        ]
        return own + super().get_urls()

    @method_decorator([never_cache, sensitive_post_parameters()])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Ask for name and password, or lead on whoever gave them."""
        index = reverse("admin:index", current_app=self.name)
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(index)
        if request.method == "GET" and second_factor.must_enrol(request):
            return HttpResponseRedirect(reverse("admin:second_factor_enrol", current_app=self.name))
        context = {
            **self.each_context(request),
            "title": "Log in",
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
            context[REDIRECT_FIELD_NAME] = index
        request.current_app = self.name  # what the url tag goes by
        view = pages.PasswordStep.as_view(
            extra_context=context, authentication_form=AdminAuthenticationForm, template_name="admin/login.html"
        )
        return view(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Change the person's own password; it asks for the present one, and every other session ends."""
        answer = super().password_change(request, extra_context)
        if answer.status_code == HTTPStatus.FOUND:
            note(request, "account.password_changed")
            sessions.end_all(request.user, but=request.session)
        return answer

    @method_decorator(sensitive_post_parameters())
    def _code_step(self, request: HttpRequest) -> Any:
        return csrf_protect(pages.CodeStep.as_view())(request)

    def _enrolment(self, page: Callable[[HttpRequest], Any]) -> Any:
        """Open a page to whoever has to set up a second factor before anything else, too."""
        guarded = self.admin_view(page)

        @wraps(page)
        def opened(request: HttpRequest) -> HttpResponse:
            return never_cache(csrf_protect(page))(request) if second_factor.must_enrol(request) else guarded(request)

        return opened
