"""Messages arrive as they were sent: our fields above, and not one octet changed below, whatever way they came and went."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

import dkim
import pytest

from sandbox.exchange import StandInExchange
from sandbox.session import KEYWORDS, hello
from tests.support.daemon import Daemon
from tests.support.exchange import running_exchange
from tests.support.keys import KEY_NAME, rsa_key
from tests.support.nameserver import running_nameserver
from tests.support.untouched import Smime, filled, head, samples

pytestmark = [pytest.mark.slow, pytest.mark.server("openssl")]

# What is suspicious in them is not asked here, but all checks look at them.
EXTRA = """
[policy]
tag_score = 40
quarantine_score = 50
reject_score = 60
[greylist]
enabled = false
[clients]
greet_seconds = 0
messages_per_minute = 0
sender_messages_per_minute = 0
"""
SIGNED = Smime.part.replace(b"\r\n", b"\n")
CHUNK = 1013  # octets of a BDAT; prime, so that lines and CRLFs are cut anywhere


@dataclass
class House:
    """A daemon between a client and an Exchange."""

    daemon: Daemon
    exchange: StandInExchange
    smime: Smime

    def send(self, octets: bytes, *, chunks: bool, size: int = CHUNK) -> str:
        """The answer to end-of-data."""
        with smtplib.SMTP("127.0.0.1", self.daemon.smtp_port, "client.example.com", timeout=60) as client:
            client.ehlo()
            client.mail("anna@example.com", ["BODY=8BITMIME"])
            assert client.rcpt("bob@example.org")[0] == 250
            if chunks:
                for at in range(0, len(octets), size):
                    part = octets[at : at + size]
                    client.send(b"BDAT %d%s\r\n" % (len(part), b" LAST" if at + size >= len(octets) else b"") + part)
                    code, text = client.getreply()
                    assert code == 250, text
            else:
                assert client.docmd("DATA")[0] == 354
                client.send(re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n")
                code, text = client.getreply()
            return f"{code} {text.decode()}"

    def through(self, octets: bytes, *, chunks: bool, size: int = CHUNK) -> bytes:
        """What Exchange got of it, our fields cut off; they must be ours alone."""
        before = len(self.exchange.received)
        assert self.send(octets, chunks=chunks, size=size).startswith("250 ")
        (arrived,) = self.exchange.received[before:]
        match = OUR_FIELDS.match(arrived.octets)
        assert match is not None, arrived.octets[:2000]
        return arrived.octets[match.end() :]


OUR_FIELDS = re.compile(
    rb"(?:(?:Received-SPF|Received|Authentication-Results):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+"
    rb"X-Filterd-Report:[^\r\n]*\r\n(?:\t[^\r\n]*\r\n)*(?:X-Filterd-Separator:[^\r\n]*\r\n)?"
)


@pytest.fixture(scope="module", params=["DATA", "BDAT"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With an Exchange that messages go on to by DATA, and one by BDAT."""
    folder = tmp_path_factory.mktemp("untouched")
    zones = {"example.com": f'test._domainkey IN TXT "{rsa_key()[1]}"'}
    with running_exchange(folder / "maildir") as exchange, running_nameserver(zones) as dns_port:
        offered = [word for word in KEYWORDS if word != "CHUNKING" or request.param == "BDAT"]
        exchange.answers["ehlo"] = hello("exchange.example.org Hello", offered)
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=1, extra=EXTRA).start()
        try:
            yield House(daemon, exchange, Smime(folder))
            assert any(line.startswith(request.param) for line in exchange.transcript)
        finally:
            daemon.stop()


def verified(octets: bytes) -> bool:
    """Whether the DKIM signature is good."""

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        return rsa_key()[1].encode() if name.decode().rstrip(".") == KEY_NAME else None

    return bool(dkim.verify(octets, dnsfunc=txt))


WAYS = pytest.mark.parametrize("chunks", [False, True], ids=["by DATA", "by BDAT"])


@WAYS
def test_every_message_is_as_it_was(house: House, chunks: bool) -> None:
    for name, octets in samples(house.smime).items():
        got = house.through(octets, chunks=chunks)
        assert got == octets, name
        if name.startswith("dkim"):
            assert verified(octets), "the sample itself"
            assert verified(house.exchange.received[-1].octets), name
        if name == "smime signed":
            assert house.smime.verified(house.exchange.received[-1].octets).replace(b"\r\n", b"\n") == SIGNED
        if name == "smime encrypted":
            assert house.smime.decrypted(house.exchange.received[-1].octets).replace(b"\r\n", b"\n") == SIGNED
    assert house.daemon.audit()["clean"]


@WAYS
def test_a_message_as_large_as_is_allowed(house: House, chunks: bool) -> None:
    with smtplib.SMTP("127.0.0.1", house.daemon.smtp_port, timeout=60) as client:
        client.ehlo()
        size = int(client.esmtp_features["size"])
    octets = filled("as large as allowed", size)
    assert len(octets) == size
    assert house.through(octets, chunks=chunks, size=10_000_019) == octets
    assert house.send(octets[:-2] + b"e\r\n", chunks=False).startswith("552 "), "one octet more"


def test_what_only_we_and_exchange_may_say_goes_and_nothing_else(house: House) -> None:
    forged = b"X-MS-Exchange-Organization-SCL: -1\r\nX-Filterd-Report: SCL:0;\r\n\tSFV:NSPM\r\n"
    before, after = b"X-MS-Exchange-Foreign: 1\r\n", b"X-ms-exchange-transport-x: \t2 \r\n"
    body = b"\r\nX-MS-Exchange-Organization-SCL: -1\r\n"
    arrived = house.through(head("forged", before, forged, after) + body, chunks=False)
    assert arrived == head("forged", before, after) + body


def test_suspicious_mail_has_its_subject_as_it_was(house: House) -> None:
    octets = (
        head("unknown.nowhere", b"Subject: [SPAM] cheap =?utf-8?q?pills?=\r\n")
        + b"\r\nhttp://192.0.2.1/viagra casino\r\n"
    )
    assert house.through(octets, chunks=True) == octets
