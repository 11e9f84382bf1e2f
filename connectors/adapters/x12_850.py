"""X12_850: purchase orders as X12 interchanges, in a folder that the partner watches or by AS2."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from connectors.exceptions import ConnectorError, DocumentError
from connectors.formats import x12, x12_850, x12_answers
from connectors.formats.edi import invented_order
from connectors.order import Order
from connectors.port import Context, ExportContext
from connectors.results import Document, NumberRange
from connectors.transports.as2 import DropOrAs2Connector
from connectors.transports.as2_config import DropOrAs2Config
from connectors.transports.drop_answers import AnswerFiles


class X12Config(x12_850.X12Fields, DropOrAs2Config):
    """What the two partners agreed upon, where the files go, and how to get there."""


class X12OrdersConnector(DropOrAs2Connector[X12Config]):
    """Delivers each order as one X12 interchange, and reads TA1, 997, 999 and 855."""

    connector_type: ClassVar[str] = "X12_850"
    title: ClassVar[str] = "X12 850"
    summary: ClassVar[str] = (
        "Writes each order as one X12 interchange (850 in 004010 or 005010) into a folder on an SFTP server or of this "
        "machine, or sends it by AS2, and reads TA1, 997, 999 and 855."
    )
    Config = X12Config

    raises: ClassVar[frozenset[type[ConnectorError]]] = DropOrAs2Connector.raises | {DocumentError}

    def number_range(self, config: X12Config) -> NumberRange:
        return config.number_range()

    def render(self, order: Order, config: X12Config, context: ExportContext) -> Document:
        return x12_850.render(
            order,
            config,
            created_at=context.created_at,
            export_id=context.export_id,
            number=context.number,
        )

    def answer_files(self, config: X12Config) -> AnswerFiles:
        return AnswerFiles(is_answer=config.is_answer, read=lambda _, content: x12_answers.read(content, config))

    def left_out(self, order: Order, config: X12Config) -> tuple[str, ...]:
        return x12_850.left_out(order, config)

    def try_out(self, config: X12Config, context: Context) -> Callable[[], str]:
        def write_and_read() -> str:
            nobodys = invented_order(config)
            document = x12_850.render(
                nobodys, config, created_at=context.clock.now(), export_id=UUID(int=0), number=None
            )
            (interchange,) = x12.parse(document.content)
            return f"{len(interchange.sets[0].segments)} segments in version {config.version}."

        return write_and_read
