"""What is stored. Models hold state; the verbs are in `connectors.services`."""

from connectors.models.connection import ConnectionStatus, ERPConnection, Health
from connectors.models.diagnosis import ConnectionTest, TestState, TestSubject
from connectors.models.export import ERPExport, ExportAttempt, ExportStatus, Outcome
from connectors.models.installation import Installation
from connectors.models.key import EncryptionKey, KeyState
from connectors.models.revision import ConnectionRevision

__all__ = [
    "ConnectionRevision",
    "ConnectionStatus",
    "ConnectionTest",
    "ERPConnection",
    "ERPExport",
    "EncryptionKey",
    "ExportAttempt",
    "ExportStatus",
    "Health",
    "Installation",
    "KeyState",
    "Outcome",
    "TestState",
    "TestSubject",
]
