"""Does the message have the shape that RFC 5322 asks for?  Sections 2.1, 3.3, 3.6.

Owns: facts of the header section.  Must not know: what they cost, nor the body's meaning (checks/content.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.headers import is_forged
from filterd.mail.message import MAX_FIELDS, MAX_HEADER_OCTETS, Message

# RFC 5322 3.6: at most one of each.
_SINGLE = (
    "date",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "message-id",
    "in-reply-to",
    "references",
    "subject",
)
_TOO_OLD_S = 30 * 86_400  # a month in a queue is beyond every sender's give-up time (RFC 5321 4.5.4.1: 4-5 days)
_TOO_NEW_S = 2 * 86_400  # clocks and time zones are wrong by hours, not days


@dataclass(slots=True)
class Structure:
    """The check; `clock` gives Unix seconds."""

    authserv_id: str
    clock: Callable[[], float]
    name: ClassVar[str] = "structure"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        message = ctx.message
        if message is None:
            return ()
        findings = list(self._look(message))
        if not findings:
            return (Evidence(self.name, self.stage, Result.PASS, Reason.OK),)
        return tuple(
            Evidence(self.name, self.stage, Result.FAIL, reason, detail=detail, log_text=detail)
            for reason, detail in findings
        )

    def _look(self, message: Message) -> Iterable[tuple[Reason, str]]:
        nameless = [field for field in message.fields if not field.name]
        if not message.fields or len(nameless) == len(message.fields):
            yield Reason.MALFORMED, "no header fields"
            return
        if nameless:
            yield Reason.MALFORMED, f"{len(nameless)} header lines are no fields"
        elif len(message.fields) > MAX_FIELDS or len(message.header_section) > MAX_HEADER_OCTETS:
            yield Reason.MALFORMED, "the header section is beyond all measure"
        missing = [name for name in ("From", "Date") if not message.all(name)]
        if missing:
            yield Reason.MISSING_FIELDS, " ".join(missing)
        twice = [name for name in _SINGLE if len(message.all(name)) > 1]
        if twice:
            yield Reason.DUPLICATE_FIELDS, " ".join(twice)
        if message.all("date") and (problem := self._date_problem(message.first("date"))):
            yield Reason.BAD_DATE, problem
        if not message.header_section.isascii():
            yield Reason.EIGHT_BIT_HEADER, "octets above 127 in the header section"
        forged = sorted({field.key or "(malformed)" for field in message.fields if is_forged(field, self.authserv_id)})
        if forged:
            yield Reason.FORGED_FIELDS, " ".join(forged)[:200]

    def _date_problem(self, value: str) -> str:
        try:
            moment = parsedate_to_datetime(value[:100]).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            return "Date cannot be read"
        age = self.clock() - moment
        if age > _TOO_OLD_S:
            return "Date is more than 30 days ago"
        return "Date is in the future" if age < -_TOO_NEW_S else ""
