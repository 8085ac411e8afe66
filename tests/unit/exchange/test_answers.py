"""Every answer that Microsoft's documents and administrators quote is understood, whatever octets come none breaks the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.exchange.answers import _TABLE, Kind, asks_for_less, meaning_of, meaning_of_kind
from filterd.mail.reply import Reply
from filterd.wire.replies import ReplyParser
from tests.support.growth import assert_growth

REAL = [
    ("452 4.3.1 Insufficient system resources", Kind.BACK_PRESSURE),
    ("452 4.3.1 Insufficient system resources (UsedDiskSpace[C:\\Program Files\\Microsoft])", Kind.BACK_PRESSURE),
    ("421 4.3.2 Service not available", Kind.SERVICE),
    ("421 4.3.2 Service not active", Kind.SERVICE),
    ("421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel", Kind.CONNECTIONS),
    ("421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit, closing transmission channel", Kind.CONNECTIONS),
    ("421 4.4.2 Message submission rate for this client has exceeded the configured limit", Kind.RATE),
    ("451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS843)", Kind.RATE),
    ("451 4.7.0 Temporary server error. Please try again later. PRX2", Kind.FRONT_END),
    ("451 4.7.0 Temporary server error. Please try again later. PRX4 ", Kind.FRONT_END),
    ("451 4.4.0 Message failed to be made redundant", Kind.SHADOW),
    ("450 4.5.1 Message failed to be made redundant", Kind.SHADOW),
    ("450 4.7.230 Connecting Exchange server version is out-of-date; connection to Exchange Online throttled for 5 mins/hr.", Kind.OUTDATED),
    ("550 5.7.230 Connecting Exchange server version is out-of-date; connection to Exchange Online blocked for 10 mins/hr.", Kind.OUTDATED),
    ("550 5.7.1 Anonymous client does not have permissions to send as this sender", Kind.SEND_AS),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", Kind.SEND_AS),
    ("550 5.7.1 Unable to relay", Kind.RELAY),
    ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", Kind.RELAY),
    ("550 5.7.1 Client was not authenticated", Kind.NOT_AUTHENTICATED),
    ("530 5.7.1 Client was not authenticated", Kind.NOT_AUTHENTICATED),
    ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", Kind.NOT_AUTHENTICATED),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Kind.RECIPIENT),
    ("550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found", Kind.RECIPIENT),
    ("550 5.1.1 User unknown", Kind.RECIPIENT),
    ("550 5.4.1 Recipient address rejected: Access denied", Kind.RECIPIENT),
    ("552 5.3.4 Message size exceeds fixed maximum message size", Kind.SIZE),
    ("550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", Kind.SIZE),
    ("452 4.5.3 Too many recipients", Kind.RECIPIENTS),
    ("550 5.5.3 Too many recipients", Kind.RECIPIENTS),
    ("554 5.4.6 Hop count exceeded - possible mail loop", Kind.LOOP),
    ("550 5.3.5 System incorrectly configured", Kind.LOOP),
    ("550 5.7.1 Message rejected due to content restrictions", Kind.CONTENT),
    ("550 5.7.1 Message rejected due to unacceptable attachments", Kind.CONTENT),
    ("550 5.7.902 delivery not authorized, message refused", Kind.CONTENT),
    ("550 5.2.1 Content Filter agent quarantined this message", Kind.QUARANTINED),
    ("554 5.1.0 Sender Denied", Kind.CONTENT),
    ("550 5.6.11 Invalid characters", Kind.LINE_ENDS),
    ("451 5.7.3 STARTTLS is required to send mail", Kind.TLS),
    ("530 5.7.0 Must issue a STARTTLS command first", Kind.TLS),
    ("421 4.4.1 Connection timed out", Kind.TIMEOUT),
    ("503 5.5.2 Send hello first", Kind.PROTOCOL),
    ("501 5.5.4 Invalid domain name", Kind.PROTOCOL),
    ("550 5.7.1 Go away", Kind.OTHER),
    ("450 4.7.1 Client host rejected: cannot find your hostname", Kind.BLOCKED),
    ("554 5.7.1 Service unavailable; Client host [10.0.0.25] blocked using zen.example.net", Kind.BLOCKED),
    ("550 5.7.513 Service unavailable, Client host [10.0.0.25] blocked by example.org using Customer Block list", Kind.BLOCKED),
    ("550 5.7.606 Access denied, banned sending IP [10.0.0.25]", Kind.BLOCKED),
    ("550 5.7.23 The message was rejected because of Sender Policy Framework violation", Kind.BLOCKED),
    ("550 5.7.1 Message blocked by a mail flow rule", Kind.OTHER),
]  # fmt: skip


def reply(line: str) -> Reply:
    return ReplyParser().feed(line.encode() + b"\r\n")[0].reply


@pytest.mark.parametrize(("line", "kind"), REAL, ids=[line[:40] for line, _ in REAL])
def test_real_answers_are_understood(line: str, kind: Kind) -> None:
    means = meaning_of(reply(line))
    assert means.kind is kind
    assert means.meaning
    assert means.remedy


# What is understood by its words alone, and by its code alone, and with which basic codes: each of them is somebody's server.
BY_WORDS = [
    (Kind.FRONT_END, "421 450 451", "prx7|PRX12 and more"),
    (Kind.OUTDATED, "450 451 550", "outdated Exchange|Connecting Exchange server version"),
    (Kind.RATE, "421 450 451 452", "submission rate"),
    (Kind.RATE, "450 451", "server busy"),
    (Kind.CONNECTIONS, "421 451 452", "concurrent connections|concurrent server connections"),
    (Kind.BACK_PRESSURE, "421 451 452", "insufficient system resources"),
    (
        Kind.BLOCKED,
        "450 451 550 553 554",
        "client host|blocked using|banned sending IP|bad HELO|Sender Policy Framework",
    ),
    (Kind.SERVICE, "421 451 452 454", "service not available|service not active|service unavailable"),
    (Kind.SEND_AS, "451 550 554", "send as this sender|send as sender"),
    (Kind.RELAY, "450 550 554", "unable to relay"),
    (Kind.NOT_AUTHENTICATED, "550 554", "Client was not authenticated|not authenticated to send|authenticated sender"),
    (Kind.TLS, "530 454 451", "STARTTLS"),
    (Kind.QUARANTINED, "550", "quarantined this message"),
    (Kind.CONTENT, "451 550 554", "content restrictions|unacceptable attachments|sender denied|spam"),
    (Kind.LOOP, "550 554", "hop count exceeded|system incorrectly configured|loop detected|mail loop"),
    (Kind.RECIPIENTS, "452 550", "too many recipients"),
    (Kind.SIZE, "452 552", "message size exceeds|message too large"),
    (Kind.RECIPIENT, "450 550", "ExRecipNotFound|RecipientNotFound|user unknown|recipient not found"),
    (Kind.PROTOCOL, "500 501 502 503 504 555", "what"),
]
BY_CODE = [
    (Kind.OUTDATED, "450 550", "7.230"),
    (Kind.BACK_PRESSURE, "421 451 452", "3.1"),
    (Kind.SERVICE, "421 451 452 454", "3.2"),
    (Kind.BLOCKED, "550 451", "7.23 7.25 7.506 7.509 7.511 7.513 7.606 7.607 7.648 7.649"),
    (Kind.RELAY, "550 554", "7.54"),
    (Kind.NOT_AUTHENTICATED, "550", "7.133 7.134 7.135 7.136"),
    (Kind.NOT_AUTHENTICATED, "530", "7.1 7.57"),
    (Kind.CONTENT, "550", "7.900 7.901 7.998 7.999"),
    (Kind.LOOP, "550 554", "4.6 3.5 4.14"),
    (Kind.RECIPIENTS, "452 550", "5.3"),
    (Kind.SIZE, "550 552", "3.4 2.3"),
    (Kind.RECIPIENT, "550 551 553 554", "1.1 1.10 1.2 1.3 1.4 1.5 1.6"),
    (Kind.LINE_ENDS, "550 554", "6.11"),
    (Kind.SHADOW, "451", "4.0"),
    (Kind.SHADOW, "450", "5.1"),
    (Kind.TIMEOUT, "421 450 451 452", "4.1 4.2 4.7"),
    (Kind.PROTOCOL, "550 554", "5.2 5.4 1.7 5.1"),
    (Kind.OTHER, "550", "7.1 7.57 7.605 7.650 7.899 3.1 3.2 4.0 4.1 4.2"),
    (Kind.OTHER, "450", "3.1 3.2 1.1 4.0"),
]


@pytest.mark.parametrize(("kind", "codes", "words"), BY_WORDS)
def test_words_alone_are_understood(kind: Kind, codes: str, words: str) -> None:
    for code in map(int, codes.split()):
        for text in words.split("|"):
            assert meaning_of(Reply(code, f"{code // 100}.9.9", f"Oh, {text}!")).kind is kind, (code, text)


@pytest.mark.parametrize(("kind", "codes", "subjects"), BY_CODE)
def test_a_code_alone_is_understood(kind: Kind, codes: str, subjects: str) -> None:
    for code in map(int, codes.split()):
        for subject in subjects.split():
            assert meaning_of(Reply(code, f"{code // 100}.{subject}", "Oh")).kind is kind, (code, subject)


@pytest.mark.parametrize(
    "line",
    [
        "550 5.9.9 PRX7",
        "452 4.9.9 PRX7",
        "451 4.9.9 PRX",
        "451 4.9.9 PRX1234",
        "451 4.9.9 aprx1",
        "550 5.9.9 submission rate",
        "550 5.9.9 concurrent connections",
        "450 4.9.9 concurrent connections",
        "550 5.9.9 insufficient system resources",
        "450 4.9.9 insufficient system resources",
        "452 4.9.9 client host",
        "550 5.9.9 service unavailable",
        "450 4.9.9 service unavailable",
        "452 4.9.9 server busy",
        "554 5.9.9 outdated Exchange",
        "550 5.9.9 STARTTLS",
        "550 5.9.9 recipient address rejected",
        "554 5.4.1 recipient address rejected",
    ],
)
def test_the_same_words_with_another_code_mean_something_else(line: str) -> None:
    assert meaning_of(reply(line)).kind is Kind.OTHER


def test_every_kind_has_words_and_a_real_answer() -> None:
    assert {kind for _, kind in REAL} == set(Kind)
    assert {meaning_of_kind(kind).kind for kind in Kind} == set(Kind)
    assert all(word == word.lower() for row in _TABLE for word in row.words)


@pytest.mark.parametrize(
    ("line", "less"),
    [
        ("452 4.3.1 Insufficient system resources", True),
        ("421 4.4.2 Message submission rate for this client has exceeded the configured limit", True),
        ("421 4.3.2 The maximum number of concurrent connections has exceeded a limit", True),
        ("451 4.7.0 Temporary server error. Please try again later. PRX2", False),
        ("451 4.7.500 Server busy", True),
        ("550 5.3.1 Insufficient system resources", False),
        ("550 5.7.1 Unable to relay", False),
    ],
)
def test_only_too_much_at_once_slows_us_down(line: str, less: bool) -> None:
    assert asks_for_less(reply(line)) is less


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('450 4.1.8 <"submission rate"@evil.example>: Sender address rejected: Domain not found', Kind.OTHER),
        ('450 4.1.8 "Insufficient system resources"@evil.example: Sender address rejected', Kind.OTHER),
        ('451 4.7.1 <"a> \\" server busy"@evil.example>: try later', Kind.OTHER),
        ('452 4.2.2 mailbox is full <"concurrent connections', Kind.OTHER),
        ('452 4.2.2 mailbox is full "submission rate\\', Kind.OTHER),
        ("451 4.7.1 prx1@evil.example: try later", Kind.OTHER),
        ("550 5.1.1 <spam@example.org>: Recipient address rejected: User unknown", Kind.RECIPIENT),
        ("550 5.1.1 starttls@example.org unknown", Kind.RECIPIENT),
    ],
)
def test_a_stranger_chooses_no_meaning_by_the_name_of_an_address(line: str, kind: Kind) -> None:
    assert meaning_of(reply(line)).kind is kind
    assert not asks_for_less(reply(line))


def test_a_meaning_tells_of_no_dangerous_connector() -> None:
    words = " ".join(f"{meaning_of_kind(kind).meaning} {meaning_of_kind(kind).remedy}" for kind in Kind).lower()
    assert "externalauthoritative" not in words
    assert "accept-any-recipient" not in words


@given(
    st.integers(400, 599),
    st.sampled_from(["", "3.1", "7.0", "1.10", "999.999"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400),
)
def test_any_answer_has_a_meaning(code: int, subject: str, text: str) -> None:
    given_reply = Reply(code, f"{str(code)[0]}.{subject}" if subject else "", text)
    assert meaning_of(given_reply).kind in Kind
    assert not (code >= 500 and asks_for_less(given_reply))


_AWKWARD = ("prx", "<", '"', "\\", '"\\', "<a", "@ ", " ")


def test_time_is_bounded_whatever_the_text() -> None:
    def work(size: int) -> object:
        answers = [Reply(550, "", (text * 400)[:400]) for _ in range(size // 8) for text in _AWKWARD]
        return lambda: [meaning_of(answer) for answer in answers]

    assert_growth(work, 200, 2000, 15)  # type: ignore[arg-type]
