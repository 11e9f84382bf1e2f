"""Config read and write, through the model field, against json + cached AES-GCM and against Fernet.

Run from the root: python -m bench.encryption
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from bench.measure import Report, medians
from connectors.fields import EncryptedConfigField

CONFIG: dict[str, Any] = {
    "mode": "sftp",
    "host": "sftp.erp.example.com",
    "port": 22,
    "username": "orders",
    "password": "correct horse battery staple",
    "private_key": None,
    "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
    "export_path": "/in/bestellungen/müller",
    "ack_path": "/out/quittungen",
    "atomic_write": True,
    "temp_suffix": ".tmp",
    "timeout_s": 10,
}


def main() -> int:
    """Print the ratios; return 1 when a target is missed."""
    settings.configure(
        ENCRYPTION_MASTER_KEY=os.urandom(32).hex(), ENCRYPTION_PREVIOUS_KEYS=[], ENCRYPTION_KEY_PROVIDERS=[]
    )
    field = EncryptedConfigField()
    field.set_attributes_from_name("config_encrypted")
    row: Any = SimpleNamespace(pk=uuid4(), org_id=uuid4(), config_encrypted=b"")
    row.config_encrypted = field.seal(row, CONFIG)

    cipher, associated_data = AESGCM(os.urandom(32)), os.urandom(87)
    fernet = Fernet(Fernet.generate_key())

    def write_with_aesgcm() -> bytes:
        iv = os.urandom(12)
        return iv + cipher.encrypt(iv, json.dumps(CONFIG).encode(), associated_data)

    def read_with_aesgcm() -> object:
        return json.loads(cipher.decrypt(sealed[:12], sealed[12:], associated_data))

    def write_with_fernet() -> bytes:
        return fernet.encrypt(json.dumps(CONFIG).encode())

    def read_with_fernet() -> object:
        return json.loads(fernet.decrypt(token))

    sealed, token = write_with_aesgcm(), write_with_fernet()
    report = Report()
    for what, ours, aesgcm, with_fernet in (
        ("config read", lambda: field.open(row), read_with_aesgcm, read_with_fernet),
        ("config write", lambda: field.seal(row, CONFIG), write_with_aesgcm, write_with_fernet),
    ):
        seconds, floor, fernet_seconds = medians(ours, aesgcm, with_fernet)
        report.at_most(what, seconds, floor=floor, floor_name="json+AESGCM", times=1.5)
        report.at_least(what, seconds, floor=fernet_seconds, floor_name="Fernet", times=2)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
