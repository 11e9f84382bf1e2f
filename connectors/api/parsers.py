"""Reads request bodies: strict JSON of a bounded size, amounts as Decimal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from connectors import strict_json
from connectors.api.problems import PayloadTooLarge


class DecimalJSONParser(BaseParser):
    """Takes JSON as `connectors.strict_json` has it, and keeps every digit.

    DRF's own parser turns 0.10 into a float, lets the last of two equal keys win, and takes NaN for a number.
    """

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return what the body says; its charset is UTF-8 whatever the Content-Type claims (RFC 8259, section 8.1).

        Raises:
            PayloadTooLarge: it is longer than DATA_UPLOAD_MAX_MEMORY_SIZE.
            InvalidInput: it is not strict JSON.
        """
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise PayloadTooLarge
        return strict_json.loads(body)
