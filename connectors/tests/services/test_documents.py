"""Rendered documents: kept once, handed out unaltered or not at all."""

from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from connectors.codes import Code
from connectors.exceptions import DocumentError
from connectors.models import ERPExport
from connectors.results import Document
from connectors.services import documents

ORG_ID = uuid4()
DOCUMENT = Document(filename="order.json", content=b'{"qty": 10.50}', media_type="application/json")


@pytest.fixture
def storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "documents": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path)},
        }
    }
    return storages[documents.STORAGE]


def export_of(name, document=DOCUMENT):
    return ERPExport(
        filename=document.filename,
        document_name=name,
        document_sha256=document.sha256,
        document_size=document.size,
        document_media_type=document.media_type,
    )


def files_below(storage):
    return [path for path in Path(storage.location).rglob("*") if path.is_file()]


def test_what_is_stored_is_loaded(storage):
    name = documents.store(ORG_ID, DOCUMENT)

    assert name == f"{ORG_ID}/{DOCUMENT.sha256[:2]}/{DOCUMENT.sha256}"
    assert documents.load(export_of(name)) == DOCUMENT


def test_the_same_bytes_are_kept_once(storage):
    assert documents.store(ORG_ID, DOCUMENT) == documents.store(ORG_ID, DOCUMENT)

    assert len(files_below(storage)) == 1


def test_the_torso_of_an_interrupted_write_is_no_document(storage):
    intended = f"{ORG_ID}/{DOCUMENT.sha256[:2]}/{DOCUMENT.sha256}"
    storage.save(intended, ContentFile(DOCUMENT.content[:5]))

    name = documents.store(ORG_ID, DOCUMENT)

    assert name != intended
    assert documents.load(export_of(name)) == DOCUMENT


def test_nothing_is_loaded_before_it_is_rendered(storage):
    assert documents.load(ERPExport()) is None


@pytest.mark.parametrize("content", [None, b"", DOCUMENT.content[:-1], DOCUMENT.content.replace(b"10.50", b"99.50")])
def test_a_lost_or_altered_document_is_refused(storage, content):
    name = documents.store(ORG_ID, DOCUMENT)
    if content is None:
        storage.delete(name)
    else:
        Path(storage.path(name)).write_bytes(content)

    with pytest.raises(DocumentError) as error:
        documents.load(export_of(name))

    assert error.value.code is Code.DOCUMENT_LOST
