"""SAP_IDOC_ORDERS05: orders as IDocs for SAP ECC and S/4HANA, into a folder or by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict

from connectors.config import Expiry
from connectors.exceptions import ConnectorError, Fault
from connectors.formats import idoc, idoc_answers, idoc_orders05
from connectors.formats.edi import invented_order
from connectors.formats.idoc_fields import IdocFields
from connectors.order import Order
from connectors.port import Context, ExportContext, ExportSession, Guarantee, StepRecorder
from connectors.results import Acknowledgement, Document, NumberRange, RemoteIdentity, Settlement, TestResult
from connectors.transports.drop_answers import AnswerFiles
from connectors.transports.drop_config import DropConfig, folder_path
from connectors.transports.drop_connector import DropConnector
from connectors.transports.drop_diagnosis import MAX_LISTED
from connectors.transports.drop_store import open_store
from connectors.transports.http_auth import HttpConfig
from connectors.transports.http_client import HTTP_ERRORS, HTTP_TEST_STEPS
from connectors.transports.idoc_http import IdocHttpConnector, IdocHttpFields
from connectors.validation import ON_ONE_LINE_OR_EMPTY

_OUTGOING: Final = ("export_path", "atomic_write", "temp_suffix", "temp_path")
_SERVER: Final = ("host", "port", "username", "password", "private_key", "passphrase", "certificate", "host_key")
_MODES: Final[dict[str, list[str]]] = {
    **{name: ["http"] for name in IdocHttpFields.model_fields if name not in DropConfig.model_fields},
    **{name: ["sftp", "filesystem"] for name in _OUTGOING},
}
"""The settings that have no meaning in every mode; beside them, a server with folders may have answers in each."""


def _say_when(schema: JsonDict) -> None:
    """Let a form show each setting only for the modes in which it has a meaning."""
    shapes: Any = schema["properties"]
    for name, modes in (_MODES | {name: ["sftp", "http"] for name in _SERVER}).items():
        shapes[name]["x-when"] = {**shapes[name].get("x-when", {}), "mode": modes}


class SapIdocConfig(IdocFields, IdocHttpFields, DropConfig):
    """What SAP and its partner agreed upon, how IDocs get there, and from which folder the answers are fetched."""

    model_config = ConfigDict(json_schema_extra=_say_when)

    mode: Annotated[
        Literal["sftp", "filesystem", "http"],
        Field(
            title="Mode",
            description="How orders are sent. sftp: a folder on an SFTP server. filesystem: a folder of this machine. "
            "http: SAP's web server; answers come from a folder on the host, or of this machine where there is none.",
        ),
    ]  # type: ignore[assignment]  # there is one more
    export_path: Annotated[
        str,
        Field(title="Export folder", description="Existing folder for the orders.", max_length=1024),
        ON_ONE_LINE_OR_EMPTY,
        AfterValidator(folder_path),
    ] = ""

    @property
    def is_exactly_once(self) -> bool:
        return self.mode == "http" and self.http_service == "soap"

    def query(self) -> dict[str, str]:
        return {"sap-client": self.sap_client} if self.sap_client else {}

    def of_answers(self) -> Self:
        """Return the configuration with which the folder of answers is reached."""
        return self if self.mode != "http" else self.model_copy(update={"mode": "sftp" if self.host else "filesystem"})

    def endpoint(self) -> str:
        return HttpConfig.endpoint(self) if self.mode == "http" else DropConfig.endpoint(self)

    def expiries(self) -> Iterator[Expiry]:
        yield from HttpConfig.expiries(self)
        yield from DropConfig.expiries(self)

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from self.idoc_faults()
        if self.mode == "http":
            yield from HttpConfig.cross_field_faults(self)
            yield from self._unless("base_url")
            if self.host is not None:
                yield from self._unless("ack_path")
        else:
            yield from self._unless("export_path")
        for fault in DropConfig.cross_field_faults(self.of_answers()):
            is_of_no_host = self.mode == "http" and fault.path in _SERVER and fault.code == "not_applicable"
            yield replace(fault, message="is only for a host with answers") if is_of_no_host else fault
        for name, modes in _MODES.items():
            if self.mode not in modes and getattr(self, name) not in (None, type(self).model_fields[name].default):
                yield Fault(path=name, message=f"is only for mode {' or '.join(modes)}", code="not_applicable")

    def _unless(self, name: str) -> Iterator[Fault]:
        if not getattr(self, name):
            yield Fault(path=name, message=f"is required for mode {self.mode}", code="missing")


class SapIdocConnector(DropConnector[SapIdocConfig]):
    """Sends each order as one IDoc, and reads ALEAUD and ORDRSP from a folder."""

    connector_type: ClassVar[str] = "SAP_IDOC_ORDERS05"
    title: ClassVar[str] = "SAP IDoc ORDERS05"
    summary: ClassVar[str] = (
        "Sends each order as one IDoc (XML, ORDERS05) into a folder on an SFTP server or on this machine, or to SAP by "
        "HTTP, and reads ALEAUD and ORDRSP from a folder."
    )
    Config = SapIdocConfig

    raises: ClassVar[frozenset[type[ConnectorError]]] = DropConnector.raises | HTTP_ERRORS

    def __init__(self) -> None:
        self._http = IdocHttpConnector(self)

    # What stands in an IDoc, and in the answers.

    def number_range(self, config: SapIdocConfig) -> NumberRange:
        return config.number_range()

    def render(self, order: Order, config: SapIdocConfig, context: ExportContext) -> Document:
        return idoc_orders05.render(
            order, config, created_at=context.created_at, export_id=context.export_id, number=context.number
        )

    def left_out(self, order: Order, config: SapIdocConfig) -> tuple[str, ...]:
        return idoc_orders05.left_out(order, config)

    def answer_files(self, config: SapIdocConfig) -> AnswerFiles:
        return AnswerFiles(is_answer=config.is_answer, read=lambda _, content: idoc_answers.read(content, config))

    def answers_to(self, config: SapIdocConfig, context: Context) -> AnswerFiles:
        @cache
        def orders() -> dict[str, Order]:
            return {config.reference(awaited.order): awaited.order for awaited in context.awaited()}

        def read(_: str, content: bytes) -> list[Acknowledgement]:
            return idoc_answers.read(content, config, lambda reference: orders().get(reference))

        return AnswerFiles(is_answer=config.is_answer, read=read)

    def try_out(self, config: SapIdocConfig, context: Context) -> Callable[[], str]:
        def write_and_read() -> str:
            document = idoc_orders05.render(
                invented_order(config), config, created_at=context.clock.now(), export_id=UUID(int=0), number=None
            )
            (written,) = idoc.parse(document.content)
            return f"{len(written.inner)} segments of {config.basic_type}."

        return write_and_read

    # How it gets there: by the folder, as every file drop, or by HTTP.

    def guarantee_of(self, config: SapIdocConfig) -> Guarantee:
        return config.guarantee_over_http if config.mode == "http" else self.guarantee

    @contextmanager
    def open_session(self, config: SapIdocConfig, context: Context) -> Iterator[ExportSession]:
        session = self._http.open_session if config.mode == "http" else super().open_session
        with session(config, context) as opened:
            yield opened

    def poll_acknowledgements(
        self, config: SapIdocConfig, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        return super().poll_acknowledgements(config.of_answers(), context, settle)

    def identify(self, config: SapIdocConfig, context: Context) -> RemoteIdentity:
        return RemoteIdentity() if config.mode == "http" else super().identify(config, context)

    def test_connection(self, config: SapIdocConfig, context: Context) -> TestResult:
        if config.mode != "http":
            return super().test_connection(config, context)
        answers = ("ack_path",) if config.ack_path else ()
        with context.steps.plan("document", *HTTP_TEST_STEPS, *answers):
            with context.steps.step("document") as note:
                note.detail = self.try_out(config, context)()
            with self._http.open_session(config, context) as session:
                with context.steps.step("authenticate"):
                    session.authenticate()
                with context.steps.step("read") as note:
                    session.check_access(note)
            if config.ack_path:
                with context.steps.step("ack_path") as note:
                    note.detail = self._answers_waiting(config, context, config.ack_path)
        not_proven = ["That SAP takes an IDoc, and posts it as an order: a test sends none."]
        if not config.ack_path:
            not_proven.append("That orders are booked in SAP: without ack_path it cannot answer.")
        return context.steps.result(not_proven=tuple(not_proven))

    def _answers_waiting(self, config: SapIdocConfig, context: Context, ack_path: str) -> str:
        apart = replace(context, steps=StepRecorder(context.clock))  # the names of its steps are those of HTTP
        with open_store(config.of_answers(), apart) as store:
            store.finish_within(context.remaining_s)
            waiting = store.folder(ack_path).entries(config.is_answer, limit=MAX_LISTED)
            return f"{ack_path}: {len(waiting)} waiting"
