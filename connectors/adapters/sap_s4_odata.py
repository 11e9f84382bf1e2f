"""SAP_S4_ODATA: sales orders of SAP S/4HANA through its OData services, in the cloud and on premises."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from connectors.config import INERT
from connectors.exceptions import Said
from connectors.formats import orderflow_json_v1, sap_sales_order
from connectors.formats.sap_sales_order import SalesOrderFields
from connectors.order import Order
from connectors.port import Awaited, Context, ExportContext, Guarantee, StepNote
from connectors.results import AckStatus, Document, RemoteIdentity
from connectors.transports import odata
from connectors.transports.http_answers import Unusable
from connectors.transports.http_auth import (
    AUTH_KIND,
    BasicFields,
    ClientCertificateFields,
    OAuth2Fields,
    WebAddress,
)
from connectors.transports.http_client import HttpClient, Judged
from connectors.transports.http_erp import HttpErpConfig, HttpErpConnector, HttpErpSession, Placed
from connectors.transports.http_errors import Meaning, rule

ORDERS: Final = {"V2": "A_SalesOrder", "V4": "SalesOrder"}
"""What each version calls the set of sales orders."""

_SYSTEM: Final = re.compile(r"_([A-Z][A-Z0-9]{2})_([0-9]{3})$", re.ASCII)  # SAP_SESSIONID_S4H_100, sap-XSRF_S4H_100
_SAID: Final = "$.error"
_FAULTY: Final = (400, 409, 422, 500)  # not 401 and 403: an account can be locked, too
RULES: Final = (
    rule((), Meaning.EXISTS, path=_SAID, contains="/IWBEP/CM_COS/005"),  # the RequestID is outdated: it was processed
    rule((), Meaning.AUTHENTICATION, path=_SAID, contains="/IWFND/CM_CONSUMER/101"),  # no right to the service
    rule((403, 404), Meaning.CONFIGURATION, path=_SAID, contains="/IWFND/MED/"),  # the service is not activated
    rule(404, Meaning.CONFIGURATION, safe=True),  # nothing is read but the service and its collections
    rule(423, Meaning.TEMPORARY),
    rule(_FAULTY, Meaning.TEMPORARY, path=_SAID, contains="locked by"),
    rule(_FAULTY, Meaning.TEMPORARY, path=_SAID, contains="currently being processed"),
    rule((412, 428), Meaning.UNKNOWN),  # about another state than ours: look again
    # Errors of the business come as 500, too; what is no message of sales may have any cause.
    rule(500, Meaning.REJECTED, path="$.error.code", contains="V1/"),
    rule(500, Meaning.REJECTED, path="$.error.code", contains="SLS_LORD/"),
    rule(500, Meaning.REJECTED, path="$.error.code", contains="SY/530"),
    rule(500, Meaning.REJECTED, path="$.error.code", contains="/IWBEP/CX_MGW_BUSI_EXCEPTION"),
)
_NO_REPETITION: Final = rule((), Meaning.NOT_FOUND, path=_SAID, contains="/IWBEP/CM_COS/001")
_REPETITION_WARNING: Final = (
    "SAP does not recognise repeated requests (/IWBEP/CM_COS/001): have it set up, or switch request_ids off."
)


class SapS4ODataConfig(SalesOrderFields, BasicFields, OAuth2Fields, ClientCertificateFields, HttpErpConfig):
    """Where an S/4HANA is, who we are there, and how an order becomes one of its."""

    base_url: Annotated[
        WebAddress,
        Field(
            title="Address",
            description="The root of the service, as SAP shows it in the communication arrangement or the service "
            "catalogue.",
            examples=["https://my1000-api.s4hana.cloud.sap/sap/opu/odata/sap/API_SALES_ORDER_SRV"],
        ),
    ]
    auth_kind: Annotated[Literal["basic", "oauth2", "none"], AUTH_KIND] = "basic"
    timeout_s: Annotated[
        int,
        INERT,
        Field(
            title="Time-out (seconds)",
            description="How long to wait for each answer; SAP prices an order before it answers.",
            ge=1,
            le=120,
        ),
    ] = 60
    sap_client: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]{3}$")] | None,
        Field(title="SAP client", description="Of a system with several; sent with each request.", examples=["100"]),
    ] = None
    sap_language: Annotated[
        Annotated[str, Field(pattern=r"^[A-Z]{2}$")],
        INERT,
        Field(
            title="Language", description="Of SAP's messages; some are recognised by their text, and only in English."
        ),
    ] = "EN"
    request_ids: Annotated[
        bool,
        INERT,
        Field(
            title="Repeatable requests",
            description="Sends RequestID and RepeatabilityCreation, by which SAP Gateway itself refuses a second "
            "order. Only where its administrator has set up idempotent services (/IWFND/IDEMPOTENT).",
        ),
    ] = False


class SapS4ODataSession(HttpErpSession[SapS4ODataConfig]):
    """One connection to one S/4HANA, with its cookies and its token."""

    def __init__(
        self,
        connector: HttpErpConnector[SapS4ODataConfig],
        config: SapS4ODataConfig,
        client: HttpClient,
        context: Context,
    ) -> None:
        super().__init__(connector, config, client, context)
        self.orders = ORDERS[config.odata_version]
        self.guard = odata.CsrfGuard(client, self._path("/"))

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        """Ask for the orders with our mark; without one, for those of this customer with this number."""
        origin = self.config.origin(order, names)
        # Which fields of state there are depends on the release, so all are asked for.
        path = self._path(self.orders, {"$filter": odata.equal(origin), "$top": "2"})
        judged = self.client.call("GET", path, headers=odata.JSON)
        found = odata.entities(judged)
        telling, value = next(iter(origin.items()))
        if any(str(item.get(telling)).strip() != value for item in found):
            raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)  # it does not heed the filter
        return [self._placed(judged, item) for item in found]

    def create(self, document: Document, context: ExportContext) -> Placed | None:
        """Make the order with all that belongs to it in one request, which SAP does as a whole or not at all."""
        if not self.config.request_ids:
            return self._created(self._post(document))
        repeatable = {
            "RequestID": context.export_id.hex.upper(),
            "RepeatabilityCreation": f"{context.created_at:%Y-%m-%dT%H:%M:%S}",
        }
        judged = self._post(document, repeatable)
        if not judged.is_missing:
            return self._created(judged)
        return self._created(self._post(document), _REPETITION_WARNING)

    def check_access(self, note: StepNote) -> None:
        """Fetch a token, and read what the service offers and one order of it."""
        has_token = self.guard.fetch()
        offered = self.client.call("GET", self._path("$metadata"), headers={"Accept": "application/xml"})
        if not self._is_offered(offered.answer.content):
            raise offered.answer.unusable(Unusable.NOT_AS_EXPECTED)
        path = self._path(self.orders, {"$top": "1", "$select": "SalesOrder"})
        odata.entities(self.client.call("GET", path, headers=odata.JSON))
        token = "gives a token for writing" if has_token else "asks for no token"
        note.detail = f"The service offers {self.orders}, {token}, and lets us read orders."

    def identity(self) -> RemoteIdentity:
        """Return the system and the client that the names of SAP's cookies end with.

        Nothing else says so. A name that tells neither is no sign of another system.
        """
        if self.guard.cookies is None:
            self.guard.fetch()
        for name in self.guard.cookies or ():
            if found := _SYSTEM.search(name):
                return RemoteIdentity(environment="/".join(found.groups()))
        return self.context.pinned_identity or RemoteIdentity()

    def _path(self, resource: str, options: dict[str, str] | None = None) -> str:
        client = {"sap-client": self.config.sap_client} if self.config.sap_client else {}
        return odata.path(resource, {**(options or {}), **client, "sap-language": self.config.sap_language})

    def _post(self, document: Document, headers: dict[str, str] | None = None) -> Judged:
        return self.guard.write(
            "POST",
            self._path(self.orders),
            headers={**odata.JSON, "Content-Type": document.media_type, **(headers or {})},
            content=document.content,
            rules=(_NO_REPETITION,) if headers else (),
        )

    def _created(self, judged: Judged, *more: str) -> Placed | None:
        if judged.exists:
            return None
        return self._placed(judged, odata.entity(judged), judged.answer.headers.get("sap-message"), more)

    def _placed(
        self, judged: Judged, order: dict[str, Any], sap_message: str | None = None, more: tuple[str, ...] = ()
    ) -> Placed:
        number = order.get("SalesOrder")
        shown = Said(message=number).message if isinstance(number, str) else None
        if shown is None:
            raise judged.answer.unusable(Unusable.NO_NUMBER)
        status = sap_sales_order.status(order)
        return Placed(
            key=shown,
            location=f"{self.config.base_url.rstrip('/')}/{self.orders}{odata.key(shown)}",
            number=shown,
            status=status,
            said=Said(code="OverallSDDocumentRejectionSts C") if status is AckStatus.REJECTED else Said(),
            warnings=(*sap_sales_order.warnings(order, sap_message), *more),
        )

    def _is_offered(self, metadata: bytes) -> bool:
        """Return whether there is the set of orders, and the field that our mark is written into."""
        mark = self.config.mark_field
        if f'EntitySet Name="{self.orders}"'.encode() not in metadata:
            return False
        return mark is None or re.search(rb'<Property [^>]*Name="%b"' % mark.encode(), metadata) is not None


class SapS4ODataConnector(HttpErpConnector[SapS4ODataConfig]):
    """Makes each order in an S/4HANA with all its items at once, and reads its number and state back."""

    connector_type: ClassVar[str] = "SAP_S4_ODATA"
    title: ClassVar[str] = "SAP S/4HANA (OData)"
    summary: ClassVar[str] = (
        "Creates sales orders in SAP S/4HANA, in the cloud or on premises, through API_SALES_ORDER_SRV (OData V2) or "
        "CE_SALESORDER_0001 (V4)."
    )
    Config = SapS4ODataConfig
    Session = SapS4ODataSession
    rules = RULES
    keep_cookies: ClassVar[bool] = True
    supports_identify: ClassVar[bool] = True

    def render(self, order: Order, config: SapS4ODataConfig, context: ExportContext) -> Document:
        names: dict[str, Any] = {"export_id": context.export_id, "created_at": context.created_at}
        return Document(
            filename=orderflow_json_v1.filename(order.order_id, **names),
            content=sap_sales_order.render(order, config, export_id=context.export_id),
            media_type=sap_sales_order.MEDIA_TYPE,
        )

    def guarantee_of(self, config: SapS4ODataConfig) -> Guarantee:
        return Guarantee.HARD if config.request_ids else Guarantee.LOOKUP

    def looks_first(self, config: SapS4ODataConfig) -> bool:
        return True  # SAP forgets a RequestID after some hours

    def left_out(self, order: Order, config: SapS4ODataConfig) -> tuple[str, ...]:
        return sap_sales_order.left_out(order, config)

    def unpack(self, body: Any) -> Any:
        return odata.unpacked(body)

    def not_proven(self, config: SapS4ODataConfig) -> tuple[str, ...]:
        unproven = super().not_proven(config)
        if config.mark_field is None:
            unproven += ("That a customer uses each order number once: a second order with it is taken for the first.",)
        if config.request_ids:
            unproven += ("That SAP recognises a request that comes again by its RequestID.",)
        return unproven
