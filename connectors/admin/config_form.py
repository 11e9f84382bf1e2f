"""A form generated from a connector's configuration class, by way of its JSON Schema.

A field may say in `json_schema_extra` how it wants to be shown:

    "x-widget": "textarea"                  text of several lines
    "x-when": {"mode": ["sftp"]}            only for these values of another field; left empty otherwise
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms
from django.contrib.admin import widgets
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.html import escape, format_html
from django.utils.timezone import localtime

from connectors.config import ConnectorConfig
from connectors.exceptions import Fault

CONFIG: Final = "config-"
CLEAR: Final = "clear-"
_EMPTY: Final = ("", None)


class SecretInput(forms.PasswordInput):
    """Takes a secret and never shows one, not even after an error."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "new-password", "class": "vTextField", **(attrs or {})}, render_value=False)


class SecretTextarea(widgets.AdminTextareaWidget):
    """Takes a secret of several lines and never shows one, not even after an error."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false", "rows": 6, **(attrs or {})})

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the template is filled with: everything but the value."""
        return super().get_context(name, None, attrs)


class _FaultyForm(forms.Form):
    def show(self, faults: Iterable[Fault]) -> None:
        """Put each fault on its field; one that belongs to none stands above the form."""
        for fault in faults:
            name, _, inside = fault.path.partition(".")
            field = CONFIG + name
            sentence = f"{fault.message[:1].upper()}{fault.message[1:]}."
            if inside and field in self.fields:  # where in a list or an object of JSON
                sentence = f"{inside}: {fault.message}."
            if field in self.fields:
                self.add_error(field, sentence)
            else:
                self.add_error(None, f"{fault.path}: {sentence}" if fault.path else sentence)


class ConfigForm(_FaultyForm):
    """The name and the configuration of one connection.

    The fields only turn what was typed into values; what is valid is the configuration class's business.
    """

    name = forms.CharField(
        max_length=100, required=False, widget=widgets.AdminTextInputWidget, help_text="What people call it here."
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        config_class: type[ConnectorConfig] | None,
        described: Mapping[str, Any],
        name: str,
    ) -> None:
        """Build the form.

        Args:
            data: what was posted.
            config_class: of the connector; None when it is no longer installed, which leaves the name to edit.
            described: what `services.configurations.describe` returns; empty for a new connection.
            name: the present or proposed name.
        """
        self._shapes = _shapes(config_class) if config_class else {}
        secrets: Mapping[str, Mapping[str, Any]] = described.get("secrets", {})
        values: Mapping[str, Any] = described.get("config", {})
        initial: dict[str, Any] = {"name": name}
        for field, shape in self._shapes.items():
            if not shape.get("writeOnly"):
                stored = values.get(field)
                initial[CONFIG + field] = shape.get("default") if stored is None else stored
        super().__init__(data, initial=initial)
        for field, shape in self._shapes.items():
            state = secrets.get(field, {})
            self.fields[CONFIG + field] = _form_field(field, shape, _state_of(state))
            if state.get("set"):
                self.fields[CLEAR + field] = forms.BooleanField(
                    required=False, label=f"Clear the stored {_in_sentence(_title(field, shape))}"
                )
            if "x-when" in shape:
                _mark_condition(self.fields.get(CLEAR + field), shape)
                _mark_condition(self.fields[CONFIG + field], shape)

    def config_field_names(self) -> list[str]:
        """Return the fields of the configuration, in the order of the class."""
        return [name for name in self.fields if name.startswith((CONFIG, CLEAR))]

    def clean(self) -> dict[str, Any]:
        """Refuse a secret that is to be replaced and cleared at once."""
        for field in self._shapes:
            if self.cleaned_data.get(CLEAR + field) and self.cleaned_data.get(CONFIG + field):
                self.add_error(CONFIG + field, "Either enter a new value or clear the stored one.")
        return self.cleaned_data

    def patch(self) -> dict[str, Any]:
        """Return the edit: null clears a field, a secret that was left empty is kept."""
        edit: dict[str, Any] = {}
        typed = {name.removeprefix(CONFIG): value for name, value in self.cleaned_data.items()}
        for field, shape in self._shapes.items():
            value = self.cleaned_data.get(CONFIG + field)
            is_kept = shape.get("writeOnly") and value in _EMPTY and not self.cleaned_data.get(CLEAR + field)
            if not is_kept or not _applies(shape, typed):
                edit[field] = None if value in _EMPTY else value
        return edit


