"""Owns what Exchange's Front End refuses, delays and removes, as switches that are off until a test turns them on.

Documented behaviour: unknown recipients only after DATA, back pressure, tarpit, limits of a receive connector, header firewall.
Must not know sockets, nor filterd.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

# Back pressure holds MAIL for 10 s first and for 5 s more each time (Exchange: "Understanding back pressure"); the last step is ours.
_FIRST_TARPIT, _NEXT_TARPIT, _LAST_TARPIT = 10.0, 5.0, 55.0
_ORGANIZATION = "Organization"
_GUARDED = (_ORGANIZATION, "Forest")


def _fields(kind: str) -> re.Pattern[bytes]:
    """Whole fields X-MS-Exchange-<kind>-…, with their continuation lines; each line is looked at once."""
    return re.compile(rb"(?im)^X-MS-Exchange-" + kind.encode() + rb"-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


@dataclass(slots=True)
class FrontEnd:
    """How the stand-in behaves beyond taking everything.  Everything may be changed while it runs.

    Attributes:
        known: recipients that exist, in lower case; another one refuses the whole message after DATA.  None: all exist.
        accepted_domains: domains that mail is taken for at RCPT, in lower case.  None: all.
        denies_send_as: anonymous clients may not use senders of accepted domains.
        back_pressure: MAIL is held longer and longer, and refused with 452 4.3.1 after `patience` of them.
        patience: how many MAILs are only held.
        proxy_failure: n: the Transport service behind cannot be reached, PRXn after DATA.  0: it can.
        connections_per_source: beyond it a connection gets 421 4.3.2.  0: unlimited.
        messages_per_minute: beyond it MAIL gets 421 4.4.2 and the connection ends.  0: unlimited.
        tarpit_seconds: how long each 5yz is held back (TarpitInterval).
        header_firewall: fields of Exchange's own are removed from what is kept.
        organization_right: ms-Exch-Accept-Headers-Organization has been given: those of the organisation stay.
        offers_dsn: DSN is offered in EHLO (DeliveryStatusNotificationEnabled).
        receipt: what becomes of each message, told to who wants a receipt: delivered, relayed, expanded, failed, delayed.  Empty:
            nothing is told (DeliveryReportEnabled of the remote domain is off).
        way_out: host and port of the server that takes mail for the world; None: there is none.
        sleep: how it waits; a test gives one that only notes.
        clock: seconds of a clock that never goes back.
    """

    known: frozenset[str] | None = None
    accepted_domains: frozenset[str] | None = None
    denies_send_as: bool = False
    back_pressure: bool = False
    patience: int = 0
    proxy_failure: int = 0
    connections_per_source: int = 0
    messages_per_minute: int = 0
    tarpit_seconds: float = 0.0
    header_firewall: bool = False
    organization_right: bool = False
    offers_dsn: bool = True
    receipt: str = ""
    way_out: tuple[str, int] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    _held: int = 0
    _mails: list[float] = field(default_factory=list)

    def greeting(self, connections: int) -> str:
        """The refusal of a connection, empty for none.  `connections`: how many this source has, with this one."""
        if self.connections_per_source and connections > self.connections_per_source:
            return "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"
        return ""

    async def mail(self, reverse_path: str) -> str:
        """The refusal of MAIL, empty for none; under back pressure it comes late."""
        if self.back_pressure:
            await self.sleep(min(_FIRST_TARPIT + _NEXT_TARPIT * self._held, _LAST_TARPIT))
            self._held += 1
            if self._held > self.patience:
                return "452 4.3.1 Insufficient system resources"
        else:
            self._held = 0
        if self.messages_per_minute:
            now = self.clock()
            self._mails = [at for at in self._mails if at > now - 60.0]
            if len(self._mails) >= self.messages_per_minute:
                return "421 4.4.2 Message submission rate for this client has exceeded the configured limit"
            self._mails.append(now)
        if self.denies_send_as and self._is_accepted(reverse_path) and reverse_path:
            return "550 5.7.1 Anonymous client does not have permissions to send as this sender"
        return ""

    def rcpt(self, forward_path: str) -> str:
        """The refusal of RCPT, empty for none: the Front End knows domains, not recipients."""
        return (
            ""
            if self._is_accepted(forward_path)
            else "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"
        )

    def end_of_data(self, recipients: Sequence[str]) -> str:
        """The refusal of the message, empty for none: one recipient that does not exist refuses it for all."""
        if self.proxy_failure:
            return f"451 4.7.0 Temporary server error. Please try again later. PRX{self.proxy_failure}"
        if self.known is not None and not all(recipient.lower() in self.known for recipient in recipients):
            return "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
        return ""

    async def tarpit(self, reply: str) -> None:
        """Hold a 5yz back."""
        if self.tarpit_seconds and reply.startswith("5"):
            await self.sleep(self.tarpit_seconds)

    def kept(self, octets: bytes) -> bytes:
        """The message behind the header firewall."""
        if not self.header_firewall:
            return octets
        end = octets.find(b"\r\n\r\n") + 2
        head, rest = (octets[:end], octets[end:]) if end >= 2 else (octets, b"")
        for kind in _GUARDED:
            if not (kind == _ORGANIZATION and self.organization_right):
                head = _fields(kind).sub(b"", head)
        return head + rest

    def _is_accepted(self, path: str) -> bool:
        return self.accepted_domains is None or path.rpartition("@")[2].lower() in self.accepted_domains
