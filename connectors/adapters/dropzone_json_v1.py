"""DROPZONE_JSON_V1: JSON files in a folder that the ERP watches, over SFTP or on this machine."""

from __future__ import annotations

from typing import ClassVar, Final

from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, ExportContext
from connectors.results import Document
from connectors.transports.drop_answers import AnswerFiles
from connectors.transports.drop_config import DropConfig
from connectors.transports.drop_connector import DropConnector

_TEST_CONTENT: Final = b'{"test_connection": true}\n'
_ANSWERS: Final = AnswerFiles(
    is_answer=orderflow_json_v1.is_acknowledgement,
    read=lambda name, content: [orderflow_json_v1.parse_acknowledgement(name, content)],
    names_for=orderflow_json_v1.acknowledgement_names,
    answered=orderflow_json_v1.answered_filename,
)


class DropzoneConfig(DropConfig):
    """Where the files go, and how to get there."""

    document_suffix: ClassVar[str] = ".json"


class DropzoneJsonV1Connector(DropConnector[DropzoneConfig]):
    """Drops each order as one JSON file and reads the answers from another folder."""

    connector_type: ClassVar[str] = "DROPZONE_JSON_V1"
    title: ClassVar[str] = "JSON dropzone"
    summary: ClassVar[str] = (
        "Writes each order as one JSON file (orderflow_export_json_v1) into a folder on an SFTP server or on this "
        "machine, and reads the ERP's acknowledgement files."
    )
    Config = DropzoneConfig

    def render(self, order: Order, config: DropzoneConfig, context: ExportContext) -> Document:
        return orderflow_json_v1.render(
            order, org_slug=context.org_slug, export_id=context.export_id, created_at=context.created_at
        )

    def test_file(self, context: Context) -> Document:
        name = f"test_connection_{context.clock.now():%Y%m%dT%H%M%S%fZ}.json"
        return Document(filename=name, content=_TEST_CONTENT, media_type=orderflow_json_v1.MEDIA_TYPE)

    def answer_files(self, config: DropzoneConfig) -> AnswerFiles:
        return _ANSWERS

    def left_out(self, order: Order, config: DropzoneConfig) -> tuple[str, ...]:
        return orderflow_json_v1.left_out(order)
