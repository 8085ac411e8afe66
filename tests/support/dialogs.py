r"""Owns the language of tests/dialogs: what client and server say in turn, in a text file, on the pure core and over a socket.

    # a remark
    limits recipients = 2       a key of [limits], of [clients] (clients ...) or of the listener (listener ...)
    upstream SIZE 100000        a keyword that upstream offers; without any, upstream is not known
    answer rcpt 451 4.4.3 No    what the mail side answers; `answer greeting ...` in place of the banner
    account anna secret         somebody who may log in
    only whole                  not in other pieces, nor ... `only core`: not over a socket

    C: a line                   what the client says, CRLF behind it; lines up to the next S are sent together
    C+ raw\r\n{x*1000}          the same without CRLF, with the escapes \r \n \0 \\ \xNN and repetition
    C: <close>  C: <tls>        it hangs up; it shakes hands
    T: 300                      so many seconds pass, on the core alone
    S: 250 2.1.0                how the next line of the server begins
    S~ 250                      how each line of its next reply begins
    S! 250                      how its next reply does not begin
    S: <close>                  it has hung up
    = mail <a@example.org>      what the mail side was asked, call by call; with none, nothing is compared
    M: Subject: x\r\n           the octets of each message that it got and that had no fault

Must not know what filterd should say.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from filterd.config import ClientsConfig, LimitsConfig, ListenerConfig
from filterd.deadline import Deadline
from filterd.frontends.smtp.server import build
from filterd.frontends.smtp.shared import Endpoint
from filterd.mail.reply import Reply
from tests.support.certificate import write_certificate
from tests.support.fakesession import FakeSession, front_end, serving
from tests.support.memorylink import MemoryLink, Pieces, memory_link
from tests.support.smtpclient import TIMEOUT, SmtpClient

_STEP = re.compile(r"(C:|C\+|S:|S~|S!|T:|=|M:)(?: (.*))?")
_ESCAPE = re.compile(r"\\(?:([rn0\\])|x([0-9a-f]{2}))|\{(.)\*(\d+)\}")
_PLAIN = {"r": "\r", "n": "\n", "0": "\0", "\\": "\\"}
_LONGEST_END = 10.0  # seconds in which the server hangs up when it said that it would


class Step(NamedTuple):
    """One line of a dialog: its number, its sign, its text."""

    number: int
    sign: str
    text: str


@dataclass
class Dialog:
    """One file."""

    name: str
    steps: list[Step] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    messages: list[bytes] | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)
    listener: dict[str, Any] = field(default_factory=dict)
    upstream: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Reply | Exception] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    only: set[str] = field(default_factory=set)

    async def check(self, user: str, password: str, deadline: Deadline) -> bool:
        """ports.Authenticator."""
        return self.accounts.get(user) == password

    def fake_session(self) -> FakeSession:
        """The mail side."""
        greeting = self.answers.get("greeting")
        assert not isinstance(greeting, Exception)
        return FakeSession(answers={**self.answers}, greeting=greeting)

    def listener_config(self, folder: Path) -> ListenerConfig:
        """With a new certificate in `folder` when there is anything about TLS."""
        if "tls" not in self.listener:
            return ListenerConfig.model_validate(self.listener)
        certificate, key = write_certificate(folder)
        return ListenerConfig.model_validate({**self.listener, "tls_certificate": certificate, "tls_key": key})

    def clients_config(self) -> ClientsConfig:
        """Without a limit on connections a minute, as in other tests."""
        return ClientsConfig.model_validate({"connections_per_minute": 0, **self.clients})

    def compare(self, session: FakeSession) -> None:
        """What the mail side was asked."""
        if self.calls:
            assert session.calls == self.calls
        if self.messages is not None:
            assert [octets for octets, fault in session.messages if fault is None] == self.messages


def escaped(octets: bytes) -> str:
    """As the text of a C+ line."""
    return "".join(f"\\x{octet:02x}" for octet in octets)


def octets_of(step: Step) -> bytes:
    """What a C line sends."""
    if step.sign == "C:":
        return step.text.encode() + b"\r\n"

    def plain(match: re.Match[str]) -> str:
        if match[3]:
            return match[3] * int(match[4])
        return _PLAIN[match[1]] if match[1] else chr(0xDC00 + int(match[2], 16))

    # \xNN is one octet, whatever it is: surrogateescape knows those above 7f.
    text = _ESCAPE.sub(plain, step.text)
    return b"".join(
        bytes((ord(character) - 0xDC00,)) if 0xDC00 <= ord(character) < 0xDD00 else character.encode()
        for character in text
    )


def parse(path: Path) -> Dialog:
    """Read a file; AssertionError names the line that is none of the language."""
    dialog = Dialog(path.stem)
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        match = _STEP.fullmatch(line)
        if match is not None:
            step = Step(number, match[1], match[2] or "")
            if step.sign == "=":
                dialog.calls.append(step.text)
            elif step.sign == "M:":
                dialog.messages = [*(dialog.messages or []), octets_of(step._replace(sign="C+"))]
            else:
                dialog.steps.append(step)
        elif line and not line.startswith("#"):
            assert not dialog.steps, f"{path.name}:{number}: settings come first"
            _setting(dialog, line, f"{path.name}:{number}")
    if any(step.sign == "T:" for step in dialog.steps):
        dialog.only.add("core")
    return dialog


def _setting(dialog: Dialog, line: str, where: str) -> None:
    kind, _, rest = line.partition(" ")
    name, _, value = rest.partition(" ")
    if kind in ("limits", "clients", "listener"):
        table: dict[str, Any] = getattr(dialog, kind)
        value = value.removeprefix("= ")
        table[name] = float(value) if re.fullmatch(r"[0-9.]+", value) else value == "true" or value
        if isinstance(table[name], float) and table[name].is_integer():
            table[name] = int(value)
    elif kind == "upstream":
        dialog.upstream[name] = value
    elif kind == "account":
        dialog.accounts[name] = value
    elif kind == "only":
        dialog.only.add(name)
    elif kind == "answer":
        code, enhanced, text = value.split(" ", 2)
        dialog.answers[name] = Reply(int(code), enhanced, text, close=code == "421")
    else:
        raise AssertionError(f"{where}: neither a setting nor a step: {line}")


# ---------------------------------------------------------------- on the core


def play_on_core(dialog: Dialog, pieces: Pieces) -> None:
    """The dialog without a socket."""
    with tempfile.TemporaryDirectory() as folder:
        _play_on_core(dialog, pieces, Path(folder))


def _play_on_core(dialog: Dialog, pieces: Pieces, folder: Path) -> None:
    session, limits = dialog.fake_session(), LimitsConfig.model_validate(dialog.limits)
    front = front_end(
        session,
        folder,
        limits,
        clients=dialog.clients_config(),
        upstream_extensions=lambda: dialog.upstream or None,
        authenticator=dialog,
    )
    endpoint = Endpoint(front, build(front, [(dialog.listener_config(folder), limits)]))
    with memory_link(endpoint) as link:
        for group in _turns(dialog):
            _turn_on_core(link, group, pieces)
    dialog.compare(session)
    assert (front.room.memory, front.room.disk) == (0, 0), "a spool was not closed"


def _turn_on_core(link: MemoryLink, group: list[Step], pieces: Pieces) -> None:
    step = group[0]
    if step.text == "<close>" and step.sign == "S:":
        link.wait(0 if link.closed else _LONGEST_END)
        _equal(step, "", link.line())
        assert link.closed, f"line {step.number}: the server has not hung up"
    elif step.text == "<close>":
        link.hang_up()
    elif step.text == "<tls>":
        link.shake_hands()
    elif step.sign == "T:":
        link.wait(float(step.text))
    elif step.sign[0] == "C":
        link.send(b"".join(map(octets_of, group)), pieces)
    else:
        line = link.line()
        _equal(step, step.text, line)
        while step.sign == "S~" and line[3:4] == "-":
            line = link.line()
            _equal(step, step.text, line)


# ---------------------------------------------------------------- over a socket


def play_over_socket(dialog: Dialog, run: Callable[[Any], None] = asyncio.run) -> None:
    """The dialog with the front end as it listens."""
    run(_play_over_socket(dialog))


async def _play_over_socket(dialog: Dialog) -> None:
    with tempfile.TemporaryDirectory() as folder:
        listener = dialog.listener_config(Path(folder))
        session = dialog.fake_session()
        async with serving(
            session,
            listeners=[listener],
            clients=dialog.clients_config(),
            upstream_extensions=lambda: dialog.upstream or None,
            authenticator=dialog,
            **dialog.limits,
        ) as served:
            tls = trusting() if listener.tls == "implicit" else None
            client = SmtpClient(*await asyncio.open_connection("127.0.0.1", served.port, ssl=tls))
            for group in _turns(dialog):
                await _turn_over_socket(client, group)
            await client.close()
            await asyncio.wait_for(session.closed.wait(), TIMEOUT)
            dialog.compare(session)


async def _turn_over_socket(client: SmtpClient, group: list[Step]) -> None:
    step = group[0]
    if step.text == "<close>" and step.sign == "S:":
        _equal(step, "", (await client.rest()).decode("ascii"))
    elif step.text == "<close>":
        await client.close()
    elif step.text == "<tls>":
        await asyncio.wait_for(client.writer.start_tls(trusting()), TIMEOUT)
    elif step.sign[0] == "C":
        await client.send(b"".join(map(octets_of, group)))
    else:
        line = await client.line()
        _equal(step, step.text, line)
        while step.sign == "S~" and line[3:4] == "-":
            line = await client.line()
            _equal(step, step.text, line)


def trusting() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _turns(dialog: Dialog) -> list[list[Step]]:
    """What the client says without waiting belongs together."""
    turns: list[list[Step]] = []
    for step in dialog.steps:
        plain = step.sign[0] == "C" and not step.text.startswith("<")
        last = turns[-1][-1] if turns else None
        if plain and last is not None and last.sign[0] == "C" and not last.text.startswith("<"):
            turns[-1].append(step)
        else:
            turns.append([step])
    return turns


def _equal(step: Step, expected: str, got: str) -> None:
    if step.sign == "S!":
        assert got, f"line {step.number}: no reply"
        assert not got.startswith(expected), f"line {step.number}: not expected {got!r}"
        return
    assert got.startswith(expected), f"line {step.number}: expected {expected!r}, got {got!r}"
    assert expected or not got, f"line {step.number}: expected nothing, got {got!r}"
