"""Writes the answers: shapes, and what is made of them, as JSON in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from rest_framework import renderers


class ShapeRenderer(renderers.JSONRenderer):
    """Takes shapes as they are; DRF's own renderer would first have to make dictionaries of them."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """Return the JSON text of an answer, nothing for none."""
        if data is None:
            return b""
        return to_json(data, indent=self.get_indent(accepted_media_type or "", renderer_context or {}))
