"""What every view of the API shares: who may call it, which parameters it takes, and how rows are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django_filters import FilterSet, MultipleChoiceFilter
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed, NotAuthenticated, Throttled
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connectors.api import pagination, throttling
from connectors.exceptions import Fault, InvalidInput
from connectors.services.throttles import Verdict
from tenants.actors import Actor
from tenants.authentication import Principal
from tenants.models import Organization
from tenants.permissions import HasScope
from tenants.roles import Scope

RowT = TypeVar("RowT")


class ApiView(APIView):
    """One address. Subclasses name the scope of each method in `scopes`; what is not named is refused.

    None is for what anybody of the organisation may do, with whatever scope.
    """

    scopes: ClassVar[Mapping[str, Scope | None]] = {}
    permission_classes = (HasScope,)
    http_method_names = ("get", "head", "post", "patch", "delete")

    @property
    def caller(self) -> Principal:
        """Who calls; HasScope has let nobody else in."""
        return cast(Principal, self.request.user)

    @property
    def org(self) -> Organization:
        """The organisation the caller acts for."""
        return self.caller.org

    @property
    def actor(self) -> Actor:
        """The caller, as services and the audit trail know him."""
        return self.caller.actor

    _allowance: Verdict | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorise and throttle; then refuse parameters that would be ignored."""
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)
        self._check_query(request)

    def perform_authentication(self, request: Request) -> None:
        """Find out who calls, and whether not too often; who may not do what he asks for is counted as well."""
        super().perform_authentication(request)
        caller: object = request.user
        if isinstance(caller, Principal):
            self._allowance = throttling.count(caller)
            if self._allowance and not self._allowance.allowed:
                raise Throttled(self._allowance.resets_in)

    def handle_exception(self, exc: Exception) -> Response:
        """Return the problem; an address that fails too often is told to come back later."""
        if isinstance(exc, NotAuthenticated | AuthenticationFailed):
            self._allowance = throttling.count_failure(self.request.META.get("REMOTE_ADDR"))
            if self._allowance and not self._allowance.allowed:
                exc = Throttled(self._allowance.resets_in)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep what is one organisation's out of every cache, and say what the caller has left."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        if self._allowance:
            throttling.tell(response, self._allowance)
        return response

    def query_parameters(self) -> Mapping[str, bool]:
        """Return the names of the query parameters this view takes, each with whether it may be given twice."""
        return {}

    def _check_query(self, request: Request) -> None:
        known = self.query_parameters()
        faults = []
        for name, values in request.query_params.lists():
            if name not in known:
                faults.append(Fault(path=name, message="is not a parameter of this address", code="unknown"))
            elif len(values) > 1 and not known[name]:
                faults.append(Fault(path=name, message="must be given once", code="repeated"))
            elif not all(values):
                faults.append(Fault(path=name, message="must not be empty", code="blank"))
        if faults:
            raise InvalidInput(faults)


class ListView(ApiView):
    """An address that answers a list, page by page."""

    filterset_class: ClassVar[type[FilterSet] | None] = None

    def query_parameters(self) -> Mapping[str, bool]:
        """Return those of the page, and the filters."""
        if self.request.method not in ("GET", "HEAD"):
            return {}
        filters = self.filterset_class.base_filters if self.filterset_class else {}
        return dict.fromkeys(pagination.PARAMETERS, False) | {
            name: isinstance(each, MultipleChoiceFilter) for name, each in filters.items()
        }

    def page(self, rows: QuerySet[Any, RowT], show: Callable[[RowT], Any], *, place: Sequence[str] = ()) -> Response:
        """Return one page of those rows that pass the filters; see `pagination.paginate`.

        Raises:
            InvalidInput: a filter, the limit or the cursor is not valid.
        """
        if self.filterset_class and self.request.query_params.keys() & self.filterset_class.base_filters.keys():
            filterset = self.filterset_class(data=self.request.query_params, queryset=rows, request=self.request)
            if not filterset.is_valid():
                raise InvalidInput(
                    Fault(path=name, message=error["message"], code=error["code"])
                    for name, errors in filterset.errors.get_json_data().items()
                    for error in errors
                )
            rows = filterset.qs
        return pagination.paginate(self.request, rows, show, place=place)


class AnyAccept(DefaultContentNegotiation):
    """Answers what there is, whatever the Accept header says: a document has one media type only."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


def found(rows: QuerySet[Any, RowT], row_id: UUID) -> RowT:
    """Return the row of this id among `rows`, which are those of one organisation.

    Raises:
        Http404: there is none, or it is another organisation's.
    """
    row = rows.filter(pk=row_id).first()
    if row is None:
        raise Http404
    return row
