"""Lets the admin's index page ask for the dashboard, as Django's own asks for the recent actions."""

from __future__ import annotations

from django import template
from django.template import Context

from connectors.admin import dashboard as page

register = template.Library()


@register.simple_tag(takes_context=True)
def dashboard(context: Context) -> page.Dashboard:
    """Return what the signed-in person may see."""
    return page.Dashboard(context["request"])
