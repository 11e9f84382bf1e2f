"""The rendered documents: stored once, and only handed out as exactly what was stored."""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

from connectors.codes import Code
from connectors.exceptions import DocumentError
from connectors.models import ERPExport
from connectors.results import Document

STORAGE: Final = "documents"
"""The alias in STORAGES."""


def store(org_id: UUID, document: Document) -> str:
    """Keep the bytes of a document.

    Returns:
        The name they lie under: the organisation and their hash, so that the same bytes are kept once.
    """
    storage, name = storages[STORAGE], f"{org_id}/{document.sha256[:2]}/{document.sha256}"
    if _read(storage, name) == document.content:
        return name
    # Whatever else lies there is the torso of an interrupted write: the storage never overwrites, it picks a free name.
    return storage.save(name, ContentFile(document.content))


def load(export: ERPExport) -> Document | None:
    """Return the document that was rendered for this export; None when it was not rendered yet.

    Raises:
        DocumentError: DOCUMENT_LOST: the bytes are gone, or are not the ones that were stored.
    """
    if not export.document_name:
        return None
    content = _read(storages[STORAGE], export.document_name)
    if content is None or len(content) != export.document_size or _sha256(content) != export.document_sha256:
        raise DocumentError(Code.DOCUMENT_LOST)
    return Document(filename=export.filename, content=content, media_type=export.document_media_type)


def _read(storage: Storage, name: str) -> bytes | None:
    try:
        with storage.open(name, "rb") as file:
            content: bytes = file.read()
            return content
    except FileNotFoundError:
        return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
