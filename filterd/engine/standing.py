"""Owns how a client is treated for what was found so far, before anything is decided: who waits, who is doubtful, who is known.

Must not know sockets, any concrete check, nor where good senders are noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from filterd import metrics
from filterd.config import ClientsConfig, GreylistConfig
from filterd.deadline import Deadline
from filterd.engine.notes import REMEMBER_SECONDS, Notes
from filterd.engine.policy import Policy, weigh
from filterd.errors import TemporaryError
from filterd.mail.envelope import Connection, TrustClass
from filterd.mail.evidence import Evidence, Reason
from filterd.mail.verdict import Verdict
from filterd.ports import Greylist

_DOUBTFUL_AT_CONNECT = 1.0  # log-odds from which on a greeting is held back: a missing name alone is not enough


def greet_seconds(
    connection: Connection, evidence: Sequence[Evidence], policy: Policy, clients: ClientsConfig
) -> float:
    """How long the banner is held back: for clients of the internet that are doubtful at connect, else 0."""
    if connection.trust is not TrustClass.INTERNET or any(e.reason is Reason.ALLOW_LISTED for e in evidence):
        return 0.0
    return clients.greet_seconds if weigh(evidence, policy) >= _DOUBTFUL_AT_CONNECT else 0.0


def is_doubtful(connection: Connection, evidence: Sequence[Evidence], policy: Policy, greylist: GreylistConfig) -> bool:
    """Whether what was found before RCPT weighs so much that the mail may be greylisted."""
    if connection.trust is not TrustClass.INTERNET or not greylist.enabled:
        return False
    return weigh(evidence, policy) >= greylist.score


def tarpit_seconds(verdict: Verdict, of_recipient: Sequence[Evidence], clients: ClientsConfig) -> float:
    """How long a refusal is kept back: for who has asked for half as many unknown recipients as he may."""
    counts = [int(e.properties["unknown"]) for e in of_recipient if e.check == "harvest"]
    slow = verdict.row == "recipient_unknown" and counts and counts[-1] > clients.harvest_unknown / 2
    return clients.tarpit_seconds if slow else 0.0


class SenderNotes(Notes):
    """Notes senders whose mail is not greylisted later."""

    def __init__(self, greylist: Greylist, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        super().__init__()
        self._greylist = greylist
        self._clock = clock

    def note(self, domain: str) -> None:
        """Mail of `domain` passed SPF and was taken.  How many notes may wait is the greylist's to bound."""
        self.begin(self._remember(domain))

    async def _remember(self, domain: str) -> None:
        try:
            await self._greylist.remember_sender(domain, int(self._clock() * 1000), Deadline.after(REMEMBER_SECONDS))
        except TemporaryError as error:
            metrics.CHECK_FAILURES.labels("greylist", error.kind).inc()
