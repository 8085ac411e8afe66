"""What servers write as receipts is understood; whatever octets come are one short line for each value, or no receipt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.exchange.receipt import MAX_OCTETS, MAX_RECIPIENTS, MAX_VALUE, Action, Fate, Receipt, read_receipt
from filterd.mail.address import Mailbox
from filterd.mail.dsn import Refused, Undelivered, compose
from filterd.mail.envelope import Recipient
from filterd.mail.reply import Reply
from sandbox import receipts
from tests.support.growth import assert_growth

# Composed after what Exchange's receipts look like: nested alternatives, no ENVID first, fields of its own.
EXCHANGE = b"""From: <postmaster@contoso.com>
To: <filterd-probe-x@filter.contoso.com>
Date: Thu, 26 Nov 2026 10:00:02 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4f9b6c2e-7e5b-4a52-9c33-bd6f6d1d3c0a"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: en-US
Message-ID: <1@EX01.contoso.com>
In-Reply-To: <filterd-probe-1@filter.contoso.com>
Subject: Delivered: Probe of filterd
Auto-Submitted: auto-replied

--4f9b6c2e-7e5b-4a52-9c33-bd6f6d1d3c0a
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="7c9a"

--7c9a
Content-Type: text/plain; charset="us-ascii"

Your message has been delivered to the following recipients:

--7c9a
Content-Type: text/html; charset="us-ascii"

<p>Your message has been delivered

--7c9a--

--4f9b6c2e-7e5b-4a52-9c33-bd6f6d1d3c0a
Content-Type: message/delivery-status

Reporting-MTA: dns;EX01.contoso.com
Received-From-MTA: dns;filter.contoso.com
Arrival-Date: Thu, 26 Nov 2026 10:00:01 +0000
Original-Envelope-Id: 0123456789abcdef

Final-Recipient: rfc822;you@contoso.com
Action: delivered
Status: 2.0.0
X-Display-Name: You

--4f9b6c2e-7e5b-4a52-9c33-bd6f6d1d3c0a
Content-Type: message/rfc822

From: filterd <postmaster@filter.contoso.com>
Subject: Probe of filterd

