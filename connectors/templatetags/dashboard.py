"""What the admin's index page asks for, as Django's own asks for the recent actions."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from connectors.admin.dashboard import Dashboard
from connectors.services.attention import Matter
from tenants.admin import badge

register = template.Library()


@register.simple_tag(takes_context=True)
def dashboard(context: Context) -> Dashboard:
    """Return what the signed-in person may see."""
    return Dashboard(context["request"])


@register.filter
def matter_badge(matter: Matter) -> SafeString:
    """Return what a matter is, in a word."""
    return badge(matter.tone, matter.label)


@register.filter
def age(since: datetime) -> str:
    """Return how long ago that was, in its largest unit."""
    is_fresh = timezone.now() - since < timedelta(minutes=1)
    return "a moment" if is_fresh else timesince(since, depth=1)
