"""The rendered documents: stored once, and only handed out as exactly what was stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from connectors.codes import Code
from connectors.exceptions import DocumentError, TemporaryError
from connectors.models import ERPExport
from connectors.results import Document
from connectors.services.shelves import shelf
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)


def store(org_id: UUID, document: Document) -> str:
    """Keep the bytes of a document.

    Returns:
        The name they lie under: the organisation and their hash, so that the same bytes are kept once.

    Raises:
        TemporaryError: DOCUMENT_STORAGE_FAILED: the storage is away, full or refuses.
    """
    return store_many(org_id, [document])[0]


def store_many(org_id: UUID, documents: Iterable[Document]) -> list[str]:
    """Keep the bytes of several documents at little more than the price of one; see `store`.

    When this returns, all of them survive a loss of power; when it raises, some of them may be kept.
    """
    named = [(f"{org_id}/{document.sha256[:2]}/{document.sha256}", document.content) for document in documents]
    with _storage_may_fail():
        shelf().write(dict(named))
    return [name for name, _ in named]


def load(export: ERPExport) -> Document | None:
    """Return the document that was rendered for this export; None when it was not rendered yet.

    Raises:
        DocumentError: DOCUMENT_LOST: the bytes are gone, or are not the ones that were stored; DOCUMENT_PURGED: the
            organisation keeps them no longer.
        TemporaryError: DOCUMENT_STORAGE_FAILED: the storage is away or refuses.
    """
    document = load_many([export])[0]
    if isinstance(document, DocumentError):
        raise document
    return document


def read(export: ERPExport, actor: Actor) -> Document | None:
    """Return the document to somebody who asked for it, which is recorded; see `load`."""
    document = load(export)
    if document is not None:
        record(actor, "export.document_read", org=export.org, target=export, order_id=export.order_id)
    return document


def load_many(exports: Sequence[ERPExport]) -> list[Document | DocumentError | None]:
    """Return the documents of several exports in their sequence, each as `load` would return or raise it.

    Raises:
        TemporaryError: DOCUMENT_STORAGE_FAILED: the storage is away or refuses; that concerns all of them.
    """
    stored = [export.document_name for export in exports if export.document_name and not export.document_purged_at]
    with _storage_may_fail():
        contents = iter(shelf().read(stored))
    return [_document(export, contents) for export in exports]


def _document(export: ERPExport, contents: Iterator[bytes | None]) -> Document | DocumentError | None:
    if not export.document_name:
        return None
    if export.document_purged_at:
        return DocumentError(Code.DOCUMENT_PURGED)
    content = next(contents)
    if content is None or len(content) != export.document_size or _sha256(content) != export.document_sha256:
        return DocumentError(Code.DOCUMENT_LOST)
    return Document(filename=export.filename, content=content, media_type=export.document_media_type)


@contextmanager
def _storage_may_fail() -> Iterator[None]:
    """Let whatever the storage raises end as one error of ours, without the text: it may name a key or an address."""
    try:
        yield
        return
    except Exception as error:  # of the operating system, of boto3, of whatever is configured
        log.error("documents.storage_failed", exc_info=error)
    raise TemporaryError(Code.DOCUMENT_STORAGE_FAILED)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
