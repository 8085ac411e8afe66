"""Owns a verdict without a hand-over: all stages on a given message, for `filterd scan` and the API.

The same pipeline and `decide` as for SMTP.  Must not know files, HTTP or custody.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from filterd.checks.base import CheckContext
from filterd.engine.flip import STRICTNESS
from filterd.engine.pipeline import Pipeline, stage_deadline
from filterd.engine.policy import Policy, decide
from filterd.engine.record import Explainer, evidence_json
from filterd.errors import FilterdError
from filterd.lookups import BUDGET, Lookups
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, new_id, parse_ip
from filterd.mail.evidence import Evidence, Stage
from filterd.mail.message import Message
from filterd.mail.verdict import Verdict


class ScanInputError(FilterdError):
    """A given client address, reverse-path or recipient cannot be used; names the field and the remedy."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field, self.problem, self.remedy = field, problem, remedy


def with_crlf(octets: bytes) -> bytes:
    """A file's octets as SMTP would carry them: CRLF line ends, a leading mbox line left out."""
    if octets.startswith((b"From ", b">From ")):
        octets = octets.partition(b"\n")[2]
    octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"


class Scanner:
    """Runs every stage and decides for each recipient."""

    def __init__(self, pipeline: Pipeline, policy: Policy, lookups_per_message: int = BUDGET) -> None:
        self._pipeline = pipeline
        self._policy = policy
        self._lookups_per_message = lookups_per_message

    async def scan(
        self, octets: bytes, *, client_ip: str, helo: str, mail_from: str, rcpt_to: Sequence[str]
    ) -> dict[str, Any]:
        """The whole verdict as JSON: id, action, scl, score, probability, reply, evidence, contributions, recipients.

        `octets` may have any line ends.  An empty `mail_from` or `<>` is the null reverse-path.
        Raises ScanInputError for an argument that cannot be used.
        """
        connection = Connection(_client(client_ip), helo=helo)
        sender = mail_from.strip().removeprefix("<").removesuffix(">")
        reverse_path = parse_mailbox(sender) if sender else None
        if sender and reverse_path is None:
            raise ScanInputError(
                "mail_from", f"{sender[:80]!r} is no mailbox", "give user@domain, or nothing for bounces"
            )
        recipients = tuple(_recipient(text) for text in rcpt_to)
        if not recipients:
            raise ScanInputError("rcpt_to", "no recipient", "give at least one user@domain")
        envelope = Envelope(new_id(int(time.time() * 1000)), reverse_path, (), recipients)
        message = Message(with_crlf(octets))
        evidence: list[Evidence] = []
        of_client, lookups = Lookups(self._lookups_per_message), Lookups(self._lookups_per_message)
        for stage in (Stage.CONNECT, Stage.HELO):
            ctx = CheckContext(connection, stage_deadline(stage), tuple(evidence), lookups=of_client)
            evidence += await self._pipeline.run(stage, ctx)
        ctx = CheckContext(connection, stage_deadline(Stage.MAIL), tuple(evidence), envelope, lookups=lookups)
        evidence += await self._pipeline.run(Stage.MAIL, ctx)
        for recipient in recipients:
            ctx = CheckContext(
                connection, stage_deadline(Stage.RCPT), tuple(evidence), envelope, recipient, lookups=lookups
            )
            evidence += await self._pipeline.run(Stage.RCPT, ctx)
        ctx = CheckContext(
            connection, stage_deadline(Stage.DATA), tuple(evidence), envelope, None, message, lookups=lookups
        )
        evidence += await self._pipeline.run(Stage.DATA, ctx)
        verdicts = [(str(r.mailbox), self._decide(evidence, r, connection)) for r in recipients]
        answer = self._answer(envelope.id, evidence, verdicts, connection)
        return {**answer, "dns": [*of_client.record(), *lookups.record()]}

    def _decide(self, evidence: Sequence[Evidence], recipient: Recipient, connection: Connection) -> Verdict:
        """What the client would hear: a refusal at RCPT stands, else the verdict at end-of-data."""
        return decide(evidence, self._policy, Stage.DATA, recipient.mailbox.key, connection.trust)

    def _answer(
        self,
        message_id: str,
        evidence: Sequence[Evidence],
        verdicts: Sequence[tuple[str, Verdict]],
        connection: Connection,
    ) -> dict[str, Any]:
        """The headline is the mildest recipient's: that copy decides the reply; all recipients stand beside it."""
        _, headline = min(verdicts, key=lambda item: STRICTNESS.index(item[1].action))
        reply = (
            str(headline.reply.with_reference(message_id))
            if headline.reply
            else f"250 2.0.0 Message accepted [{message_id}]"
        )
        explainer = Explainer(evidence, self._policy, connection.trust, accepted=True)
        shown = explainer.verdict(headline, "", reply)
        return {
            "id": message_id,
            **{key: value for key, value in shown.items() if key != "recipient"},
            "evidence": evidence_json(evidence, headline),
            "recipients": [explainer.verdict(verdict, name) for name, verdict in verdicts],
        }


def _client(text: str) -> Any:
    try:
        return parse_ip(text)
    except ValueError:
        raise ScanInputError("client_ip", f"{text[:80]!r} is no IP address", "give one such as 192.0.2.1") from None


def _recipient(text: str) -> Recipient:
    mailbox = parse_mailbox(text.strip().removeprefix("<").removesuffix(">"))
    if mailbox is None:
        raise ScanInputError("rcpt_to", f"{text[:80]!r} is no mailbox", "give user@domain")
    return Recipient(mailbox)
