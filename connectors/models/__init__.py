"""What is stored. Models hold state; the verbs are in `connectors.services`."""

from connectors.models.connection import ConnectionStatus, ConnectionTest, ERPConnection, Health
from connectors.models.export import ERPExport, ExportAttempt, ExportStatus, Outcome
from connectors.models.key import EncryptionKey, KeyState

__all__ = [
    "ConnectionStatus",
    "ConnectionTest",
    "ERPConnection",
    "ERPExport",
    "EncryptionKey",
    "ExportAttempt",
    "ExportStatus",
    "Health",
    "KeyState",
    "Outcome",
]
