"""The verbs of the master keys: may this process serve, what is each key needed for, and seal everything anew.

What is encrypted is found in the models and not listed by hand, so that no column can be forgotten. All of this looks
after all organisations at once.
"""

from connectors.services.keys.columns import NoEncryptedFields, UnreadableRow, encrypted_fields, rows_by_key
from connectors.services.keys.registry import REFUSALS, KeysRefused, admit, fence
from connectors.services.keys.rotation import RotationReport, rotate
from connectors.services.keys.status import KeyStatus, KeyUse, TableUse, is_fit_to_serve, status

__all__ = [
    "REFUSALS",
    "KeyStatus",
    "KeyUse",
    "KeysRefused",
    "NoEncryptedFields",
    "RotationReport",
    "TableUse",
    "UnreadableRow",
    "admit",
    "encrypted_fields",
    "fence",
    "is_fit_to_serve",
    "rotate",
    "rows_by_key",
    "status",
]
