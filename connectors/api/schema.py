"""The OpenAPI 3.1 description: each method of a view says with `describe` what it takes and answers.

The shapes are pydantic models, whose JSON Schema is that of OpenAPI 3.1; drf-spectacular walks the addresses and
serves the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Literal, TypeVar, cast

import uritemplate
from django_filters import IsoDateTimeFilter, MultipleChoiceFilter, UUIDFilter
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as SpectacularAutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from connectors.api import pagination, shapes
from connectors.api.filters import FlagFilter
from connectors.api.problems import MEDIA_TYPE
from connectors.api.views import ApiView, ListView
from connectors.registry import registry
from tenants.authentication import ORGANIZATION_HEADER
from tenants.roles import HOLDERS, Role

Json = dict[str, Any]
Model = type[BaseModel]
Mode = Literal["validation", "serialization"]
Handler = TypeVar("Handler", bound=Callable[..., Any])

_JSON: Final = "application/json"
_EVERYWHERE: Final[dict[int, tuple[str, ...]]] = {
    401: ("AUTH_REQUIRED",),
    403: ("FORBIDDEN",),
    406: ("NOT_ACCEPTABLE",),
    422: ("VALIDATION_ERROR",),
    429: ("THROTTLED",),
    500: ("INTERNAL_ERROR",),
    503: ("BUSY", "NOT_READY"),
}
_WITH_BODY: Final[dict[int, tuple[str, ...]]] = {
    408: ("REQUEST_TIMEOUT",),
    411: ("LENGTH_REQUIRED",),
    413: ("PAYLOAD_TOO_LARGE",),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
}
_WITH_ID: Final[dict[int, tuple[str, ...]]] = {404: ("NOT_FOUND",)}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One way in which an operation ends well, or as a failed test."""

    description: str
    model: Model | None = None
    example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Each header with what it says."""
    media_type: str = _JSON
    also: Mapping[str, str] = field(default_factory=dict)
    """Other media types that a caller may ask for, each with what it brings."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one method of one address does."""

    id: str
    summary: str
    answers: Mapping[int, Answer]
    request: Model | Callable[[], Model] | None
    request_examples: Mapping[str, Any]
    is_body_required: bool
    problems: Mapping[int, tuple[str, ...]]
    headers: tuple[Json, ...]

    def request_model(self) -> Model | None:
        """Return the shape of the body; one that depends on the registry is made when it is asked for."""
        return self.request if isinstance(self.request, type) or self.request is None else self.request()


_operations: Final[list[Operation]] = []


def describe(
    operation_id: str,
    summary: str,
    *,
    answers: Mapping[int, Answer],
    request: Model | Callable[[], Model] | None = None,
    request_examples: Mapping[str, Any] | None = None,
    is_body_required: bool = True,
    problems: Mapping[int, tuple[str, ...]] | None = None,
    headers: tuple[Json, ...] = (),
) -> Callable[[Handler], Handler]:
    """Describe a method of a view.

    Args:
        operation_id: unique in the whole API; clients are generated with it.
        summary: one line.
        answers: by status.
        request: the body's shape, or what makes it once all adapters are registered.
        request_examples: bodies by title.
        is_body_required: False when the body may be left out.
        problems: the codes of the errors by status, beyond those any operation may answer.
        headers: request headers, as OpenAPI parameters.
    """
    operation = Operation(
        id=operation_id,
        summary=summary,
        answers=answers,
        request=request,
        request_examples=request_examples or {},
        is_body_required=is_body_required,
        problems=problems or {},
        headers=headers,
    )
    _operations.append(operation)

    def attach(handler: Handler) -> Handler:
        handler.operation = operation  # type: ignore[attr-defined]  # read by AutoSchema below
        return handler

    return attach


