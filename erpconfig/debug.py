"""Django's page for errors under DEBUG, without what it gives away: values, settings, headers, texts of exceptions."""

from __future__ import annotations

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

from erpconfig import logging


class PlacesOnlyReporter(ExceptionReporter):
    """Shows what the log shows: what kind of error it was, and where it came through."""

    def get_traceback_html(self) -> SafeString:
        """Return the page."""
        return format_html(
            '<!doctype html><html lang="en"><head><title>Server error</title></head><body><pre>{}</pre></body></html>',
            self.get_traceback_text(),
        )

    def get_traceback_text(self) -> SafeString:
        """Return the error and its causes, each with its places, innermost last."""
        errors = logging.without_text(self.exc_value) if self.exc_value else []
        return escape("\n".join("\n    ".join([error["type"], *error["places"]]) for error in errors))
