"""Owns a look at a receive connector from outside: it asks what can be asked, and measures how long the answers take.

RFC 5321, 1870, 3207, 3461.  Nothing but the probe message, if one is wanted, is ever sent.  Must not know what is good or bad.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from filterd.adapters.upstream_link import (
    LinkLostError,
    LinkRefusedError,
    TlsFailedError,
    UpstreamLink,
    open_link,
)
from filterd.adapters.upstream_tls import client_context
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline
from filterd.mail.headers import REPORT_FIELD, SCL_FIELD
from filterd.mail.reply import Reply
from filterd.wire.replies import RawReply

# A tarpit of Exchange is 5 s unless somebody has changed it, 10 minutes at most; longer than this is as bad as no answer.
STEP_SECONDS = 20.0
PROBE_SCL = 1  # an honest message's, and unlike the 0 and -1 that Exchange gives by itself
_MESSAGE_SECONDS = 120.0
_MANY_SECONDS = 10.0  # real mail may find no free connection meanwhile


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question.

    Attributes:
        reply: the reply; None when none came, `problem` says why.
        seconds: how long it took.
    """

    reply: Reply | None
    seconds: float = 0.0
    problem: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it was a 2yz."""
        return self.reply is not None and self.reply.is_success

    def __str__(self) -> str:
        return str(self.reply) if self.reply is not None else self.problem


@dataclass(frozen=True, slots=True)
class Questions:
    """What is to be asked.

    Attributes:
        hostname: our name in EHLO.
        domain: an accepted domain of Exchange's; empty: what needs one is not asked.
        foreign: a domain that is certainly none of its own.
        connections: how many to open at once; 0: that is not tried.
        probe: who gets a message; empty: nobody.
        receipt_to: the reverse-path of that message, to which a receipt is asked for where Exchange offers DSN; empty: none is.
    """

    hostname: str
    domain: str = ""
    foreign: str = "example.com"
    connections: int = 0
    probe: str = ""
    receipt_to: str = ""


@dataclass(slots=True)
class Seen:
    """What the server showed.

    Attributes:
        unreachable: why there is nothing else; empty when there is.
        name: what it calls itself.
        extensions: EHLO keyword -> parameters, under TLS where there is TLS.
        certificate: of the handshake (DER), None without one; `tls_problem` says why it failed.
        trust_problem: why upstream.tls_verify would not take that certificate; empty when it would, or need not.
        command: the answer to a command that nobody knows.
        relay: the answer to a recipient of a foreign domain.
        unknown: the answer to a recipient that cannot exist, in `domain`; None: not asked.
        own_sender: the first refusal, or the last success, with a sender of `domain`; None: not asked.
        connections: how many were open at once; `refusal` is what the next one got, which may be the first.
        probe: the answer to the probe message; None: not sent.  `message_id` is its Message-ID.
        receipt_asked: whether a receipt was asked for.  `sent_ms`: when the message was sent, Unix milliseconds.
    """

    unreachable: str = ""
    name: str = ""
    extensions: dict[str, str] = field(default_factory=dict)
    certificate: bytes | None = None
    tls_problem: str = ""
    trust_problem: str = ""
    command: Answer | None = None
    relay: Answer | None = None
    unknown: Answer | None = None
    own_sender: Answer | None = None
    connections: int = 0
    refusal: Answer | None = None
    probe: Answer | None = None
    message_id: str = ""
    receipt_asked: bool = False
    sent_ms: int = 0


async def look_at(config: UpstreamConfig, questions: Questions, deadline: Deadline) -> Seen:
    """Ask everything, one thing after the other; whatever the server does is a part of the answer."""
    seen = Seen()
    try:
        usable = await _hello(config, questions, deadline, seen)
    except LinkRefusedError as error:
        seen.unreachable, seen.refusal = str(error), Answer(error.reply)
        return seen
    except LinkLostError as error:
        seen.unreachable = str(error)
        return seen
    stranger = f"postmaster@{questions.foreign}"
    seen.command = await _ask(usable, questions, deadline, "FILTERD")
    seen.relay = await _recipient(usable, questions, deadline, stranger, f"probe@{questions.foreign}")
    if questions.domain:
        nobody = f"filterd-probe-{secrets.token_hex(6)}@{questions.domain}"
        postmaster = f"postmaster@{questions.domain}"
        seen.unknown = await _recipient(usable, questions, deadline, stranger, nobody)
        seen.own_sender = await _recipient(usable, questions, deadline, postmaster, postmaster)
    if questions.connections:
        await _many(usable, questions, deadline, seen)
    if questions.probe:
        seen.message_id = f"<filterd-probe-{secrets.token_hex(8)}@{questions.hostname}>"
        seen.probe = await _send(usable, questions, deadline, seen)
    return seen


async def _hello(config: UpstreamConfig, questions: Questions, deadline: Deadline, seen: Seen) -> UpstreamConfig:
    """EHLO and STARTTLS, whatever the certificate; returns how the other connections are opened.

    Raises LinkLostError, LinkRefusedError.
    """
    usable = config.model_copy(update={"tls": "off", "tls_verify": False, "tls_ca_file": None})
    link = await _open(usable, questions, deadline)
    seen.name, seen.extensions = link.name, dict(link.extensions)
    link.quit()
    if "STARTTLS" not in seen.extensions:
        return usable
    encrypted = usable.model_copy(update={"tls": "required"})
    try:
        link = await _open(encrypted, questions, deadline)
    except (LinkLostError, LinkRefusedError) as error:
        seen.tls_problem = str(error)
        return usable
    seen.name, seen.extensions, seen.certificate = link.name, dict(link.extensions), link.certificate
    link.quit()
    if config.tls_verify and config.tls != "off":
        seen.trust_problem = await _distrust(config, questions, deadline)
    return encrypted


async def _distrust(config: UpstreamConfig, questions: Questions, deadline: Deadline) -> str:
    """Why mail would not be handed over to that certificate; empty when it would."""
    try:
        link = await _open(config.model_copy(update={"tls": "required"}), questions, deadline)
    except TlsFailedError as error:
        return str(error)
    except OSError as error:
        return f"upstream.tls_ca_file: {config.tls_ca_file} cannot be used: {error.strerror or error}"
    except (LinkLostError, LinkRefusedError):
        return ""  # it was there a moment ago, and this says nothing of its certificate
    link.quit()
    return ""


async def _open(config: UpstreamConfig, questions: Questions, deadline: Deadline) -> UpstreamLink:
    return await open_link(config, questions.hostname, client_context(config), deadline.within(STEP_SECONDS))


@asynccontextmanager
async def _fresh(config: UpstreamConfig, questions: Questions, deadline: Deadline) -> AsyncIterator[UpstreamLink]:
    """A connection for one question: Exchange ends one after five errors, and ours are meant to be errors."""
    link = await _open(config, questions, deadline)
    try:
        yield link
    finally:
        link.quit()


async def _timed(link: UpstreamLink, text: str, deadline: Deadline, seconds: float | None = None) -> Answer:
    """Raises LinkLostError only when the connection was lost before."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    try:
        raw: RawReply = await link.ask(text, deadline.within(seconds or STEP_SECONDS))
    except LinkLostError as error:
        return Answer(None, loop.time() - begin, str(error))
    return Answer(raw.reply, loop.time() - begin)


