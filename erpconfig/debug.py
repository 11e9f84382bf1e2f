"""Django's page for errors under DEBUG, without what it gives away: texts of exceptions and values of variables."""

from __future__ import annotations

from collections.abc import ItemsView
from types import FrameType
from typing import Any, Final

from django.http import HttpRequest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

_HIDDEN: Final = "not shown: it may hold a secret"


class NamesOnlyFilter(SafeExceptionReporterFilter):
    """Lets through what things are called, never what they hold."""

    def is_active(self, request: HttpRequest | None) -> bool:
        """Filter under DEBUG as well."""
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        """Return the names of what was posted."""
        return dict.fromkeys(request.POST, _HIDDEN) if request is not None else {}

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        """Return the names of the variables of one frame."""
        return dict.fromkeys(sorted(tb_frame.f_locals), _HIDDEN).items()


class PlacesOnlyReporter(ExceptionReporter):
    """Shows what kind of error it was and where it came through."""

    def get_traceback_data(self) -> dict[str, Any]:
        """Return what the page is filled with."""
        data = super().get_traceback_data()
        data.pop("exception_notes", None)
        data["exception_value"], data["unicode_hint"] = f"({_HIDDEN})", ""
        for frame in data["frames"]:
            if frame["exc_cause"] is not None:
                frame["exc_cause"] = type(frame["exc_cause"]).__name__
        return data
