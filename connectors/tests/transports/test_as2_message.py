"""Messages as a partner reads them, whose openssl decrypts and verifies: our own reading would prove little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConfigurationError
from connectors.results import Document
from connectors.tests.peers.as2_partner import Refused, ec_key, make_pair, rsa_key
from connectors.tests.transports import as2
from connectors.transports import as2_message

NOW = datetime.now(UTC)
CREATED = datetime(2026, 11, 1, 12, tzinfo=UTC)


def written(config, content=b"UNA:+.? '", *, now=NOW, receipts_to=None):
    document = Document(filename="order_1.edi", content=content, media_type="application/EDIFACT")
    return as2_message.write(
        document,
        config,
        config.agreement(),
        export_id=UUID(int=7),
        created_at=CREATED,
        now=now,
        receipts_to=receipts_to,
    )


def read(partner, message):
    return partner.open({name.lower(): value for name, value in message.headers.items()}, message.body)


@pytest.fixture
def partner(tmp_path):
    return as2.partner(tmp_path)


@pytest.mark.parametrize("cipher", ["aes128_cbc", "aes192_cbc", "aes256_cbc", "aes128_gcm", "aes256_gcm", "none"])
@pytest.mark.parametrize("compression", ["none", "before_signing", "after_signing"])
def test_the_partner_reads_what_was_written(partner, cipher, compression):
    config = as2.config(cipher=cipher, compression=compression, digest="sha384", key_transport="oaep")

    taken = read(partner, written(config, b"some\r\ncontent"))

    assert (taken.filename, taken.content) == ("order_1.edi", b"some\r\ncontent")
    envelope = () if cipher == "none" else ("authEnveloped-data" if "gcm" in cipher else "enveloped-data",)
    packed = {"none": (), "before_signing": (1,), "after_signing": (0,)}[compression]
    layers = ["multipart/signed"]
    for place in packed:
        layers.insert(place, "compressed-data")
    assert taken.layers == (*envelope, *layers, "application/edifact")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"no end",
        b"CRLF\r\n",
        b"bare\nfeeds\n",
        b"old\rmac\r",
        b"\x00\xff\r\r\n\n",
        b"--part-\r\n--",
        bytes(range(256)) * 300,
    ],
    ids=["nothing", "a line end", "no line end", "CRLF", "LF", "CR", "all of them", "edges", "every byte"],
)
def test_every_content_arrives_as_it_was_and_has_one_checksum(partner, content):
    config = as2.config(cipher="none")
    message = written(config, content)

    taken = read(partner, message)

    assert taken.content == content
    (plain, _) = as2_message.possible_contents(
        Document(filename="order_1.edi", content=content, media_type="application/EDIFACT"), config
    )
    assert taken.signed == plain
    # openssl's own reader of S/MIME puts CRLF everywhere before it verifies, and comes to the same.
    smime = b"".join(f"{name}: {value}\r\n".encode() for name, value in message.headers.items())
    assert partner.verify("-inform", "SMIME", stdin=smime + b"\r\n" + message.body)


def test_every_attempt_signs_the_same_under_the_same_id():
    config = as2.config(cipher="none", compression="before_signing")
    first, second = written(config), written(config, now=NOW + timedelta(days=3))

    assert (first.headers, first.body) == (second.headers, second.body)
    assert first.message_id == f"<{UUID(int=7)}@erp-connector-framework>"
    assert as2_message.export_of(first.message_id) == UUID(int=7)


def test_an_ec_key_signs_the_same_each_time(partner):
    pair = make_pair("acme", key=ec_key())
    config = as2.config(cipher="none", own_certificate=pair.certificate, own_key=pair.key)
    partner.believed = [pair]

    assert written(config).body == written(config).body
    assert read(partner, written(config)).content == b"UNA:+.? '"


def test_headers_say_who_and_how():
    headers = written(as2.config(as2_from='A "big" C\\o', digest="sha512"), receipts_to="https://us.test/as2/1").headers

    assert headers["AS2-From"] == '"A \\"big\\" C\\\\o"'
    assert as2_message.unquoted(headers["AS2-From"]) == 'A "big" C\\o'
    assert (headers["AS2-To"], headers["AS2-Version"]) == ("GLOBEX", "1.1")
    assert headers["Disposition-Notification-Options"] == (
        "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=required, sha512"
    )
    assert headers["Receipt-Delivery-Option"] == "https://us.test/as2/1"
    assert headers["Date"] == "Sun, 01 Nov 2026 12:00:00 GMT"


class TestCertificates:
    """Both sides change theirs without a gap."""

    day = NOW.date() + timedelta(days=10)
    before, after = NOW + timedelta(days=9), NOW + timedelta(days=11)

    def test_the_partners_next_one_is_encrypted_for_from_its_day(self, partner):
        new = make_pair("globex next", key=rsa_key(3))
        config = as2.config(next_partner_certificate=new.certificate, next_partner_from=str(self.day))

        assert read(partner, written(config, now=self.before))
        partner.readers = [new]
        assert read(partner, written(config, now=self.after))
        with pytest.raises(Refused, match="decryption-failed"):
            read(partner, written(config, now=self.before))

    def test_with_our_next_one_we_sign_from_its_day(self, partner):
        new = make_pair("acme next", key=rsa_key(4))
        own = {"next_own_certificate": new.certificate, "next_own_key": new.key, "next_own_from": str(self.day)}
        config = as2.config(**own)

        assert read(partner, written(config, now=self.before))
        partner.believed = [new]
        assert read(partner, written(config, now=self.after))
        with pytest.raises(Refused, match="authentication-failed"):
            read(partner, written(config, now=self.before))

    def test_what_has_expired_or_is_not_valid_yet_is_not_used(self):
        old = make_pair("globex", until=timedelta(hours=-1))
        with pytest.raises(AuthenticationFailed) as caught:
            written(as2.config(partner_certificates=old.certificate))
        assert (caught.value.code, caught.value.params["host"]) == (Code.CERTIFICATE_UNUSABLE, "GLOBEX")

        new = make_pair("acme", since=timedelta(days=1))
        with pytest.raises(AuthenticationFailed) as caught:
            written(as2.config(own_certificate=new.certificate, own_key=new.key))
        assert (caught.value.code, caught.value.params["host"]) == (Code.CERTIFICATE_UNUSABLE, "Acme AS2")

    def test_a_last_day_is_told_unless_a_successor_comes_before_it(self):
        old, new = make_pair("globex", until=timedelta(days=30)), make_pair("globex next")
        base = {"partner_certificates": old.certificate, "next_partner_certificate": new.certificate}

        def told(**changes):
            return [each.field for each in as2.config(**base, **changes).expiries()]

        assert told(next_partner_from=str(self.day)) == ["own_certificate", "next_partner_certificate"]
        late = str(NOW.date() + timedelta(days=40))
        everything = ["own_certificate", "partner_certificates", "next_partner_certificate"]
        assert told(next_partner_from=late) == told() == everything


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"as2_url": None}, "as2_url"),
        ({"as2_url": "http://erp.test/"}, "as2_url"),
        ({"as2_from": " acme"}, "as2_from"),
        ({"as2_to": "GLÖBEX"}, "as2_to"),
        ({"own_key": as2.theirs().key}, "own_key"),
        ({"own_key": "no key"}, "own_key"),
        ({"partner_certificates": as2.theirs().key}, "partner_certificates"),
        ({"partner_certificates": make_pair("globex", key=ec_key()).certificate}, "partner_certificates"),
        ({"next_own_certificate": as2.ours().certificate}, "next_own_key"),
        ({"next_partner_from": "2027-01-01"}, "next_partner_certificate"),
        ({"export_path": "/orders"}, "export_path"),
        ({"username": "acme"}, "password"),
        ({"cipher": "des_ede3_cbc"}, "cipher"),
        ({"digest": "sha1"}, "digest"),
        ({"mode": "filesystem", "export_path": "out"}, "as2_url"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes, path):
    given = {name: value for name, value in as2.settings(**changes).items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        as2.EdifactConfig.parse(given)
    assert path in [fault.path for fault in caught.value.faults]
    assert "PRIVATE KEY" not in str(caught.value)
