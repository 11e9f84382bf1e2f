"""The queue's own pages, without the inline styles that our Content-Security-Policy forbids."""

from __future__ import annotations

import json
from typing import Final

from django.contrib import admin
from django.utils.html import format_html
from procrastinate.contrib.django.admin import ProcrastinateJobAdmin
from procrastinate.contrib.django.models import ProcrastinateJob

_LONGEST: Final = 2000

admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ProcrastinateJobAdmin):
    """Shows jobs to superusers; templates/procrastinate has what goes with it."""

    @admin.display(description="Args")
    def pretty_args(self, instance: ProcrastinateJob) -> str:
        """Return what the job is about."""
        return format_html("<code>{}</code>", json.dumps(instance.args)[:_LONGEST])
