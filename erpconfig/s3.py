"""Documents in S3: one journey for each, and nobody waits long for a storage that does not answer."""

from __future__ import annotations

from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import ClientError
from django.core.files.base import ContentFile, File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

_PATIENCE: Final = {
    "connect_timeout": 3,
    "read_timeout": 10,
    "retries": {"total_max_attempts": 2, "mode": "standard"},
}
"""Well below the lease of an export; what does not work by then is tried again with the export."""


class DocumentBucket(S3Storage):
    """A bucket in which a document that is missing is told from a bucket that is missing."""

    client_config: Any

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults: private objects, written by one PUT that replaces."""
        return super().get_default_settings() | {"default_acl": None, "file_overwrite": True, "gzip": False}

    def __init__(self, **options: Any) -> None:
        """Take the options of S3Storage."""
        super().__init__(**options)
        self.client_config = self.client_config.merge(Config(**_PATIENCE, max_pool_connections=32))

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:  # noqa: ARG002  # Django's signature
        key = self._normalize_name(clean_name(name))
        try:
            answer = self.bucket.Object(key).get()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchKey":
                raise
        else:
            return ContentFile(answer["Body"].read(), name=name)
        raise FileNotFoundError(name)
