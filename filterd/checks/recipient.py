"""Does the directory know the forward-path?  RFC 5321 3.3, 4.5.1.

Owns: the question, which addresses users report mail to, and which ones a receipt for a probe comes to.
Must not know: which directory answers, what the SMTP reply is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from filterd.checks.base import CheckContext
from filterd.directory.values import Directory, RecipientAnswer, RecipientStatus
from filterd.exchange.probe_address import PREFIX
from filterd.mail.address import Mailbox
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.reportmail.labels import LABELS, LOGIN

_MEANING = {
    RecipientStatus.KNOWN: (Result.PASS, Reason.OK),
    RecipientStatus.UNKNOWN: (Result.FAIL, Reason.RECIPIENT_UNKNOWN),
    RecipientStatus.FOREIGN_DOMAIN: (Result.FAIL, Reason.RELAY_DENIED),
    RecipientStatus.INTERNAL_ONLY: (Result.FAIL, Reason.RECIPIENT_INTERNAL),
}


# Properties of this check's evidence, from which engine/policy.py takes a mailbox's own SCL thresholds.
JUNK, QUARANTINE, REJECT, DELETE = "scl_junk", "scl_quarantine", "scl_reject", "scl_delete"


def properties(answer: RecipientAnswer) -> dict[str, str]:
    """What the decision and the trace need of an answer: who gave it, and the mailbox's own thresholds."""
    limits = answer.thresholds
    numbers = {JUNK: limits.junk, QUARANTINE: limits.quarantine, REJECT: limits.reject, DELETE: limits.delete}
    found = {name: str(number) for name, number in numbers.items() if number is not None}
    return {"backend": answer.backend, **found} if answer.backend else found


RECEIPT_CLASSES = (TrustClass.INTERNET, TrustClass.OUTBOUND)  # over these a receipt of Exchange's can come
_INTO_THE_WORLD = (TrustClass.AUTHENTICATED, TrustClass.OUTBOUND)


class Probes(Protocol):
    """Knows the addresses that receipts for our own probes come to; see adapters.probe_addresses."""

    def knows(self, local: str, domain: str) -> bool:
        """Blocks.  Raises TemporaryError when that cannot be known now."""
        ...


@dataclass(slots=True)
class RecipientCheck:
    """The check, once per RCPT.

    Attributes:
        report_domain: where users report mail to; empty: nowhere.
        hostname: our own, at which receipts for probes arrive.
        probes: None: nobody sends any.
    """

    directory: Directory
    report_domain: str = ""
    hostname: str = ""
    probes: Probes | None = None
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
        if await self._is_receipt(ctx, mailbox):
            return (self._found(mailbox.key, Result.PASS, Reason.PROBE_RECEIPT, "receipt for a probe"),)
        answer = await self.directory.look_up(mailbox.local, mailbox.domain_key, ctx.deadline)
        result, reason = _MEANING[answer.status]
        trust = ctx.connection.trust
        if answer.status is RecipientStatus.FOREIGN_DOMAIN and trust in _INTO_THE_WORLD:
            result, reason = Result.PASS, Reason.OK  # our own users may write to the world
            if self._looks_like_receipt(mailbox) and mailbox.domain_key == self.hostname:
                # Passed on it would come back to us, over the MX of our own name.
                result, reason = Result.FAIL, Reason.RECIPIENT_UNKNOWN
        if answer.status is RecipientStatus.INTERNAL_ONLY and trust is not TrustClass.INTERNET:
            result, reason = Result.PASS, Reason.OK
        found = self._found(mailbox.key, result, reason, f"{answer.status.value} {answer.backend}".strip())
        return (replace(found, properties=properties(answer)),)

    async def _is_receipt(self, ctx: CheckContext, mailbox: Mailbox) -> bool:
        """A receipt has the null reverse-path (RFC 3464 2), and an address that only we can have made."""
        if self.probes is None or not self._looks_like_receipt(mailbox):
            return False
        if ctx.connection.trust not in RECEIPT_CLASSES or ctx.envelope is None or ctx.envelope.reverse_path:
            return False
        return await asyncio.to_thread(self.probes.knows, mailbox.local, mailbox.domain_key)

    def _looks_like_receipt(self, mailbox: Mailbox) -> bool:
        return mailbox.local[: len(PREFIX)].lower() == PREFIX

    def _found(self, recipient: str, result: Result, reason: Reason, text: str) -> Evidence:
        return Evidence(self.name, self.stage, result, reason, Scope.RECIPIENT, recipient=recipient, log_text=text)
