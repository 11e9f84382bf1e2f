"""Rendered documents: kept once, handed out unaltered or not at all."""

import errno
import os
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone

from connectors.codes import Code
from connectors.exceptions import DocumentError, TemporaryError
from connectors.models import ERPExport
from connectors.results import Document
from connectors.services import documents, shelves
from erpconfig import parsers

ORG_ID = uuid4()
DOCUMENT = Document(filename="order.json", content=b'{"qty": 10.50}', media_type="application/json")


@pytest.fixture
def storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {"documents": parsers.document_storage(str(tmp_path / "documents"))}
    return storages[shelves.STORAGE]


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


def test_a_torso_under_the_name_is_replaced(storage):
    name = f"{ORG_ID}/{DOCUMENT.sha256[:2]}/{DOCUMENT.sha256}"
    storage.save(name, ContentFile(DOCUMENT.content[:5]))

    assert documents.store(ORG_ID, DOCUMENT) == name
    assert documents.load(export_of(name)) == DOCUMENT


@pytest.mark.parametrize("size", [2, 20])
def test_a_batch_is_on_the_disk_before_any_of_it_has_its_name(storage, monkeypatch, size):
    batch = [Document(filename=f"{n}.json", content=b"%d" % n, media_type="application/json") for n in range(size)]
    Path(storage.location).mkdir()
    done, fsync, syncfs, replace = [], os.fsync, shelves._syncfs, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr(shelves, "_syncfs", lambda handle: (done.append("all"), syncfs(handle)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (done.append("named"), replace(path, to)))

    names = documents.store_many(ORG_ID, [*batch, batch[0]])

    paths = [Path(storage.path(name)) for name in names]
    files, folders = ({path.stat().st_ino for path in each} for each in (paths, {path.parent for path in paths}))
    first, last = done.index("named"), len(done) - done[::-1].index("named")
    assert done[first:last] == ["named"] * size
    assert "all" in done[:first] or files <= set(done[:first])
    assert "all" in done[last:] or folders <= set(done[last:])
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    exports = [export_of(name, document) for name, document in zip(names, [*batch, batch[0]], strict=True)]
    assert documents.load_many(exports) == [*batch, batch[0]]


def test_a_full_disk_leaves_nothing_and_is_tried_again(storage, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOSPC, "s3cret")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TemporaryError) as error:
        documents.store(ORG_ID, DOCUMENT)

    assert error.value.code is Code.DOCUMENT_STORAGE_FAILED
    assert files_below(storage) == []


def test_a_storage_that_is_not_mounted_has_lost_nothing(storage):
    name = documents.store(ORG_ID, DOCUMENT)
    Path(storage.location).rename(f"{storage.location}.away")

    with pytest.raises(TemporaryError):
        documents.load(export_of(name))


def test_a_purged_document_is_told_from_a_lost_one(storage):
    kept, purged, lost = (export_of(documents.store(ORG_ID, DOCUMENT)) for _ in range(3))
    purged.document_purged_at = timezone.now()
    lost.document_name = f"{ORG_ID}/00/{'0' * 64}"

    first, second, third, fourth = documents.load_many([purged, lost, ERPExport(), kept])

    assert (first.code, second.code) == (Code.DOCUMENT_PURGED, Code.DOCUMENT_LOST)
    assert (third, fourth) == (None, DOCUMENT)


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
