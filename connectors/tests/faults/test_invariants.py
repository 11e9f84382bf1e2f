"""The judge itself: each kind of lie is noticed, and the truth is not."""

import hashlib

import pytest

from connectors.models import ERPExport
from connectors.services import connections, delivery, exports
from connectors.testing import sample_orders
from connectors.tests.faults.invariants import Arrived, violations


@pytest.fixture
def inbox(acme, actor, settings, tmp_path):
    """Three orders that have arrived, as files that a test may tamper with."""
    settings.DROPZONE_ROOT = str(tmp_path)
    (tmp_path / "inbox").mkdir()
    config = {"mode": "filesystem", "export_path": "inbox"}
    connection = connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)
    for number in range(1, 4):
        exports.submit(acme, actor, sample_orders.minimal(f"SO-{number}"), idempotency_key=str(number))
        delivery.drain(connection.pk)
    return tmp_path / "inbox"


@pytest.fixture
def judge(acme, inbox):
    def judge(*more):
        def arrived():
            for path in sorted(inbox.iterdir()):
                content, state = path.read_bytes(), path.stat()
                sha256 = hashlib.sha256(content).hexdigest()
                yield Arrived(name=path.name, sha256=sha256, size=len(content), published_at=state.st_ctime_ns / 1e9)
            yield from more

        return violations(acme.pk, arrived)

    return judge


def first():
    return ERPExport.objects.get(order_id="SO-1")


def say(export, **columns):
    ERPExport.objects.filter(pk=export.pk).update(**columns)


def test_the_truth(judge):
    assert judge() == []


def test_an_order_that_is_lost(judge, inbox):
    (inbox / first().filename).unlink()

    assert any("is not there" in text for text in judge())


def test_an_order_that_arrived_twice(judge):
    copy = Arrived(name=first().filename, sha256=first().document_sha256, size=1, published_at=0)

    assert any("arrived 2 times" in text for text in judge(copy))


def test_an_order_that_arrived_as_two_exports(judge):
    other = ERPExport.objects.get(order_id="SO-2")
    say(first(), status="FAILED")
    say(other, order_id="SO-1")

    assert any("arrived as 2 exports" in text for text in judge())


def test_a_part_of_an_order(judge, inbox):
    path = inbox / first().filename
    path.write_bytes(path.read_bytes()[:-1])

    assert any("bytes arrived of" in text for text in judge())


def test_a_file_of_nobody(judge, inbox):
    (inbox / "sales_order_x.json").write_text("{}")

    assert judge() == ["sales_order_x.json belongs to no export"]


@pytest.mark.parametrize(
    "columns",
    [{"status": "PENDING"}, {"status": "FAILED"}, {"status": "CANCELLED"}, {"status": "REJECTED", "sent_at": None}],
)
def test_what_is_said_not_to_have_arrived(judge, columns):
    say(first(), **columns)

    assert any("has arrived" in text for text in judge())


@pytest.mark.parametrize("columns", [{"status": "PENDING", "outcome_unknown": True}, {"status": "UNCONFIRMED"}])
def test_who_is_in_doubt_may_be_wrong_either_way(judge, inbox, columns):
    say(first(), **columns)
    assert judge() == []
    (inbox / first().filename).unlink()

    # What the attempts say cannot be changed, and an order in doubt is still in line.
    assert [text for text in judge() if "says SENT" not in text and "overtaken" not in text] == []


def test_an_attempt_that_claims_what_is_not_so(judge, inbox):
    say(first(), status="UNCONFIRMED")
    (inbox / first().filename).unlink()

    assert any("says SENT, and it is not there" in text for text in judge())


def test_an_order_that_overtakes(judge, inbox):
    path = inbox / first().filename
    path.rename(inbox / "aside")
    (inbox / "aside").rename(path)  # now it is the last to have got its name

    assert any("overtaken by 2 orders" in text for text in judge())
    say(first(), retry_of=ERPExport.objects.get(order_id="SO-2"))
    assert judge() == []


def test_one_that_waits_holds_back_those_behind_it(judge, inbox):
    say(first(), status="PENDING")
    (inbox / first().filename).unlink()

    assert any("overtaken by 2 orders" in text for text in judge())
