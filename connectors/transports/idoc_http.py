"""IDocs by HTTP: into the plain service idoc_xml, or by SOAP, where SAP takes each message id only once.

Either way SAP only says that it took the IDoc; what becomes of it, it says later.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.config import JsonDict

from connectors.config import INERT, Secret
from connectors.exceptions import OutcomeUnknown
from connectors.order import Order
from connectors.port import Awaited, ExportContext, Guarantee, StepNote
from connectors.results import Document
from connectors.transports.drop_connector import DropConnector
from connectors.transports.http_auth import AUTH_KIND, ClientCertificateFields, basic, web_address, when
from connectors.transports.http_authoriser import Authoriser
from connectors.transports.http_erp import HttpErpConfig, HttpErpConnector, HttpErpSession, Placed
from connectors.transports.http_errors import ErrorRule, Meaning, rule
from connectors.validation import ON_ONE_LINE_OR_EMPTY, Line

_SERVICES: Final = {"soap": "sap/bc/srt/idoc", "idoc_xml": "sap/bc/idoc_xml"}
_FOR_IDOC_XML: Final[JsonDict] = {"x-when": {"http_service": ["idoc_xml"]}}
_PART: Final = "[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
_PING: Final = "sap/public/ping"

_RULES: Final = (
    rule((), Meaning.TEMPORARY, contains="MSGID_LOCKED"),  # an earlier request with this message id is still running
    rule((), Meaning.REJECTED, contains="SOAP_MSGID_"),
    rule((), Meaning.REJECTED, contains="MULTIPLE_IDOCS_NOT_ALLOWED"),
    rule((500, 400), Meaning.REJECTED, contains=":Client<"),  # a SOAP fault because of what was sent
    rule((403, 404), Meaning.CONFIGURATION),  # the service is not active
    rule("2xx", Meaning.UNUSABLE, contains="Fault>"),
)
_RULES_OF_SOAP: Final = (
    rule("2xx", Meaning.SUCCESS, contains="Envelope>"),
    rule("2xx", Meaning.UNUSABLE, contains="<"),
)
_NO_OTHER_PAGE: Final = rule("2xx", Meaning.UNUSABLE, contains="<html")
_RULES_OF_A_TEST: Final = (
    rule((401, 407), Meaning.AUTHENTICATION),
    rule("2xx", Meaning.AUTHENTICATION, contains='type="password"'),  # a page to log in
    rule((403, 404), Meaning.CONFIGURATION),
    rule(429, Meaning.RATE_LIMITED),
    rule((502, 503, 504), Meaning.TEMPORARY),
    rule((), Meaning.SUCCESS),  # whatever a service says that wants to be sent something
)


def _maybe_an_address(text: str) -> str:
    return text and web_address(text)


class IdocHttpFields(ClientCertificateFields, HttpErpConfig):
    """Where SAP takes IDocs by HTTP, and who we are there."""

    needed: ClassVar[dict[str, tuple[str, ...]]] = {"basic": ("sap_username", "sap_password")}

    base_url: Annotated[
        str,
        Field(
            title="Address",
            description="Of SAP's web server; the services lie below it.",
            examples=["https://sap.example.com:44300"],
            max_length=1000,
        ),
        ON_ONE_LINE_OR_EMPTY,
        AfterValidator(_maybe_an_address),
    ] = ""
    auth_kind: Annotated[Literal["basic", "none"], AUTH_KIND] = "basic"
    sap_username: Annotated[
        Annotated[Line, Field(max_length=255, pattern="^[^:]+$")] | None,
        Field(title="SAP user", description="The technical user by whom IDocs come.", json_schema_extra=when("basic")),
    ] = None
    sap_password: Annotated[
        Secret | None,
        Field(title="SAP password", description="Its password.", json_schema_extra=when("basic"), max_length=1024),
    ] = None
    http_service: Annotated[
        Literal["soap", "idoc_xml"],
        Field(
            title="Service",
            description="soap: SAP takes each order once, however often it is sent. idoc_xml: an order whose outcome "
            "is not known waits for a person.",
        ),
    ] = "soap"
    http_path: Annotated[
        Annotated[str, Field(pattern=rf"^{_PART}(/{_PART})*/?$", max_length=200)] | None,
        Field(
            title="Path of the service",
            description="Where it does not lie at sap/bc/srt/idoc or sap/bc/idoc_xml.",
            examples=["cxf/orders"],
        ),
    ] = None
    accepted_text: Annotated[
        Line,
        INERT,
        Field(
            title="Text of success",
            description="By which a page of idoc_xml means that the IDoc was taken.",
            max_length=200,
            json_schema_extra=_FOR_IDOC_XML,
        ),
    ] = "IDoc-XML-inbound ok"
    receiver_refuses_duplicates: Annotated[
        bool,
        INERT,
        Field(
            title="SAP refuses duplicates",
            description="Where SAP checks the customer's order number: an order to idoc_xml whose outcome is not known "
            "is sent again.",
            json_schema_extra=_FOR_IDOC_XML,
        ),
    ] = False

    # Hooks: what the control record and the other settings say.

    def query(self) -> dict[str, str]:
        """Return what is added to each address."""
        return {}

    # Subclasses should not need to override.

    @property
    def service_path(self) -> str:
        """Where IDocs are sent, below the base URL."""
        return self.http_path or _SERVICES[self.http_service]

    @property
    def guarantee_over_http(self) -> Guarantee:
        """What keeps an order from arriving twice."""
        is_refused = self.http_service == "soap" or self.receiver_refuses_duplicates
        return Guarantee.HARD if is_refused else Guarantee.AT_MOST_ONCE

    def authoriser(self) -> Authoriser:
        if self.auth_kind == "none" or self.sap_password is None:
            return Authoriser()
        return basic(self.sap_username or "", self.sap_password.get_secret_value())

    def rules(self) -> tuple[ErrorRule, ...]:
        """Return what the answers to an IDoc mean."""
        if self.http_service == "soap":
            return (*self.error_rules, *_RULES, *_RULES_OF_SOAP)
        accepted = rule("2xx", Meaning.SUCCESS, contains=self.accepted_text)
        return (*self.error_rules, *_RULES, accepted, _NO_OTHER_PAGE)


class IdocHttpSession(HttpErpSession[IdocHttpFields]):
    """One connection that takes many IDocs."""

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:  # noqa: ARG002  # of the base
        """Say that nothing is known where that does no harm: an IDoc cannot be looked up."""
        if self.config.guarantee_over_http is Guarantee.HARD:
            return []
        raise OutcomeUnknown

    def create(self, document: Document, context: ExportContext) -> Placed:
        """Send an IDoc; what becomes of it SAP says later."""
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        if self.config.http_service == "soap":
            headers["SOAPAction"] = '""'
        self.client.call(
            "POST",
            self.config.service_path,
            params=self.config.query(),
            headers=headers,
            content=document.content,
            safe=False,
            rules=self.config.rules(),
            context=context,
        )
        location = f"{self.config.base_url.rstrip('/')}/{self.config.service_path}"
        return Placed(key=document.filename, location=location, number=None, status=None)

    def check_access(self, note: StepNote) -> None:
        """Ask the service without sending anything."""
        path, query = self.config.service_path, self.config.query()
        self.client.call("GET", path, params=query, rules=(*self.config.error_rules, *_RULES_OF_A_TEST))
        note.detail = f"{path} answers."
        if self.config.http_path is None and self.client.exchange("GET", _PING, params=query).status == 200:
            note.detail += f" So does {_PING}."


class IdocHttpConnector(HttpErpConnector[IdocHttpFields]):
    """Sends IDocs for a connector that knows what stands in them."""

    Session = IdocHttpSession

    def __init__(self, form: DropConnector[Any]) -> None:
        """Send what another connector renders."""
        self._form = form

    def render(self, order: Order, config: IdocHttpFields, context: ExportContext) -> Document:
        """Return the IDoc of an order, which has its number: a preview is never sent."""
        return self._form.document(order, config, context)

    def left_out(self, order: Order, config: IdocHttpFields) -> tuple[str, ...]:
        """Return what an IDoc has no place for."""
        return self._form.left_out(order, config)

    def guarantee_of(self, config: IdocHttpFields) -> Guarantee:
        """Return what keeps an order from arriving twice."""
        return config.guarantee_over_http

    def looks_first(self, config: IdocHttpFields) -> bool:  # noqa: ARG002  # the signature of the base
        """Return False: there is nothing to look at."""
        return False
