"""Does the directory know the forward-path?  RFC 5321 3.3, 4.5.1.

Owns: the question, and which addresses users report mail to.  Must not know: which directory answers, what the SMTP reply is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import Directory, RecipientStatus
from filterd.reportmail.labels import LABELS, LOGIN

_MEANING = {
    RecipientStatus.KNOWN: (Result.PASS, Reason.OK),
    RecipientStatus.UNKNOWN: (Result.FAIL, Reason.RECIPIENT_UNKNOWN),
    RecipientStatus.FOREIGN_DOMAIN: (Result.FAIL, Reason.RELAY_DENIED),
}


@dataclass(slots=True)
class RecipientCheck:
    """The check, once per RCPT."""

    directory: Directory
    report_domain: str = ""
    name: ClassVar[str] = "recipient"
    stage: ClassVar[Stage] = Stage.RCPT
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.recipient is None:
            return ()
        mailbox = ctx.recipient.mailbox
        if self.report_domain and mailbox.domain_key == self.report_domain and mailbox.local.lower() in LABELS:
            inside = ctx.connection.trust is not TrustClass.INTERNET  # strangers report nothing
            result, reason = (Result.PASS, Reason.USER_REPORT) if inside else (Result.FAIL, Reason.RECIPIENT_UNKNOWN)
            login = {LOGIN: ctx.connection.user} if ctx.connection.user else {}  # who reports must be whom he says
            return (replace(self._found(mailbox.key, result, reason, "report address"), properties=login),)
        status = await self.directory.look_up(mailbox.local, mailbox.domain_key, ctx.deadline)
        result, reason = _MEANING[status]
        if status is RecipientStatus.FOREIGN_DOMAIN and ctx.connection.trust is TrustClass.AUTHENTICATED:
            result, reason = Result.PASS, Reason.OK  # our own users may write to the world, over upstream
        return (self._found(mailbox.key, result, reason, status.value),)

    def _found(self, recipient: str, result: Result, reason: Reason, text: str) -> Evidence:
        return Evidence(self.name, self.stage, result, reason, Scope.RECIPIENT, recipient=recipient, log_text=text)
