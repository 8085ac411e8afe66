"""Owns what an answer of Exchange means, and what to do about it: code and text in, words for people out.

Must not know who asked, nor what is done with the answer.  RFC 3463; texts as Microsoft's documents and administrators quote them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from filterd.mail.reply import Reply

_PRX = re.compile(r"\bprx\d{1,3}\b")
# Addresses that a server quotes are a stranger's words: a sender <"submission rate"@evil.example> must not slow us down.
# Quoted local-parts first, for they may hold a ">"; what is cut off in the middle goes to its end.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)')
_PATH = re.compile(r"<[^<>]*(?:>|$)")


class Kind(StrEnum):
    """What an answer is about; the label of filterd_upstream_answers_total."""

    BACK_PRESSURE = "back_pressure"
    RATE = "rate"
    CONNECTIONS = "connections"
    SERVICE = "service"
    FRONT_END = "front_end"
    SHADOW = "shadow"
    OUTDATED = "outdated"
    SEND_AS = "send_as"
    NOT_AUTHENTICATED = "not_authenticated"
    RELAY = "relay"
    RECIPIENT = "recipient"
    SIZE = "size"
    RECIPIENTS = "recipients"
    LOOP = "loop"
    CONTENT = "content"
    BLOCKED = "blocked"
    QUARANTINED = "quarantined"
    LINE_ENDS = "line_ends"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    OTHER = "other"


SLOW_DOWN = frozenset({Kind.BACK_PRESSURE, Kind.RATE, Kind.CONNECTIONS})
"""Kinds that ask for less at once, if the answer is a temporary one."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One kind of answer in words.

    Attributes:
        meaning: what has happened, for somebody who runs Exchange.
        remedy: what to do about it.
    """

    kind: Kind
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: everything that is given must be so.

    Attributes:
        codes: basic codes.
        enhanced: enhanced status codes without their class.
        words: one of them stands in the text, in lower case.
    """

    means: Meaning
    codes: tuple[int, ...] = ()
    enhanced: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