async def _ask(config: UpstreamConfig, questions: Questions, deadline: Deadline, text: str) -> Answer:
    try:
        async with _fresh(config, questions, deadline) as link:
            return await _timed(link, text, deadline)
    except (LinkLostError, LinkRefusedError) as error:
        return Answer(None, 0.0, str(error))


async def _recipient(
    config: UpstreamConfig, questions: Questions, deadline: Deadline, sender: str, recipient: str
) -> Answer:
    """The answer to RCPT, or to MAIL where that is refused; nothing is sent, the transaction is reset."""
    try:
        async with _fresh(config, questions, deadline) as link:
            answer = await _timed(link, f"MAIL FROM:<{sender}>", deadline)
            if answer.is_success:
                answer = await _timed(link, f"RCPT TO:<{recipient}>", deadline)
            if answer.reply is not None:
                await _timed(link, "RSET", deadline)
            return answer
    except (LinkLostError, LinkRefusedError) as error:
        return Answer(None, 0.0, str(error))


async def _many(config: UpstreamConfig, questions: Questions, deadline: Deadline, seen: Seen) -> None:
    """Open connections until one is refused; all of them are closed again at the end."""
    links: list[UpstreamLink] = []
    plain = config.model_copy(update={"tls": "off"})  # what is counted are connections
    deadline = deadline.within(_MANY_SECONDS)
    try:
        while len(links) < questions.connections:
            try:
                links.append(await _open(plain, questions, deadline))
            except LinkRefusedError as error:
                seen.refusal = Answer(error.reply)
                break
            except LinkLostError as error:
                seen.refusal = Answer(None, 0.0, str(error))
                break
    finally:
        seen.connections = len(links)
        for link in links:
            link.quit()


def probe_message(questions: Questions, message_id: str) -> bytes:
    """A short honest message with the SCL in both fields, so that either mode can be seen to work."""
    lines = [
        f"{REPORT_FIELD}: CIP:192.0.2.1;",
        f"\tSCL:{PROBE_SCL};",
        "\tSFV:NSPM;",
        "\tCAT:NONE",
        f"{SCL_FIELD}: {PROBE_SCL}",
        f"Date: {formatdate()}",
        f"From: filterd <postmaster@{questions.hostname}>",
        f"To: <{questions.probe}>",
        f"Message-ID: {message_id}",
        "Subject: Probe of filterd",
        "Auto-Submitted: auto-generated",  # nobody's absence notice is wanted
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "filterd exchange verify sent this. If you read it, mail from filterd arrives.",
        f"In its header there should stand {SCL_FIELD}: {PROBE_SCL}",
        "",
    ]
    return "\r\n".join(lines).encode()


async def _send(config: UpstreamConfig, questions: Questions, deadline: Deadline, seen: Seen) -> Answer:
    try:
        async with _fresh(config, questions, deadline) as link:
            seen.receipt_asked = bool(questions.receipt_to) and "DSN" in link.extensions
            for text in (*_envelope(questions, seen.receipt_asked), "DATA"):
                answer = await _timed(link, text, deadline)
                if answer.reply is None or answer.reply.code >= 400:
                    return answer
            seen.sent_ms = time.time_ns() // 1_000_000
            link.write(probe_message(questions, seen.message_id))  # has no line that begins with a dot
            answer = await _timed(link, ".", deadline, _MESSAGE_SECONDS)
            return replace(answer, problem=answer.problem and f"{answer.problem}; it may have arrived all the same")
    except (LinkLostError, LinkRefusedError) as error:
        return Answer(None, 0.0, str(error))


def _envelope(questions: Questions, receipt: bool) -> tuple[str, str]:
    """MAIL and RCPT; with `receipt` as RFC 3461 4 has it: of what is returned the header will do."""
    if not receipt:
        return f"MAIL FROM:<postmaster@{questions.hostname}>", f"RCPT TO:<{questions.probe}>"
    envelope = secrets.token_hex(8)
    return (
        f"MAIL FROM:<{questions.receipt_to}> RET=HDRS ENVID={envelope}",
        f"RCPT TO:<{questions.probe}> NOTIFY=SUCCESS,FAILURE,DELAY",
    )
