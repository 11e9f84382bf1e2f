"""Guesses are counted by name and address, whatever is guessed: password, code, or either of them once more.

django-axes keeps the count in the database, so all machines share it. It knows no accounts, only the names that were
typed: an account that does not exist is locked out as one that does.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.utils import reset
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def is_locked_out(request: HttpRequest, user: Any) -> bool:
    """Return whether there were too many wrong guesses for this person from this address."""
    return not AxesProxyHandler.is_allowed(request, {"username": user.get_username()})


def count_failure(request: HttpRequest, user: Any) -> None:
    """Count a wrong code as a wrong password is counted; the last one locks out."""
    user_login_failed.send(sender=__name__, credentials={"username": user.get_username()}, request=request)


def forget_failures(request: HttpRequest, user: Any) -> None:
    """Begin to count anew after a right guess."""
    reset(ip=request.META.get("REMOTE_ADDR"), username=user.get_username())


def answer(request: HttpRequest, *_: Any) -> HttpResponse:
    """Say that it is too often, and when to come back; the same for every name."""
    from django.contrib import admin

    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    context = {**admin.site.each_context(request), "title": "Too many attempts", "minutes": minutes}
    response = render(request, "admin/locked_out.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(60 * minutes)
    return response
