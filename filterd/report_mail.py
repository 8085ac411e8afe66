"""Owns the reading of report mails: takes one that waits in the quarantine, opens it, reports what it holds, answers.

A report mail lies in the quarantine, durably, from the 250 on; it leaves it in the transaction that queues the answer.  Whoever
dies on the way leaves it there: it is read again, and what was reported is not reported twice (reporting.submit).  What cannot
be read in a day is given up, and the answer says so.  Must not know SMTP, or whose word counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from filterd import metrics
from filterd.adapters.directory import known_domains
from filterd.adapters.unpacker import ReportUnpacker
from filterd.auth.names import ascii_domain
from filterd.config import Config
from filterd.errors import PermanentError, StorageError, TemporaryError
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.message import Message
from filterd.reporting import Claim, Submitted, submit
from filterd.reportmail.answer import GIVEN_UP_TEXT, Heading, Line, compose, done_text
from filterd.reportmail.labels import LABELS, label_of_address, label_of_subject
from filterd.reportmail.reporter import author_of, is_automatic, is_bounce, may_answer, reporter_of
from filterd.reportmail.unpack import Reported, Unpacked
from filterd.storage import notices, quarantine, report_copies
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.report_copies import Answer, ReportCopy

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0  # between looks at an empty queue; a person waits for the answer
ANSWERS_PER_HOUR = 20  # to one mailbox; who reports more knows how it goes
KIND = "report"  # of notices
_NOTHING = "report mail: nothing was attached, and nobody was told"
_UNREADABLE = "report mail: what was attached cannot be read, and nobody was told"
_HOUR_MS = 3_600_000

Submit = Callable[[Config, Database, Claim], Submitted]


class Unpacker(Protocol):
    """Opens a report mail; see adapters.unpacker."""

    def unpack(self, octets: bytes) -> Unpacked: ...


class ReportMailRunner:
    """Reads one report mail after the other."""

    def __init__(
        self,
        config: Config,
        database: Database,
        *,
        unpacker: Unpacker | None = None,
        report: Submit = submit,
        clock_ms: Callable[[], int] = now_ms,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`clock_ms`: Unix milliseconds."""
        self._config = config
        self._database = database
        self._unpacker = unpacker or ReportUnpacker()
        self._report = report
        self._clock_ms = clock_ms
        self._poll_seconds = poll_seconds
        domain = config.reports.domain or config.server.hostname
        self._sender = parse_mailbox(config.reports.answer_from) or Mailbox(
            "postmaster", ascii_domain(domain) or domain
        )
        self._ours = {self._sender.key, *(f"{local}@{domain}" for local in LABELS)}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; the one that is being read is finished first."""
        while not stop.is_set():
            try:
                if await asyncio.to_thread(self.run_once):
                    continue
            except StorageError as error:
                log.error("report mails cannot be read", extra={"kind": error.kind, "error": str(error)})
            except Exception:  # a fault of ours must not end the reading of all others
                log.exception("reading report mails crashed")
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    def run_once(self) -> bool:
        """Read the one that waits longest; whether there was one.  Blocks.  Raises StorageError: it is tried again later."""
        copy = report_copies.claim(self._database, self._clock_ms())
        if copy is None:
            return False
        if copy.attempts > report_copies.MAX_ATTEMPTS:  # whoever read it last did not live to say so
            self._not_read(copy, "reading it ended the process each time")
            return True
        try:
            self._read(copy)
        except TemporaryError as error:
            self._not_read(copy, str(error))
        except Exception as error:  # its attempts are bounded like those of any other
            log.exception("reading a report mail crashed", extra={"id": copy.message_id})
            self._not_read(copy, f"a fault of ours, see the log ({type(error).__name__})")
        return True

    # ------------------------------------------------------------ inside

    def _read(self, copy: ReportCopy) -> None:
        try:
            octets = quarantine.body(self._database, copy.message_id)
        except PermanentError as error:
            self._finish(copy, f"not read: {error}", None, "given_up")
            return
        message = Message(octets)
        if is_bounce(message, copy.mail_from):
            self._finish(copy, "ignored: a bounce or an automatic answer", None, "ignored")
            return
        reporter = reporter_of(message, copy.mail_from, report_copies.login_of(self._database, copy))
        found = self._unpacker.unpack(octets)
        label = label_of_subject(message.subject, [item.subject for item in found.messages])
        label = label or label_of_address(copy.recipient) or "spam"
        lines = [self._submit(copy, item, label, reporter) for item in self._meant(found.messages)]
        answer = self._answer(copy, message, reporter, done_text(lines, found.problems, found.left_out))
        if not lines and answer is None and not is_automatic(message):
            self._leave(copy, _NOTHING if not found.problems else _UNREADABLE)
            return
        self._finish(copy, _outcome(lines, found), answer, "read")

    def _meant(self, messages: Sequence[Reported]) -> list[Reported]:
        """What is reported: the attached message; or, where we do not know that one, those attached to it that we know.

        So a helpdesk may forward what was forwarded to it, and a message that holds another one is still reported itself.
        """
        every = [*messages, *(below for item in messages for below in item.inner)]
        names = [form for item in every for form in _forms(item.message_id)]
        ids = [item.our_id for item in every if item.our_id]
        known_ids, known_names = report_copies.known(self._database, ids, names)

        def is_known(item: Reported) -> bool:
            return item.our_id in known_ids or bool(known_names.intersection(_forms(item.message_id)))

        meant: list[Reported] = []
        for item in messages:
            is_cover = not is_known(item) and self._is_ours(item)
            below = [inner for inner in item.inner if is_known(inner)] if is_cover else []
            meant += below or [item]
        return meant

    def _is_ours(self, item: Reported) -> bool:
        """Whether somebody of ours wrote it.  What a stranger has attached to his mail is never reported in its place."""
        author = author_of(Message(item.octets)) if item.inner else None
        return author is not None and self._is_accepted(author.domain)

    def _is_accepted(self, domain: str) -> bool:
        return known_domains(self._config).is_ours(ascii_domain(domain) or "")

    def _submit(self, copy: ReportCopy, item: Reported, label: str, reporter: str) -> Line:
        """Reported by its Message-ID; Exchange gives one to what has none, and then our own id says what it was."""
        known_ids, known_names = report_copies.known(
            self._database, [item.our_id] if item.our_id else [], _forms(item.message_id)
        )
        by_id = item.our_id if item.our_id in known_ids and not known_names else None
        # Without any name of its own the octets are one: what is read a second time must be known again.
        name = (
            item.message_id
            if _forms(item.message_id)
            else f"<{hashlib.sha256(item.octets).hexdigest()[:32]}@no-message-id.invalid>"
        )
        claim = Claim(
            label=label,
            reporter=reporter,
            source="mail",
            message_id=by_id,
            internet_message_id=name,
            octets=item.octets,
            note=f"report mail {copy.message_id}",
        )
        try:
            done = self._report(self._config, self._database, claim)
        except PermanentError as error:  # of this message alone: the others are reported
            log.warning("a report was refused", extra={"id": copy.message_id, "error": str(error)})
            return Line(item.subject, label, "refused")
        return Line(item.subject, label, done.state, done.already)

    def _not_read(self, copy: ReportCopy, why: str) -> None:
        told = {"id": copy.message_id, "attempt": copy.attempts, "error": why}
        if copy.attempts < report_copies.MAX_ATTEMPTS:
            metrics.REPORT_MAILS.labels("retry").inc()
            log.warning("report mail not read, trying again later", extra=told)
            report_copies.failed(self._database, copy, why)
            return
        log.error("report mail given up", extra=told)
        answer = None
        try:
            message = Message(quarantine.body(self._database, copy.message_id))
            reporter = reporter_of(message, copy.mail_from, report_copies.login_of(self._database, copy))
            answer = self._answer(copy, message, reporter, GIVEN_UP_TEXT)
        except (PermanentError, StorageError) as error:
            log.error("a report mail that is given up cannot be answered", extra={**told, "error": str(error)})
        outcome = f"given up after {copy.attempts} attempts: {why}"[:500]
        if answer is None:
            self._leave(copy, outcome)
        else:
            self._finish(copy, outcome, answer, "given_up")

    def _leave(self, copy: ReportCopy, why: str) -> None:
        """Nobody is told, so a person must be able to find it: it may be a question to us, or a report that we cannot read."""
        if report_copies.leave(self._database, copy, why, self._clock_ms()):
            metrics.REPORT_MAILS.labels("left").inc()
            log.warning("report mail left in the quarantine", extra={"id": copy.message_id, "why": why})

    def _finish(self, copy: ReportCopy, outcome: str, answer: Answer | None, result: str) -> None:
        if report_copies.finish(self._database, copy, outcome, answer, self._clock_ms()):
            metrics.REPORT_MAILS.labels(result).inc()
            told = {"id": copy.message_id, "by": copy.mail_from, "outcome": outcome, "answered": answer is not None}
            log.info("report mail done", extra=told)

    def _answer(self, copy: ReportCopy, message: Message, reporter: str, text: str) -> Answer | None:
        """None for whom no answer is written: strangers, programs, ourselves, and who has had many."""
        recipient = may_answer(message, reporter, self._ours) if self._config.reports.answer else None
        if recipient is None or not self._is_accepted(recipient.domain):
            return None
        at_ms = self._clock_ms()
        if notices.lately(self._database, KIND, str(recipient), at_ms - _HOUR_MS) >= ANSWERS_PER_HOUR:
            return None
        name = f"{copy.message_id}.{copy.recipient.partition('@')[0].lower()}"
        heading = Heading(self._sender, recipient, message.first("message-id"), name, at_ms)
        return Answer(KIND, str(recipient), compose(heading, text))


def _forms(message_id: str) -> list[str]:
    """A Message-ID as mail servers write it down: with its angle brackets or without, and as it stands; none when it is empty."""
    text = clean(message_id).strip()
    bare = text.removeprefix("<").removesuffix(">").strip()
    return list(dict.fromkeys((text, f"<{bare}>", bare))) if bare else []


def _outcome(lines: Sequence[Line], found: Unpacked) -> str:
    """For people who look at the quarantine."""
    counted = Counter(f"{line.state} as {line.label}" for line in lines)
    parts = [f"{number} {what}" for what, number in sorted(counted.items())]
    parts += [f"{len(found.problems)} that cannot be read"] if found.problems else []
    parts += [f"{found.left_out} too many"] if found.left_out else []
    return "report read: " + (", ".join(parts) or "nothing was attached")
