"""Serves the OpenAPI description to everybody, without working for everybody."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request


class SchemaView(SpectacularAPIView):
    """The description, made once for each media type: it takes half a second and needs no key."""

    _made: ClassVar[dict[str, str | bytes]] = {}

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return it as YAML, or as JSON to whoever asks for that."""
        renderer = request.accepted_renderer
        if renderer.media_type not in self._made:
            described = self.generator_class().get_schema(request=request, public=True)
            self._made[renderer.media_type] = renderer.render(described, renderer_context=self.get_renderer_context())
        return HttpResponse(
            self._made[renderer.media_type],
            content_type=renderer.media_type,
            headers={"Content-Disposition": f'inline; filename="{spectacular_settings.TITLE}.{renderer.format}"'},
        )