class AutoSchema(SpectacularAutoSchema):
    """Writes one operation from what `describe` said, from the roles of the view, and from its parameters."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Json | None:
        """Return the operation object, or None for what stays out of the description."""
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method
        handler = getattr(self.view, method.lower())
        described: Operation | None = getattr(handler, "operation", None)
        if described is None:
            return None
        body = self._body(described)
        return {
            "operationId": described.id,
            "summary": described.summary,
            "description": self._description(handler.__doc__ or ""),
            "tags": self.get_tags(),
            "parameters": [*self._path_and_query(), *described.headers, _ORGANIZATION],
            **({"requestBody": body} if body else {}),
            "security": self.get_auth(),
            "responses": {
                str(status): response for status, response in sorted(self._responses(described, bool(body)).items())
            },
        }

    def _description(self, docstring: str) -> str:
        told = re.sub(r"\s+", " ", docstring.strip())
        scope = cast(ApiView, self.view).scopes[self.method]
        roles = ", ".join(role for role in Role if scope is None or role in HOLDERS[scope])
        return f"{told} Roles: {roles}." + (f" Scope: `{scope}`." if scope else "")

    def _path_and_query(self) -> list[Json]:
        parameters: list[Json] = self._resolve_path_parameters(uritemplate.variables(self.path))
        if isinstance(self.view, ListView) and self.method == "GET":
            parameters += [{"in": "query", **each} for each in (*_PAGE_PARAMETERS, *_filter_parameters(self.view))]
        return parameters

    def _body(self, described: Operation) -> Json | None:
        model = described.request_model()
        if model is None:
            return None
        examples = {title: {"value": value} for title, value in described.request_examples.items()}
        content = {"schema": self._schema(model, "validation"), **({"examples": examples} if examples else {})}
        return {"required": described.is_body_required, "content": {_JSON: content}}

    def _responses(self, described: Operation, has_body: bool) -> dict[int, Json]:
        codes: dict[int, tuple[str, ...]] = dict(_EVERYWHERE)
        for more in (_WITH_BODY if has_body else {}, _WITH_ID if "{" in self.path else {}, described.problems):
            for status, names in more.items():
                codes[status] = tuple(dict.fromkeys((*names, *codes.get(status, ()))))
        return {status: self._problem(status, names) for status, names in codes.items()} | {
            status: self._answer(answer) for status, answer in described.answers.items()
        }

    def _answer(self, answer: Answer) -> Json:
        headers = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in {"X-Request-ID": "The id of this request.", **answer.headers}.items()
        }
        response: Json = {"description": answer.description, "headers": headers}
        if answer.model is not None:
            content = {"schema": self._schema(answer.model, "serialization")}
            response["content"] = {answer.media_type: content | ({"example": answer.example} if answer.example else {})}
        elif answer.media_type != _JSON:
            response["content"] = {answer.media_type: {"schema": {"description": "The document's exact bytes."}}}
        for media_type, text in answer.also.items():
            response["content"][media_type] = {"schema": {"type": "string", "description": text}}
        return response

    def _problem(self, status: int, codes: tuple[str, ...]) -> Json:
        title = HTTPStatus(status).phrase
        examples = {
            code: {
                "value": {
                    "type": "about:blank",
                    "title": title,
                    "status": status,
                    "detail": "A sentence for people.",
                    "code": code,
                    "request_id": "2f1d7f8b-9c10-4a58-8f0c-5a3f0e6d1c11",
                }
            }
            for code in codes
        }
        content = {"schema": self._schema(shapes.Problem, "serialization"), "examples": examples}
        return {"description": f"{title}: {', '.join(codes)}", "content": {MEDIA_TYPE: content}}

    def _schema(self, model: Model, mode: Mode) -> Json:
        """Return the reference to a shape, with everything it refers to among the components."""
        references, definitions = _json_schemas()
        for name, definition in definitions.items():
            component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=definition, object=name)
            self.registry.register_on_missing(component)
        return references[model, mode]


@cache
def _json_schemas() -> tuple[dict[tuple[Model, Mode], Json], Json]:
    """Return the reference to each shape of the API, and the definitions; made once, after all views are imported."""
    used: dict[tuple[Model, Mode], None] = {(shapes.Problem, "serialization"): None}
    for operation in _operations:
        if (request := operation.request_model()) is not None:
            used[request, "validation"] = None
        used |= {(each.model, "serialization"): None for each in operation.answers.values() if each.model}
    references, top = models_json_schema(list(used), ref_template="#/components/schemas/{model}")
    for connector in registry.connectors.values():
        _let_null_leave_out(top["$defs"][connector.Config.__name__])
    return cast(dict[tuple[Model, Mode], Json], references), top["$defs"]


def _let_null_leave_out(definition: Json) -> None:
    """Allow null for each field of a configuration that may be left out: it says just that, as `config.edit` has it."""
    for name, shape in definition["properties"].items():
        if name not in definition.get("required", ()) and {"type": "null"} not in shape.get("anyOf", ()):
            definition["properties"][name] = {"anyOf": [shape, {"type": "null"}]}


_PAGE_PARAMETERS: Final[tuple[Json, ...]] = (
    {
        "name": "limit",
        "description": "How many results a page has at most.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": pagination.MAX_LIMIT,
            "default": pagination.DEFAULT_LIMIT,
        },
    },
    {"name": "cursor", "description": "From `next` or `previous`.", "schema": {"type": "string", "minLength": 1}},
)
_ORGANIZATION: Final[Json] = {
    "in": "header",
    "name": ORGANIZATION_HEADER,
    "description": "With a session: the slug of the organisation, if there is more than one to choose from.",
    "schema": {"type": "string"},
}


def _filter_parameters(view: ListView) -> list[Json]:
    filters = view.filterset_class.base_filters if view.filterset_class else {}
    return [
        {"name": name, "description": each.extra["help_text"], "schema": _filter_schema(each)}
        for name, each in filters.items()
    ]


def _filter_schema(each: Any) -> Json:
    match each:
        case MultipleChoiceFilter():
            return {"type": "array", "items": {"type": "string", "enum": [value for value, _ in each.extra["choices"]]}}
        case FlagFilter():
            return {"type": "boolean"}
        case UUIDFilter():
            return {"type": "string", "format": "uuid"}
        case IsoDateTimeFilter():
            return {"type": "string", "format": "date-time"}
    return {"type": "string", "pattern": r"^[^\x00]+$"}


class _ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: SpectacularAutoSchema) -> Json:
        return {"type": "http", "scheme": "bearer", "description": "An API key: erpk_<id>_<secret>."}


class _SessionScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: SpectacularAutoSchema) -> Json:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The session of the admin."}
