"""Documents in S3: what a server that behaves, one that lost or altered an object, and none at all come to."""

import logging
import socket

import boto3
import pytest
from moto.server import ThreadedMotoServer

from connectors.codes import Code
from connectors.exceptions import DocumentError, TemporaryError
from connectors.services import documents, shelves
from connectors.tests.services.test_documents import DOCUMENT, ORG_ID, export_of
from erpconfig import parsers, s3

SECRET = "canary-s3-77"


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def use(settings, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    def use(endpoint, bucket="documents"):
        url = f"s3://{bucket}/orders?endpoint_url={endpoint}&region_name=eu-central-1"
        settings.STORAGES = settings.STORAGES | {shelves.STORAGE: parsers.document_storage(url)}

    return use


@pytest.fixture
def bucket(server, use):
    use(server)
    bucket = boto3.resource("s3", endpoint_url=server, region_name="eu-central-1").Bucket("documents")
    bucket.create(CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()


def test_what_is_stored_is_kept_once_and_loaded(bucket):
    name = documents.store(ORG_ID, DOCUMENT)
    documents.store_many(ORG_ID, [DOCUMENT])

    assert [item.key for item in bucket.objects.all()] == [f"orders/{name}"]
    assert documents.load(export_of(name)) == DOCUMENT
    assert list(shelves.shelf().names(str(ORG_ID))) == [name]


@pytest.mark.parametrize("content", [None, b"", DOCUMENT.content + b" ", DOCUMENT.content.replace(b"10.50", b"99.50")])
def test_a_lost_or_altered_object_is_refused(bucket, content):
    name = documents.store(ORG_ID, DOCUMENT)
    item = bucket.Object(f"orders/{name}")
    item.delete() if content is None else item.put(Body=content)

    with pytest.raises(DocumentError) as error:
        documents.load(export_of(name))

    assert error.value.code is Code.DOCUMENT_LOST


class TestTrouble:
    """Whatever is wrong with the storage, the order is tried again and the log says no secret."""

    def fails(self, caplog):
        for act in (lambda: documents.store(ORG_ID, DOCUMENT), lambda: documents.load(export_of(f"{ORG_ID}/ab/cd"))):
            with pytest.raises(TemporaryError) as error:
                act()
            assert error.value.code is Code.DOCUMENT_STORAGE_FAILED
            assert SECRET not in repr(error.value) + str(error.value)
        assert "storage_failed" in caplog.text
        assert SECRET not in caplog.text

    def test_no_such_bucket(self, bucket, server, use, caplog):
        use(server, "elsewhere")
        self.fails(caplog)

    def test_refused(self, use, caplog):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        use(f"http://127.0.0.1:{port}")
        self.fails(caplog)

    def test_no_answer(self, use, caplog, monkeypatch):
        monkeypatch.setitem(s3._PATIENCE, "read_timeout", 0.1)
        monkeypatch.setitem(s3._PATIENCE, "retries", {"total_max_attempts": 1})
        caplog.set_level(logging.DEBUG)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            use(f"http://127.0.0.1:{silent.getsockname()[1]}")
            self.fails(caplog)