_BACK_PRESSURE = Meaning(
    Kind.BACK_PRESSURE,
    "back pressure: Exchange is short of memory, disk or queue and takes no mail from us",
    "on that server look for event 15004 to 15007 of MSExchangeTransport (disk of the queue, memory, submission queue); filterd slows down by itself",
)
_RATE = Meaning(
    Kind.RATE,
    "the receive connector takes only so many messages a minute from one source",
    "Set-ReceiveConnector … -MessageRateLimit unlimited on our connector; `filterd exchange setup` prints it",
)
_CONNECTIONS = Meaning(
    Kind.CONNECTIONS,
    "more connections from us than the receive connector allows",
    "Set-ReceiveConnector … -MaxInboundConnectionPerSource unlimited -MaxInboundConnectionPercentagePerSource 100, or lower upstream.connections",
)
_SERVICE = Meaning(
    Kind.SERVICE,
    "Exchange's transport is stopped, in maintenance, or our connector is in the wrong service",
    "Get-ServerComponentState and Test-ServiceHealth; a connector on port 25 must be of -TransportRole FrontendTransport",
)
_FRONT_END = Meaning(
    Kind.FRONT_END,
    "Exchange's Front End cannot reach its own Transport service (DNS, certificate or service)",
    "on the Exchange server: is MSExchangeTransport running, are its own DNS servers internal ones, is the certificate of SMTP valid",
)
_SHADOW = Meaning(
    Kind.SHADOW,
    "Exchange could not make its shadow copy, and is told to refuse then (RejectMessageOnShadowFailure)",
    "look at the other Mailbox servers of the group; the sender tries again",
)
_OUTDATED = Meaning(
    Kind.OUTDATED,
    "Exchange Online throttles or blocks mail from an Exchange server without current updates",
    "install the updates of that server: transport-based enforcement; Get-OnPremServerReportInfo shows the state",
)
_SEND_AS = Meaning(
    Kind.SEND_AS,
    "the connector does not let anonymous clients use sender addresses of your own domains",
    "it is Exchange's own guard against forgeries, as strict for genuine mail from outside (scanners, services): "
    'Add-ADPermission "SERVER\\CONNECTOR" -User "NT AUTHORITY\\ANONYMOUS LOGON" -ExtendedRights ms-Exch-SMTP-Accept-Authoritative-Domain-Sender'
    " on our connector; filterd looks at own domains itself (policy.own_domain)",
)
_NOT_AUTHENTICATED = Meaning(
    Kind.NOT_AUTHENTICATED,
    "the recipient takes mail from authenticated senders only, or the connector no anonymous clients",
    "for a recipient: Set-DistributionGroup … -RequireSenderAuthenticationEnabled $false, or leave it so; "
    "for all of them: -PermissionGroups AnonymousUsers is missing on our connector",
)
_RELAY = Meaning(
    Kind.RELAY,
    "Exchange does not have this domain among its accepted domains",
    "Get-AcceptedDomain: add it there, or take it out of recipients.accepted_domains",
)
_RECIPIENT = Meaning(
    Kind.RECIPIENT,
    "Exchange knows no such recipient; its Front End says so only after the message, to all recipients at once",
    "give filterd a directory (docs/directory.md), so that it answers at RCPT and one wrong address does not refuse the others",
)
_SIZE = Meaning(
    Kind.SIZE,
    "the message is larger than the connector, the organisation or the recipient allows",
    "compare limits.message_bytes with MaxMessageSize of the connector and MaxReceiveSize of Get-TransportConfig and of the mailbox",
)
_RECIPIENTS = Meaning(
    Kind.RECIPIENTS,
    "more recipients in one message than Exchange takes",
    "Set-ReceiveConnector … -MaxRecipientsPerMessage not below limits.recipients; Set-TransportConfig -MaxRecipientEnvelopeLimit",
)
_LOOP = Meaning(
    Kind.LOOP,
    "Exchange thinks that the message goes in a circle, or that it talks to itself",
    "server.hostname must differ from the connector's Fqdn; look at the Received fields of the message, and at where Exchange sends that domain",
)
_CONTENT = Meaning(
    Kind.CONTENT,
    "a filter or a transport rule of Exchange refused the message",
    "Get-TransportRule and Get-ContentFilterConfig; with filterd in front the agents of Exchange need not be on",
)
_BLOCKED = Meaning(
    Kind.BLOCKED,
    "something behind filterd judges filterd's address or name as if it were the sender's (a block list, SPF, a name check)",
    "it must not look at us: Get-TransportConfig | Format-List InternalSMTPServers must have our address, or switch that agent or list off; "
    "`filterd exchange setup` prints the first",
)
_QUARANTINED = Meaning(
    Kind.QUARANTINED,
    "Exchange's own content filter put the message into its quarantine mailbox",
    "Set-ContentFilterConfig -SCLQuarantineEnabled $false, else mail lies in two quarantines",
)
_LINE_ENDS = Meaning(
    Kind.LINE_ENDS,
    "Exchange found characters that SMTP does not allow in a message",
    "upstream.chunking = true sends octets as they are; look at the message in the quarantine or at its sender",
)
_TLS = Meaning(
    Kind.TLS,
    "the connector wants STARTTLS first",
    "upstream.tls = opportunistic or required",
)
_TIMEOUT = Meaning(
    Kind.TIMEOUT,
    "Exchange found the connection too slow or too long",
    "look at the network between; lower upstream.idle_seconds or upstream.reuse if it comes often",
)
_PROTOCOL = Meaning(
    Kind.PROTOCOL,
    "Exchange did not understand or did not like a command or an address",
    "the protocol log of the receive connector has the command; something between (a firewall that inspects SMTP) may have changed it",
)
_OTHER = Meaning(
    Kind.OTHER, "an answer that filterd has no words for", "its text, and Exchange's protocol log, say more"
)

_RULES = tuple(f"7.{number}" for number in range(900, 1000))  # what transport rules may answer (New-TransportRule)
# What Exchange Online says of the address, name or SPF of whoever hands over: of ours, when we stand in between.
_JUDGED = ("7.23", "7.25", "7.506", "7.509", "7.511", "7.513", *(f"7.{number}" for number in range(606, 650)))

