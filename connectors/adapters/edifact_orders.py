"""EDIFACT_ORDERS: ORDERS interchanges, in a folder that the partner watches or by AS2."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from connectors.exceptions import ConnectorError, DocumentError
from connectors.formats import edifact, edifact_answers, edifact_orders
from connectors.formats.edi import invented_order
from connectors.order import Order
from connectors.port import Context, ExportContext
from connectors.results import Document, NumberRange
from connectors.transports.as2 import DropOrAs2Connector
from connectors.transports.as2_config import DropOrAs2Config
from connectors.transports.drop_answers import AnswerFiles


class EdifactConfig(edifact_orders.EdifactFields, DropOrAs2Config):
    """What the two partners agreed upon, where the files go, and how to get there."""


class EdifactOrdersConnector(DropOrAs2Connector[EdifactConfig]):
    """Delivers each order as one EDIFACT interchange, and reads CONTRL, APERAK and ORDRSP."""

    connector_type: ClassVar[str] = "EDIFACT_ORDERS"
    title: ClassVar[str] = "EDIFACT ORDERS"
    summary: ClassVar[str] = (
        "Writes each order as one EDIFACT interchange (ORDERS D.96A or D.01B, with EANCOM) into a folder on an SFTP "
        "server or of this machine, or sends it by AS2, and reads CONTRL, APERAK and ORDRSP."
    )
    Config = EdifactConfig

    raises: ClassVar[frozenset[type[ConnectorError]]] = DropOrAs2Connector.raises | {DocumentError}

    def number_range(self, config: EdifactConfig) -> NumberRange:
        return config.number_range()

    def render(self, order: Order, config: EdifactConfig, context: ExportContext) -> Document:
        return edifact_orders.render(
            order,
            config,
            created_at=context.created_at,
            export_id=context.export_id,
            number=context.number,
        )

    def answer_files(self, config: EdifactConfig) -> AnswerFiles:
        return AnswerFiles(is_answer=config.is_answer, read=lambda _, content: edifact_answers.read(content, config))

    def try_out(self, config: EdifactConfig, context: Context) -> Callable[[], str]:
        def write_and_read() -> str:
            nobodys = invented_order(config)
            document = edifact_orders.render(
                nobodys, config, created_at=context.clock.now(), export_id=UUID(int=0), number=None
            )
            (interchange,) = edifact.parse(document.content)
            return f"{len(interchange.messages[0].segments)} segments in {config.character_set}."

        return write_and_read
