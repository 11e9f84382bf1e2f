"""What is stored. Models hold state; the verbs are in `connectors.services`."""

from connectors.models.acknowledgement import AcknowledgementRecord, AckOutcome
from connectors.models.connection import ConnectionStatus, ERPConnection, Health
from connectors.models.diagnosis import ConnectionTest, TestState, TestSubject
from connectors.models.export import ERPExport, ExportAttempt, ExportStatus, Outcome
from connectors.models.installation import Installation
from connectors.models.key import EncryptionKey, KeyState, QuarantinedRow
from connectors.models.number import DocumentNumber, NumberRangeRecord
from connectors.models.revision import ConnectionRevision
from connectors.models.webhook import DisabledBecause, Webhook, WebhookDelivery, WebhookEvent, WebhookState

__all__ = [
    "AckOutcome",
    "AcknowledgementRecord",
    "ConnectionRevision",
    "ConnectionStatus",
    "ConnectionTest",
    "DisabledBecause",
    "DocumentNumber",
    "ERPConnection",
    "ERPExport",
    "EncryptionKey",
    "ExportAttempt",
    "ExportStatus",
    "Health",
    "Installation",
    "KeyState",
    "NumberRangeRecord",
    "Outcome",
    "QuarantinedRow",
    "TestState",
    "TestSubject",
    "Webhook",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookState",
]