# The first row that fits wins, so the narrow ones stand first.
# Sources: exchange.md 2.1-2.4, 7, 8 of the facts behind docs/exchange.md, which has the same table for people.
_TABLE = (
    _Row(_FRONT_END, codes=(451, 421, 450), words=("prx",)),
    _Row(_OUTDATED, enhanced=("7.230",)),
    _Row(_OUTDATED, codes=(450, 451, 550), words=("outdated exchange", "connecting exchange server version")),
    _Row(_RATE, codes=(421, 450, 451, 452), words=("submission rate",)),
    _Row(_CONNECTIONS, codes=(421, 451, 452), words=("concurrent connections", "concurrent server connections")),
    _Row(_BACK_PRESSURE, codes=(421, 451, 452), enhanced=("3.1",)),
    _Row(_BACK_PRESSURE, codes=(421, 451, 452), words=("insufficient system resources",)),
    _Row(_SERVICE, codes=(421, 451, 452, 454), enhanced=("3.2",)),
    _Row(
        _BLOCKED,
        codes=(450, 451, 550, 553, 554),
        words=("client host", "blocked using", "banned sending ip", "bad helo", "sender policy framework"),
    ),
    _Row(_BLOCKED, enhanced=_JUDGED),
    _Row(
        _SERVICE,
        codes=(421, 451, 452, 454),
        words=("service not available", "service not active", "service unavailable"),
    ),
    _Row(_RATE, codes=(450, 451), words=("server busy",)),
    _Row(_SEND_AS, words=("send as this sender", "send as sender")),
    _Row(_RELAY, words=("unable to relay",)),
    _Row(_RELAY, enhanced=("7.54",)),
    _Row(
        _NOT_AUTHENTICATED, words=("client was not authenticated", "not authenticated to send", "authenticated sender")
    ),
    _Row(_NOT_AUTHENTICATED, enhanced=("7.133", "7.134", "7.135", "7.136")),
    _Row(_NOT_AUTHENTICATED, codes=(530,), enhanced=("7.1", "7.57")),
    _Row(_TLS, codes=(530, 454, 451), words=("starttls",)),
    _Row(_QUARANTINED, words=("quarantined this message",)),
    _Row(_CONTENT, words=("content restrictions", "unacceptable attachments", "sender denied", "spam")),
    _Row(_CONTENT, enhanced=_RULES),
    _Row(_LOOP, enhanced=("4.6", "3.5", "4.14")),
    _Row(_LOOP, words=("hop count exceeded", "system incorrectly configured", "loop detected", "mail loop")),
    _Row(_RECIPIENTS, enhanced=("5.3",)),
    _Row(_RECIPIENTS, words=("too many recipients",)),
    _Row(_SIZE, enhanced=("3.4", "2.3")),
    _Row(_SIZE, words=("message size exceeds", "message too large")),
    _Row(_RECIPIENT, codes=(550, 551, 553, 554), enhanced=("1.1", "1.10", "1.2", "1.3", "1.4", "1.5", "1.6")),
    _Row(_RECIPIENT, words=("recipnotfound", "recipientnotfound", "user unknown", "recipient not found")),
    _Row(_RECIPIENT, codes=(550,), enhanced=("4.1",), words=("recipient address rejected",)),
    _Row(_LINE_ENDS, enhanced=("6.11",)),
    _Row(_SHADOW, codes=(451,), enhanced=("4.0",)),
    _Row(_SHADOW, codes=(450,), enhanced=("5.1",)),
    _Row(_TIMEOUT, codes=(421, 450, 451, 452), enhanced=("4.1", "4.2", "4.7")),
    _Row(_PROTOCOL, codes=(500, 501, 502, 503, 504, 555)),
    _Row(_PROTOCOL, enhanced=("5.2", "5.4", "1.7", "5.1")),
)


def _fits(row: _Row, code: int, subject: str, text: str) -> bool:
    if row.codes and code not in row.codes:
        return False
    if row.enhanced and subject not in row.enhanced:
        return False
    if row.words == ("prx",):
        return _PRX.search(text) is not None
    return not row.words or any(word in text for word in row.words)


def _own_words(text: str) -> str:
    """`text` without the addresses in it."""
    text = _PATH.sub(" ", _STRING.sub(" ", text))
    return " ".join(word for word in text.split(" ") if "@" not in word)


def meaning_of(reply: Reply) -> Meaning:
    """What a refusal or deferral says; Kind.OTHER for one that is not known.  A success has none: ask for refusals only."""
    subject = reply.enhanced.partition(".")[2]
    text = _own_words(reply.text.lower())  # a Reply has a short text
    for row in _TABLE:
        if _fits(row, reply.code, subject, text):
            return row.means
    return _OTHER


def meaning_of_kind(kind: Kind) -> Meaning:
    """The words of one kind."""
    return next((row.means for row in _TABLE if row.means.kind is kind), _OTHER)


def asks_for_less(reply: Reply) -> bool:
    """Whether upstream says "too much at once": it is slowed down for, and says nothing against the message."""
    return reply.is_temporary and meaning_of(reply).kind in SLOW_DOWN
