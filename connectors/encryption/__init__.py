"""How a connection's configuration is encrypted at rest: `envelope` is the format, `keyring` holds the keys.

Pure Python: no Django, no I/O on import. The Django side is `connectors.fields.EncryptedConfigField`.
"""

from connectors.encryption.keyring import KeyRing, parse_master_key

__all__ = ["KeyRing", "parse_master_key"]
