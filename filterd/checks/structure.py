"""Does the message have the shape that RFC 5322 asks for, and that honest mailers give it?  Sections 2.1, 3.3, 3.6.

Owns: what of the header section is evidence.  Must not know: what it costs, nor the body's meaning (checks/content.py).
Most facts of content/shape are for the classifier alone; those that speak for themselves stand in _TELLING.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.content.shape import shape_facts
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

# Facts that were at least ten times as frequent in spam as in ham in three folders of mail and more, those for one
# reason together (docs/shape.md has the figures), and how people read them.
_TELLING: Mapping[str, tuple[Reason, str]] = {
    "date-future": (Reason.BAD_DATE, "Date is later than the hop that took the message"),
    "date-no-zone": (Reason.BAD_DATE, "Date without a time zone"),
    "date-zone-unknown": (Reason.BAD_DATE, "Date with an unknown time zone"),
    "date-zone-impossible": (Reason.BAD_DATE, "Date with an impossible time zone"),
    "date-weekday-wrong": (Reason.BAD_DATE, "Date with the wrong day of the week"),
    "date-short-year": (Reason.BAD_DATE, "Date with a year of two digits"),
    "msgid-malformed": (Reason.BAD_MESSAGE_ID, "malformed"),
    "msgid-no-at": (Reason.BAD_MESSAGE_ID, "without @"),
    "msgid-no-brackets": (Reason.BAD_MESSAGE_ID, "without brackets"),
    "msgid-empty": (Reason.BAD_MESSAGE_ID, "empty"),
    "mailer-msmail-priority-alone": (Reason.FORGED_MAILER, "X-MSMail-Priority without X-MimeOLE"),
    "mailer-outlook-express-without-mimeole": (Reason.FORGED_MAILER, "Outlook Express without X-MimeOLE"),
    "mailer-outlook-without-its-fields": (Reason.FORGED_MAILER, "Outlook without Thread-Index"),
    "msgid-outlook-by-another": (Reason.FORGED_MAILER, "Message-ID of Outlook from another program"),
    "to-undisclosed": (Reason.NO_NAMED_RECIPIENT, "undisclosed"),
    "to-no-address": (Reason.NO_NAMED_RECIPIENT, "no address"),
    "to-empty": (Reason.NO_NAMED_RECIPIENT, "empty"),
    "subject-all-capitals": (Reason.SUBJECT_CAPITALS, ""),
}


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
        telling: dict[Reason, str] = {}
        if message.all("date") and (problem := self._date_problem(message.first("date"))):
            telling[Reason.BAD_DATE] = problem
        for fact in shape_facts(message):
            if fact in _TELLING:
                reason, text = _TELLING[fact]
                telling.setdefault(reason, text)
            elif fact.startswith("unreadable-"):  # what breaks our reading is a finding, never a pass
                telling.setdefault(Reason.MALFORMED, "the header section cannot be read")
        yield from telling.items()
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
