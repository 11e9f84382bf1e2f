"""How orders leave through a connection, as a form: windows and limits are written one a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from django import forms
from django.contrib.admin import widgets

from connectors.exceptions import Fault
from connectors.models import ERPConnection
from connectors.services import steering

_WEEKLY: Final = re.compile(
    r"(?P<days>[a-z]+(?:[ ,]+[a-z]+)*) +(?P<start>\S+?) *[-–] *(?P<end>\S+) +(?P<timezone>\S+)", re.I
)
_SINGLE: Final = re.compile(r"(?P<from>[0-9]{4}-\S+) +(?:to|until|-) +(?P<until>[0-9]{4}-\S+)", re.I)
_LIMIT: Final = re.compile(r"(?P<currency>\S+)[ :]+(?P<amount>\S+)")
_MAX_TEXT: Final = 5_000
_UNREADABLE: Final = "Line {} cannot be read: write it as in the example."


class DeliveryForm(forms.Form):
    """An edit of how orders leave."""

    window = forms.IntegerField(
        label="Orders under way at once",
        min_value=1,
        max_value=256,
        widget=widgets.AdminIntegerFieldWidget,
        help_text="1 for partners that insist on one after the other.",
    )
    max_per_minute = forms.IntegerField(
        label="Orders in a minute",
        min_value=1,
        max_value=1_000_000,
        required=False,
        widget=widgets.AdminIntegerFieldWidget,
        help_text="At most. Empty: as many as the far end takes.",
    )
    ack_expected_within = forms.IntegerField(
        label="Answer expected within (minutes)",
        min_value=1,
        max_value=525_600,
        required=False,
        widget=widgets.AdminIntegerFieldWidget,
        help_text="Later than this after sending, an answer is overdue. Empty: none is expected.",
    )
    maintenance_windows = forms.CharField(
        required=False,
        max_length=_MAX_TEXT,
        widget=widgets.AdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="Nothing is sent meanwhile. One a line: every week <code>fri sat 22:00-02:00 Europe/Berlin</code>, "
        "or once <code>2026-12-24T12:00:00+01:00 to 2026-12-27T06:00:00+01:00</code>.",
    )
    approval_limits = forms.CharField(
        required=False,
        max_length=_MAX_TEXT,
        widget=widgets.AdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="An order above its currency's amount waits for approval, and so does one in a currency that is not "
        "named. One a line: <code>EUR 10000.00</code>. Empty: none waits.",
    )

    def __init__(self, data: Any = None, *, connection: ERPConnection) -> None:
        """Show what is stored."""
        super().__init__(data, initial=_as_text(connection))

    def clean_maintenance_windows(self) -> list[dict[str, Any]]:
        """Return the windows as `connectors.maintenance` has them."""
        return list(_lines(self.cleaned_data["maintenance_windows"], _window))

    def clean_approval_limits(self) -> dict[str, str]:
        """Return the limits as `connectors.approval` has them."""
        limits: dict[str, str] = {}
        for number, (currency, amount) in enumerate(_lines(self.cleaned_data["approval_limits"], _limit), 1):
            if currency in limits:
                raise forms.ValidationError(f"Line {number} names {currency} for the second time.")
            limits[currency] = amount
        return limits

    def show(self, faults: Iterable[Fault]) -> None:
        """Put each fault on its field, with the number of the line or the currency."""
        for fault in faults:
            name, _, place = fault.path.partition(".")
            line, _, what = place.partition(".")
            where = f"Line {int(line) + 1}, {what}" if line.isdigit() else place
            self.add_error(name if name in self.fields else None, f"{where} {fault.message}.".strip())


def _as_text(connection: ERPConnection) -> dict[str, Any]:
    values = {name: getattr(connection, name) for name in steering.SETTINGS}
    values["maintenance_windows"] = "\n".join(map(_window_as_text, connection.maintenance_windows))
    values["approval_limits"] = "\n".join(f"{name} {amount}" for name, amount in connection.approval_limits.items())
    return values


def _window_as_text(window: Mapping[str, Any]) -> str:
    if "from" in window:
        return f"{window['from']} to {window['until']}"
    return f"{' '.join(window['days'])} {window['start']}-{window['end']} {window['timezone']}"


def _lines(text: str, read: Callable[[str], Any]) -> Iterable[Any]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if (value := read(line)) is None:
            raise forms.ValidationError(_UNREADABLE.format(number))
        yield value


def _window(line: str) -> dict[str, Any] | None:
    if match := _SINGLE.fullmatch(line):
        return match.groupdict()
    if match := _WEEKLY.fullmatch(line):
        return match.groupdict() | {"days": re.split("[ ,]+", match["days"].lower())}
    return None


def _limit(line: str) -> tuple[str, str] | None:
    match = _LIMIT.fullmatch(line)
    return (match["currency"].upper().rstrip(":"), match["amount"]) if match else None
