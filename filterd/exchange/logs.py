"""Owns the text of logs in the formats of Exchange: header lines, and rows of CSV that its readers and ours read back.

Message tracking, agent log, SMTP protocol logs (facts: exchange.md 6.2; form of lines as Exchange 2016 and 2019 write them).
Must not know files, nor when something is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

VERSION = "15.0.0.0"  # of the formats: that of Exchange 2013 and later; programs choose their parser by it
MAX_VALUE = 2000  # characters of one value, without the lists of recipients; far above a reply or a subject
EOL = "\r\n"
# What any reader could take for the end of a line, or could not read at all (C0, DEL, C1, line and paragraph separator, lone surrogates).
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Kind(StrEnum):
    """One kind of log; the value is the beginning of its file names."""

    TRACKING = "MSGTRK"
    AGENT = "AGENTLOG"
    RECEIVE = "RECV"
    SEND = "SEND"


@dataclass(frozen=True, slots=True)
class Format:
    """What stands in the header lines."""

    log_type: str
    fields: tuple[str, ...]


_PROTOCOL = (
    *("date-time", "connector-id", "session-id", "sequence-number", "local-endpoint", "remote-endpoint"),
    *("event", "data", "context"),
)
FORMATS = {
    Kind.TRACKING: Format(
        "Message Tracking Log",
        (
            *("date-time", "client-ip", "client-hostname", "server-ip", "server-hostname", "source-context"),
            *("connector-id", "source", "event-id", "internal-message-id", "message-id", "network-message-id"),
            *("recipient-address", "recipient-status", "total-bytes", "recipient-count", "related-recipient-address"),
            *("reference", "message-subject", "sender-address", "return-path", "message-info", "directionality"),
            *("tenant-id", "original-client-ip", "original-server-ip", "custom-data", "transport-traffic-type"),
            *("log-id", "schema-version"),
        ),
    ),
    Kind.AGENT: Format(
        "Agent Log",
        (
            *("Timestamp", "SessionId", "LocalEndpoint", "RemoteEndpoint", "EnteredOrgFromIP", "MessageId"),
            *("P1FromAddress", "P2FromAddresses", "Recipient", "NumRecipients", "Agent", "Event", "Action"),
            *("SmtpResponse", "Reason", "ReasonData", "Diagnostics", "NetworkMsgID", "TenantID", "Directionality"),
        ),
    ),
    Kind.RECEIVE: Format("SMTP Receive Protocol Log", _PROTOCOL),
    Kind.SEND: Format("SMTP Send Protocol Log", _PROTOCOL),
}

_KNOWN = {kind: frozenset(form.fields) for kind, form in FORMATS.items()}


def stamp(at_ms: int) -> str:
    """Unix milliseconds as Exchange writes a time: UTC, with milliseconds."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03}Z"


def header(kind: Kind, at_ms: int) -> str:
    """The lines above the first row of a file that is begun at `at_ms`."""
    form = FORMATS[kind]
    lines = (
        "#Software: Microsoft Exchange Server",  # what programs recognise the format by
        f"#Version: {VERSION}",
        f"#Log-type: {form.log_type}",
        f"#Date: {stamp(at_ms)}",
        f"#Fields: {','.join(form.fields)}",
    )
    return "".join(line + EOL for line in lines)


def cell(text: str, most: int = MAX_VALUE) -> str:
    """One value: what is no character becomes a blank, what would divide it is quoted; nothing else is changed.

    A value that begins with = or + stays as it is: programs compare what stands there, and event is itself a + or a -.
    """
    text = _UNFIT.sub(" ", text[:most])
    if "," in text or '"' in text or text[:1] == " " or text[-1:] == " ":
        return '"' + text.replace('"', '""') + '"'
    return text


def line(kind: Kind, values: dict[str, str], wide: Iterable[str] = ()) -> str:
    """One row from the values by field, empty where there is none; those in `wide` are lists, as long as they are.

    Raises KeyError for a field that the format does not have.
    """
    if not values.keys() <= _KNOWN[kind]:
        raise KeyError(f"{kind} has no field {min(values.keys() - _KNOWN[kind])}")
    long = frozenset(wide)
    cells = []
    for name in FORMATS[kind].fields:  # most are empty
        text = values.get(name, "")
        cells.append(cell(text, len(text) if name in long else MAX_VALUE) if text else "")
    return ",".join(cells) + EOL