class SecretsForm(_FaultyForm):
    """The next secrets of one connection, to be staged beside those in use."""

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        config_class: type[ConnectorConfig] | None,
        described: Mapping[str, Any],
    ) -> None:
        """Build the form.

        Args:
            data: what was posted.
            config_class: of the connector; None when it is no longer installed.
            described: what `services.configurations.describe` returns.
        """
        super().__init__(data, auto_id="id_next-%s")
        for field, shape in (_shapes(config_class) if config_class else {}).items():
            if shape.get("writeOnly") and _applies(shape, described.get("config", {})):
                shape["title"] = f"Next {_in_sentence(_title(field, shape))}"
                self.fields[CONFIG + field] = _form_field(field, shape, "")

    def patch(self) -> dict[str, Any]:
        """Return the secrets that were entered."""
        return {name.removeprefix(CONFIG): value for name, value in self.cleaned_data.items() if value not in _EMPTY}


def _shapes(config_class: type[ConnectorConfig]) -> dict[str, dict[str, Any]]:
    """Return each property of the JSON Schema with its references and its `or null` resolved."""
    schema = config_class.json_schema()
    required, definitions = schema.get("required", ()), schema.get("$defs", {})
    return {
        name: _resolve(shape, definitions) | {"required": name in required}
        for name, shape in schema["properties"].items()
    }


def _resolve(shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    resolved = dict(shape)
    kinds = [kind for kind in resolved.pop("anyOf", []) if kind.get("type") != "null"]
    if kinds:
        resolved = {**kinds[0], **resolved}
    if reference := resolved.pop("$ref", None):
        resolved = {**definitions[reference.rsplit("/", 1)[1]], **resolved}
    return resolved


def _applies(shape: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Return whether a field has a meaning beside these values of the others."""
    return all(values.get(other) in allowed for other, allowed in shape.get("x-when", {}).items())


def _form_field(name: str, shape: Mapping[str, Any], state: str) -> forms.Field:
    """Return the field for one property; `state` says what is stored, as HTML."""
    about: dict[str, Any] = {
        "label": _title(name, shape),
        "help_text": _help(shape, state),
        "required": bool(shape["required"]) and not shape.get("writeOnly"),
    }
    is_long = shape.get("x-widget") == "textarea"
    if shape.get("writeOnly"):
        return _SecretField(widget=SecretTextarea if is_long else SecretInput, strip=False, **about)
    if choices := shape.get("enum") or ([shape["const"]] if "const" in shape else None):
        blank = [] if about["required"] or shape.get("default") is not None else [("", "—")]
        return forms.ChoiceField(choices=[*blank, *((value, value) for value in choices)], **about)
    limits: dict[str, Any] = {"min_value": shape.get("minimum"), "max_value": shape.get("maximum")}
    match shape.get("type"):
        case "boolean":
            return forms.BooleanField(**(about | {"required": False}))
        case "integer":
            return forms.IntegerField(widget=widgets.AdminIntegerFieldWidget, **limits, **about)
        case "number":
            return forms.DecimalField(**limits, **about)
        case "string":
            widget = widgets.AdminTextareaWidget if is_long else widgets.AdminTextInputWidget
            return forms.CharField(widget=widget, max_length=shape.get("maxLength"), **about)
        case _:
            return forms.JSONField(**about)


class _SecretField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        """Return the text with plain line breaks; browsers send CRLF."""
        text = super().to_python(value)
        return text.replace("\r\n", "\n") if isinstance(text, str) else text


def _title(name: str, shape: Mapping[str, Any]) -> str:
    return str(shape.get("title") or name)


def _in_sentence(title: str) -> str:
    """Return a title as it stands within a sentence."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _help(shape: Mapping[str, Any], state: str) -> str:
    # The admin's template prints help texts unescaped, so they are escaped here.
    text = escape(shape.get("description", ""))
    if shape.get("examples"):
        text = format_html("{} For example <code>{}</code>.", text, shape["examples"][0])
    return format_html("{} {}", text, state) if shape.get("writeOnly") and state else text


def _state_of(secret: Mapping[str, Any]) -> str:
    if not secret.get("set"):
        return format_html('<span class="erp-secret-unset">{}</span>', "not set")
    entered = parse_datetime(secret.get("updated_at") or "")
    since = f" since {date_format(localtime(entered), 'Y-m-d H:i')}" if entered else ""
    return format_html('<span class="erp-secret-set">stored{}; leave empty to keep</span>', since)


def _mark_condition(field: forms.Field | None, shape: Mapping[str, Any]) -> None:
    if field is not None:
        names = {CONFIG + other: allowed for other, allowed in shape["x-when"].items()}
        field.widget.attrs["data-when"] = json.dumps(names)