--4f9b6c2e-7e5b-4a52-9c33-bd6f6d1d3c0a--
""".replace(b"\n", b"\r\n")


def status(*lines: str, kind: str = "message/delivery-status", outer: str = "multipart/report") -> bytes:
    """A receipt with that status part."""
    head = f"Content-Type: {outer}; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: {kind}\r\n\r\n"
    return (head + "\r\n".join(lines) + "\r\n\r\n--b--\r\n").encode("utf-8", "surrogateescape")


def test_a_receipt_of_exchange() -> None:
    assert read_receipt(EXCHANGE) == Receipt(
        "EX01.contoso.com", "0123456789abcdef", (Fate(Action.DELIVERED, "you@contoso.com", "2.0.0"),)
    )


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "failed", "delayed"])
def test_what_the_stand_in_writes(action: str) -> None:
    found = read_receipt(
        receipts.compose("ex.example.org", action, "a@example.net", "RET=HDRS ENVID=abc", ["b@example.org"])
    )
    assert found is not None
    assert (found.reporter, found.envelope, found.chief.action) == ("ex.example.org", "abc", action)
    assert bool(found.chief.diagnostic) == (action in ("failed", "delayed"))


def test_what_we_write_ourselves() -> None:
    refused = Refused(Recipient(Mailbox("c", "example.com")), Reply(550, "5.1.1", "User unknown"))
    about = Undelivered("ID", Mailbox("a", "example.org"), ("ENVID=abc+3Dd",), (refused,), b"Subject: x\r\n\r\n")
    assert read_receipt(compose(about, "filter.example.org", 0)) == Receipt(
        "filter.example.org", "abc=d", (Fate(Action.FAILED, "c@example.com", "5.1.1", "550 5.1.1 User unknown"),)
    )


def test_of_several_the_worst_is_said_first() -> None:
    groups = ["Reporting-MTA: dns; a", ""]
    for action in ("delayed", "expanded", "delivered", "failed"):
        groups += [f"Action: {action}", ""]
    found = read_receipt(status(*groups))
    assert found is not None
    assert len(found.fates) == 4
    assert found.chief.action is Action.FAILED


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"From: a@example.net\r\nSubject: Automatic reply\r\n\r\nI am away.\r\n",
        status("Reporting-MTA: dns; a"),
        status("Reporting-MTA: dns; a", "", "Action: eaten", "Status: 5.0.0"),
        status("Reporting-MTA: dns; a", "", "Action: failed", outer="multipart/mixed"),
        status("Reporting-MTA: dns; a", "", "Action: failed", kind="text/plain"),
    ],
)
def test_what_is_no_receipt(octets: bytes) -> None:
    assert read_receipt(octets) is None


def test_a_receipt_that_is_only_quoted_is_none() -> None:
    inner = status("Reporting-MTA: dns; a", "", "Action: delivered").decode()
    head = "Content-Type: multipart/report; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
    assert read_receipt(f"{head}{inner}\r\n--o--\r\n".encode()) is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("5.1.1", "5.1.1"),
        (" 4.4.7 (delayed)", "4.4.7"),
        ("5.1.1000", ""),
        ("3.0.0", ""),
        ("five", ""),
        ("\uff15.1.1", ""),
    ],
)
def test_forms_of_a_status(written: str, read: str) -> None:
    found = read_receipt(status("Action: FAILED (really)", f"Status: {written}"))
    assert found is not None
    assert found.chief == Fate(Action.FAILED, "", read)


def test_folded_lines_are_one_and_the_first_field_counts() -> None:
    found = read_receipt(
        status(
            "Action: failed",
            "Diagnostic-Code: smtp;",
            "\t550 5.1.1",
            " nobody; here",
            "Diagnostic-Code: smtp;other",
            " more",
        )
    )
    assert found is not None
    assert found.chief.diagnostic == "550 5.1.1 nobody; here"


def test_nothing_in_it_can_write_to_a_terminal_or_is_long() -> None:
    evil = "\x1b]0;owned\x07\u202e\x9b31m\x00\x7f" + "x" * 5_000
    octets = status(
        f"Reporting-MTA: dns;{evil}",
        f"Original-Envelope-Id: {evil}",
        "",
        "Action: failed",
        f"Final-Recipient: rfc822;{evil}",
        f"Diagnostic-Code: smtp;{evil}",
    )
    shown = shown_of(octets)
    assert len(shown) == 4
    assert all("owned" in text and len(text) <= MAX_VALUE for text in shown)
    assert all(text.isascii() and text.isprintable() for text in shown)


def shown_of(octets: bytes) -> list[str]:
    found = read_receipt(octets)
    if found is None:
        return []
    fates = (text for fate in found.fates for text in (fate.recipient, fate.status, fate.diagnostic))
    return [text for text in (found.reporter, found.envelope, *fates) if text]


def test_recipients_have_a_bound() -> None:
    found = read_receipt(status(*["Action: failed", ""] * 500))
    assert found is not None
    assert len(found.fates) <= MAX_RECIPIENTS + 1


@given(st.binary(max_size=2_000))
def test_any_octets_are_a_receipt_or_none(octets: bytes) -> None:
    for whole in (
        octets,
        EXCHANGE.replace(b"Reporting-MTA", octets, 1),
        status(octets.decode("utf-8", "surrogateescape")),
    ):
        for text in shown_of(whole):
            assert text.isascii()
            assert text.isprintable()
            assert len(text) <= MAX_VALUE


@pytest.mark.parametrize(
    "piece",
    [
        b"a" * 1000,
        b"Action: failed\r\n\r\n",
        b" x\r\n",
        b"\r\n",
        b"X:\r\n",
        b"Status: 5.\r\n",
        b": ",
        b"--b\r\n",
        b"\x1b;",
        b"Diagnostic-Code: " + b"a" * 500 + b"\r\n",
    ],
)
def test_the_work_grows_as_the_receipt(piece: bytes) -> None:
    def prepare(size: int) -> Callable[[], object]:
        octets = status("@").replace(b"@", piece * (size // len(piece)))
        return lambda: read_receipt(octets)

    assert_growth(prepare, MAX_OCTETS // 8, MAX_OCTETS - 1000, 8 * 2)


def test_beyond_its_bound_nothing_is_looked_at() -> None:
    octets = EXCHANGE + b"x" * (1 << 20)
    assert read_receipt(octets) == read_receipt(EXCHANGE)
    assert read_receipt(b"X: " + b"y" * (1 << 20) + b"\r\n" + EXCHANGE) is None
