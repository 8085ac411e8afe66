"""SMTP smuggling and STARTTLS injection: the published sequences, in every cut, on the core and through a whole chain.

CVE-2023-51764, -51765, -51766 (Postfix, Sendmail, Exim), CVE-2024-27305 and -34083 (aiosmtpd); RFC 3207 section 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.server import build
from filterd.frontends.smtp.shared import Endpoint
from filterd.wire.chunks import last_chunk
from filterd.wire.dotstream import encode
from tests.support.certificate import write_certificate
from tests.support.chain import Chain, chain, listener
from tests.support.dialogs import trusting
from tests.support.fakesession import FakeSession, front_end, serving
from tests.support.material import conformance_dir
from tests.support.memorylink import Pieces, cut_at, memory_link, single, whole
from tests.support.smtpclient import TIMEOUT, SmtpClient

START = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
)
BODY = START + b"Message-ID: <1@example.com>\r\n\r\nbody"
SECOND = (
    b"MAIL FROM:<smuggled@example.com>\r\nRCPT TO:<smuggled@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
)
ENVELOPE = b"EHLO client.example.com\r\nMAIL FROM:<anna@example.com>\r\nRCPT TO:<bob@example.org>\r\n"


@functools.cache
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((conformance_dir() / "smtp/smuggling-and-injection/vectors.json").read_text())
    return found


def sequences() -> list[bytes]:
    found = [bytes.fromhex(item["sequence_hex"]) for item in vectors()["end_of_data_sequences"]]
    assert len(found) == 11
    return found


def attacks(sequence: bytes) -> list[bytes]:
    """What follows RCPT: the sequence in DATA, at the end of a chunk, within a chunk, and cut in two by chunks."""
    end, inside = BODY + sequence, BODY + sequence + SECOND
    cuts = [
        b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (at, end[:at], len(end) - at, end[at:])
        for at in range(len(BODY) + 1, len(end))
    ]
    return [
        b"DATA\r\n" + end + SECOND,
        b"BDAT %d LAST\r\n%s" % (len(end), end + SECOND),
        b"BDAT %d LAST\r\n%s" % (len(inside), inside),
        *(octets + SECOND for octets in cuts),
    ]


def refused(replies: bytes) -> None:
    """One refusal, and nothing was obeyed after it."""
    heard = replies.decode("ascii").splitlines()
    assert heard[-1:] != []
    assert heard[-1].startswith("550 5.6.11 "), replies
    assert len([line for line in heard if line.startswith("250 ")]) <= 4  # EHLO, MAIL, RCPT, a chunk good so far


# ---------------------------------------------------------------- the core


def core(octets: bytes, pieces: Pieces) -> tuple[FakeSession, bytes, bool]:
    """What the mail side was asked, what was said, and whether the server hung up."""
    session, limits = FakeSession(), LimitsConfig()
    with tempfile.TemporaryDirectory() as folder:
        front = front_end(session, Path(folder), limits)
        with memory_link(Endpoint(front, build(front, [(ListenerConfig(), limits)]))) as link:
            link.send(octets, pieces)
            link.wait(10)
            return session, link.heard(), link.closed


@pytest.mark.parametrize("number", range(11))
def test_every_sequence_in_every_cut_on_the_core(number: int) -> None:
    sequence = sequences()[number]
    for attack in attacks(sequence):
        octets = ENVELOPE + attack
        first = octets.index(BODY) + len(BODY) - 2
        cuts = range(first, first + len(sequence) + 4) if b"DATA\r\nFrom" in octets else ()
        for pieces in (whole, single, *map(cut_at, cuts)):
            session, said, closed = core(octets, pieces)
            refused(said)
            assert closed
            assert [call for call in session.calls if call.startswith("mail")] == ["mail <anna@example.com>"]
            ((kept, fault),) = session.messages
            assert fault is not None
            assert b"smuggled" not in kept


def strictly(octets: bytes) -> tuple[bytes | None, bytes]:
    """The message that RFC 5321 sees, None when it is none, and what follows it; written without looking at ours."""
    lines, at = [], 0
    while True:
        end = octets.index(b"\r\n", at)
        line, at = octets[at:end], end + 2
        if line == b".":
            break
        lines.append(line[1:] if line.startswith(b".") else line)
    bad = any(octet in line for line in lines for octet in (b"\r", b"\n", b"\0"))
    return None if bad else b"".join(line + b"\r\n" for line in lines), octets[at:]


tokens = st.sampled_from(
    [
        b"\r\n",
        b"\r\n",
        b".",
        b".",
        b"\r\n.",
        b"..",
        b"a",
        b"\xe4",
        b"MAIL FROM:<smuggled@example.com>",
        b"\r",
        b"\n",
        b"\0",
    ]
)
contents = st.lists(tokens, max_size=14).map(b"".join)


@given(contents, st.integers(0, 400), st.booleans())
def test_any_octets_are_the_message_that_a_strict_reader_sees_or_nothing(octets: bytes, cut: int, slow: bool) -> None:
    data = octets + b"\r\n.\r\n"
    message, rest = strictly(data)
    session, said, closed = core(ENVELOPE + b"DATA\r\n" + data, single if slow else cut_at(cut))
    taken = [kept for kept, fault in session.messages if fault is None]
    if message is None:
        assert taken == []
        assert closed
        refused(said)
        return
    assert taken == [message]
    assert session.calls.count("data") == 1
    # What would go to upstream is that message again, for a strict reader, and nothing behind it.
    assert strictly(b"".join(encode([b"X: y\r\n", message]))) == (b"X: y\r\n" + message, b"")
    command, _, chunk = b"".join(last_chunk([b"X: y\r\n", message])).partition(b"\r\n")
    assert (command, chunk) == (b"BDAT %d LAST" % len(chunk), b"X: y\r\n" + message)
    # Transactions are opened only by commands that stand behind the end of the message.
    opened = [call for call in session.calls if call.startswith("mail")]
    assert len(opened) <= 1 + rest.count(b"MAIL")


# ---------------------------------------------------------------- through a whole chain


@pytest.fixture(
    scope="module", params=["chunking", "plain", pytest.param("postfix", marks=pytest.mark.server("postfix"))]
)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chain, int]]:
    folder = tmp_path_factory.mktemp("chain")
    certificate, key = write_certificate(folder)
    port, table = listener("tls", f"tls_certificate = '{certificate}'", f"tls_key = '{key}'")
    with chain(folder, request.param, table) as running:
        yield running, port


async def say(port: int, octets: bytes, pieces: Pieces = whole) -> bytes:
    """Everything that the server answers until it hangs up."""
    client = await SmtpClient.connect(port)
    await client.reply()
    heard = bytearray()

    async def listen() -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await client.reader.read(65_536):
                heard.extend(octets)

    listening = asyncio.create_task(listen())
    with contextlib.suppress(ConnectionError):  # it may hang up before the last octet
        for piece in pieces(octets):
            await client.send(piece)
            await asyncio.sleep(0)
    await asyncio.wait_for(listening, TIMEOUT)
    await client.close()
    return bytes(heard)


@pytest.mark.slow
def test_every_sequence_through_a_chain(stage: tuple[Chain, int]) -> None:
    running, _ = stage
    before = len(running.arrived())

    async def story() -> None:
        turns = asyncio.Semaphore(6)

        async def one(octets: bytes, pieces: Pieces) -> None:
            async with turns:
                refused(await say(running.daemon.smtp_port, octets, pieces))

        jobs = []
        for sequence in sequences():
            first, *others = (ENVELOPE + attack for attack in attacks(sequence))
            jobs += [one(octets, whole) for octets in (first, *others)]
            at = first.index(BODY) + len(BODY)
            jobs += [one(first, cut_at(at + more)) for more in range(len(sequence) + 1)]
        await asyncio.gather(*jobs)
        # Octet by octet only around the sequence: a packet for each.
        await asyncio.gather(*(one(ENVELOPE + attacks(sequence)[0], single) for sequence in sequences()))

    asyncio.run(story())
    assert len(running.arrived()) == before
    assert not [line for line in running.commands() if "smuggled" in line]


@pytest.mark.slow
def test_dots_and_commands_within_a_message_arrive_as_they_were(stage: tuple[Chain, int]) -> None:
    """What only looks like an end of data: in a chunk, and with its dots doubled in DATA."""
    running, _ = stage
    message = BODY + b"\r\n.\r\n" + SECOND + b".\r\n..\r\n.x\r\n"
    stuffed = message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    chunks = b"BDAT %d\r\n%s" % (len(BODY) + 3, message[: len(BODY) + 3])
    chunks += b"BDAT %d LAST\r\n%s" % (len(message) - len(BODY) - 3, message[len(BODY) + 3 :])
    before = len(running.messages("bob@example.org", START))
    for octets in (b"DATA\r\n" + stuffed, chunks):
        answer = asyncio.run(say(running.daemon.smtp_port, ENVELOPE + octets + b"QUIT\r\n"))
        assert answer.splitlines()[-1].startswith(b"221"), answer
        assert answer.splitlines()[-2].startswith(b"250 2."), answer
    arrived = running.messages("bob@example.org", START)
    assert len(arrived) == before + 2
    assert arrived.count(message) == 2
    assert {to for to, _ in running.arrived()} == {"bob@example.org"}


@pytest.mark.slow
@settings(max_examples=25)
@given(contents)
def test_any_octets_through_a_chain(stage: tuple[Chain, int], octets: bytes) -> None:
    running, _ = stage
    data = BODY + octets + b"\r\n.\r\n"
    message, _ = strictly(data)
    before = Counter(running.arrived())
    answer = asyncio.run(say(running.daemon.smtp_port, ENVELOPE + b"DATA\r\n" + data + b"QUIT\r\n"))
    arrived = list((Counter(running.arrived()) - before).elements())
    if message is None:
        refused(answer)
        assert arrived == []
    else:
        assert b"\r\n354 " in answer
        assert [(to, got[got.index(START) :]) for to, got in arrived] in ([("bob@example.org", message)], [])


# ---------------------------------------------------------------- STARTTLS


def injections() -> list[bytes]:
    found = [bytes.fromhex(item["send_before_handshake_hex"]) for item in vectors()["starttls_injection"]["vectors"]]
    assert len(found) == 3
    assert all(octets.startswith(b"STARTTLS\r\n") for octets in found)
    return found


async def inject(port: int, octets: bytes) -> None:
    """Clear text behind STARTTLS is nobody's: no answer to it, no state of it, no part of the first command."""
    client = await SmtpClient.greeted(port)
    await client.send(octets)
    assert (await client.line()).startswith("220 ")
    await asyncio.wait_for(client.writer.start_tls(trusting()), TIMEOUT)
    assert (await client.command("NOOP")) == "250 2.0.0 OK"
    assert (await client.command("DATA")).startswith("503 ")
    assert (await client.command("RCPT TO:<smuggled@example.org>")).startswith("503 ")
    assert (await client.command("EHLO client.example.com")).startswith("250-")
    assert (await client.command("DATA")).startswith("503 ")
    assert (await client.command("QUIT")).startswith("221 ")
    assert await client.rest() == b""
    await client.close()


def test_injection_behind_starttls(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)

    async def story() -> None:
        for octets in injections():
            session = FakeSession()
            async with serving(session, certificate=certificate) as served:
                await inject(served.port, octets)
                await session.closed.wait()
            assert [call.partition(" ")[0] for call in session.calls] == ["ehlo", "secured", "ehlo", "close"]

    asyncio.run(story())


@pytest.mark.slow
def test_injection_behind_starttls_through_a_chain(stage: tuple[Chain, int]) -> None:
    running, port = stage
    for octets in injections():
        asyncio.run(inject(port, octets))
    assert not [to for to, _ in running.arrived() if to != "bob@example.org"]
    assert not [line for line in running.commands() if "inj" in line]
