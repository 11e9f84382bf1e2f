"""Django's page for errors under DEBUG, without what it gives away: values, settings, headers, texts of exceptions."""

from __future__ import annotations

from django.utils.html import format_html
from django.views.debug import ExceptionReporter

from erpconfig import logging


class PlacesOnlyReporter(ExceptionReporter):
    """Shows what the log shows: what kind of error it was, and where it came through."""

    def get_traceback_html(self) -> str:
        """Return the page."""
        return format_html(
            '<!doctype html><html lang="en"><head><title>{}</title></head><body><pre>{}</pre></body></html>',
            self.exc_type.__name__,
            self.get_traceback_text(),
        )

    def get_traceback_text(self) -> str:
        """Return the error and its causes, innermost last, each with its places, innermost last."""
        return "\n".join(
            "\n    ".join([error["type"], *error["places"]]) for error in logging.without_text(self.exc_value)
        )
