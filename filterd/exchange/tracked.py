"""Owns how the end of a message is told in the words of Exchange's message tracking and agent logs: events, agents, actions, reasons.

Facts: exchange.md 1.1, 6.2.  Where Exchange has no word the finding keeps ours.  Must not know files, the policy, nor a clock.
"""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filterd.content.persons import mailboxes
from filterd.exchange.logs import VERSION, Kind, line, stamp
from filterd.ports import EvidenceRecord, MessageRecord, Outcome, TerminalState

RECIPIENTS = 100  # in one row; mail for more has several rows, so that no line grows beyond 35 KB
UPSTREAM = "upstream: "  # what the detail of an outcome begins with when the next server has said it
_ADDRESSES = 5  # authors in one row

_EVENTS = {
    "connect": "OnConnect",
    "helo": "OnHeloCommand",
    "mail": "OnMailCommand",
    "rcpt": "OnRcptCommand",
    "data": "OnEndOfData",
}
# Exchange's agent for what a check looks at; the rest is content, as in Exchange.
_AGENTS = {
    **dict.fromkeys(
        ("lists", "dnsbl", "rdns", "helo", "manners", "rate", "sender_rate", "outbound_rate", "greylist"),
        "Connection Filtering Agent",
    ),
    **dict.fromkeys(("recipient", "harvest"), "Recipient Filter Agent"),
    "senders": "Sender Filter Agent",
    **dict.fromkeys(("spf", "spf_helo", "dkim", "dmarc", "arc", "spoof"), "Sender Id Agent"),
    "malware": "Malware Agent",
    "attachments": "Attachment Filtering Agent",
}
_CONTENT = "Content Filter Agent"
_OURS = "filterd"  # what no agent has decided: the disk is full, Exchange does not answer
# The words for these of Exchange's own agents.
_REASONS = {
    "recipient_unknown": "RecipientDoesNotExist",
    "block_listed": "LocalBlockList",
    "allow_listed": "LocalAllowList",
    "listed": "BlockListProvider",
}
_BY_SCORE = {
    **dict.fromkeys(("reject_score", "mailbox_reject"), "SclAtOrAboveRejectThreshold"),
    **dict.fromkeys(("quarantine_score", "mailbox_quarantine"), "SclAtOrAboveQuarantineThreshold"),
    "mailbox_delete": "SclAtOrAboveDeleteThreshold",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Who we are, and who is next: host names or addresses."""

    hostname: str
    upstream: str
    outbound: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A message whose custody has ended, as the ledger knows it, at `at_ms` (Unix milliseconds)."""

    message: MessageRecord
    outcomes: Sequence[Outcome]
    evidence: EvidenceRecord
    at_ms: int


def session_id(reference: str) -> str:
    """16 hexadecimal digits for an id of ours; the same one always gives the same."""
    return hashlib.sha256(reference.encode()).hexdigest()[:16].upper()


def network_message_id(reference: str) -> str:
    """A GUID for an id of ours."""
    return str(uuid.UUID(hashlib.sha256(reference.encode()).hexdigest()[:32]))


def tracking_rows(ended: Ended, place: Place) -> Iterator[str]:
    """RECEIVE when somebody has a copy now, AGENTINFO for what was decided, then what became of each copy.

    A quarantined copy is a REDIRECT: it has gone elsewhere than it was meant to, and nobody was told that it failed.
    """
    message, evidence = ended.message, ended.evidence
    known = [outcome for outcome in ended.outcomes if outcome.state is not TerminalState.ABORTED]
    common = _common(ended, len(known))
    taken = [o for o in known if o.state in (TerminalState.FORWARDED, TerminalState.QUARANTINED)]
    received = {
        "source": "SMTP",
        "event-id": "RECEIVE",
        "server-hostname": place.hostname,
        "connector-id": message.listener,
        "source-context": session_id(message.id),
    }
    yield from _rows(common | received, taken)
    if evidence.verdicts and known:
        decided = {"source": "AGENT", "event-id": "AGENTINFO", "server-hostname": place.hostname}
        yield from _rows(common | decided | {"custom-data": _decision(ended)}, known)
    yield from end_rows(ended, place)


def end_rows(ended: Ended, place: Place) -> Iterator[str]:
    """What became of each copy, alone: also of one that is delivered later."""
    message, evidence = ended.message, ended.evidence
    known = [outcome for outcome in ended.outcomes if outcome.state is not TerminalState.ABORTED]
    common = _common(ended, len(known))
    for (event, source, status), group in _ends(known).items():
        more = {
            "source": source,
            "event-id": event,
            "server-hostname": place.hostname,
            "connector-id": message.listener,
        }
        if event == "SEND":
            outbound = evidence.extra.get("trust") == "outbound"
            server = (place.outbound if outbound else place.upstream) or place.upstream
            more |= {"connector-id": "outbound" if outbound else "upstream", "client-ip": "", "source-context": status}
            more |= {"client-hostname": place.hostname, "server-hostname": server, "server-ip": _address(server)}
        yield from _rows(common | more, group, status)


def agent_rows(ended: Ended) -> Iterator[str]:
    """One row for each recipient who was decided on."""
    message, evidence = ended.message, ended.evidence
    verdicts: dict[str, dict[str, Any]] = {str(verdict["recipient"]): verdict for verdict in evidence.verdicts}
    known = [outcome for outcome in ended.outcomes if outcome.state is not TerminalState.ABORTED]
    all_held = all(outcome.state is TerminalState.QUARANTINED for outcome in known)
    common = {
        "Timestamp": stamp(ended.at_ms),
        "SessionId": session_id(message.id),
        "RemoteEndpoint": endpoint(message.client_ip, 0),
        "EnteredOrgFromIP": message.client_ip,
        "MessageId": message.message_id,
        "P1FromAddress": message.mail_from or "<>",
        "P2FromAddresses": "".join(f"{address};" for address in _authors(message)),
        "NumRecipients": str(len(known)),
        "NetworkMsgID": network_message_id(message.id),
        "Directionality": _direction(evidence),
    }
    for outcome in known:
        verdict = verdicts.get(outcome.recipient)
        own = {"Recipient": outcome.recipient, "SmtpResponse": outcome.reply, "Diagnostics": f"ID={message.id};"}
        if verdict is None:
            own |= _by_us(outcome)
        else:
            own |= _by_agent(outcome, verdict, evidence, all_held)
            own["Diagnostics"] += f"row={verdict['row']};score={verdict['score']:.3f};"
        yield line(Kind.AGENT, common | own)


def endpoint(address: str, port: int) -> str:
    """An address and a port as .NET writes them; 0 where the port was not kept."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# ---------------------------------------------------------------- message tracking


def _common(ended: Ended, count: int) -> dict[str, str]:
    message = ended.message
    digest = hashlib.sha256(message.id.encode()).digest()
    return {
        "date-time": stamp(ended.at_ms),
        "client-ip": message.client_ip,
        "client-hostname": message.helo,
        "internal-message-id": str(int.from_bytes(digest[:8], "big") >> 1),  # positive in 64 bits, as Exchange's
        "message-id": message.message_id,
        "network-message-id": network_message_id(message.id),
        "total-bytes": str(message.size),
        "recipient-count": str(count),
        "message-subject": message.subject,
        "sender-address": next(_authors(message), message.mail_from),
        "return-path": message.mail_from or "<>",
        "directionality": _direction(ended.evidence),
        "original-client-ip": message.client_ip,
        "custom-data": f"S:FilterdId={message.id}",
        "transport-traffic-type": "Email",
        "schema-version": VERSION,
    }


def _rows(values: dict[str, str], outcomes: Sequence[Outcome], status: str = "") -> Iterator[str]:
    for at in range(0, len(outcomes), RECIPIENTS):
        group = outcomes[at : at + RECIPIENTS]
        own = {
            "recipient-address": ";".join(outcome.recipient for outcome in group),
            "recipient-status": ";".join(status.replace(";", ",") for _ in group) if status else "",
        }
        yield line(Kind.TRACKING, values | own, wide=own)


def _ends(outcomes: Sequence[Outcome]) -> Mapping[tuple[str, str, str], list[Outcome]]:
    """Event, source and status -> the copies that it is true of, in order."""
    found: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        said = outcome.detail.removeprefix(UPSTREAM) if outcome.detail.startswith(UPSTREAM) else ""
        if outcome.state is TerminalState.FORWARDED:
            key = ("SEND", "SMTP", said or outcome.reply)
        elif outcome.state is TerminalState.QUARANTINED:
            waits = said.startswith("4")  # for the next server, not for a person
            key = ("DEFER", "QUEUE", said) if waits else ("REDIRECT", "AGENT", said or f"quarantine: {outcome.detail}")
        else:
            event = "DEFER" if outcome.state is TerminalState.DEFERRED else "FAIL"
            key = (event, "SMTP" if said else "AGENT", outcome.reply)
        found.setdefault(key, []).append(outcome)
    return found


def _decision(ended: Ended) -> str:
    """The strictest verdict, in the form that Exchange's agents have there."""
    evidence = ended.evidence
    row = next((v["row"] for v in evidence.verdicts if v["action"] == evidence.action), "")
    parts = (f"action={evidence.action}", f"scl={evidence.scl}", f"score={evidence.score:.3f}", f"row={row}")
    return f"S:FilterdId={ended.message.id};S:Filterd={'|'.join(parts)}"


# ---------------------------------------------------------------- agent log


def _by_us(outcome: Outcome) -> dict[str, str]:
    action = "AcceptMessage" if outcome.state is TerminalState.FORWARDED else "RejectMessage"
    if outcome.state is TerminalState.QUARANTINED:
        action = "QuarantineRecipients"
    return {"Agent": _OURS, "Event": "OnEndOfData", "Action": action, "ReasonData": outcome.detail}


def _by_agent(outcome: Outcome, verdict: Mapping[str, Any], evidence: EvidenceRecord, all_held: bool) -> dict[str, str]:
    row, reason, stage = str(verdict["row"]), str(verdict["reason"]), str(verdict["stage"])
    said_by_upstream = outcome.detail.startswith(UPSTREAM)
    if outcome.state is TerminalState.FORWARDED or (said_by_upstream and verdict["action"] in ("accept", "tag")):
        action = "AcceptMessage"
    elif outcome.state is TerminalState.QUARANTINED:
        action = "QuarantineMessage" if all_held else "QuarantineRecipients"
    elif verdict["action"] == "disconnect":
        action = "Disconnect"
    else:
        action = "RejectMessage" if stage == "data" else "RejectCommand"
    own = {"Event": _EVENTS.get(stage, "OnEndOfData"), "Action": action}
    finding = _finding(reason, outcome.recipient, evidence)
    if row in _BY_SCORE and action != "AcceptMessage":
        return own | {"Agent": _CONTENT, "Reason": _BY_SCORE[row], "ReasonData": str(verdict["scl"])}
    if action == "AcceptMessage" and reason != "allow_listed":
        return own | {"Agent": _CONTENT, "Reason": "SCL", "ReasonData": str(verdict["scl"])}
    agent = _AGENTS.get(str(finding.get("check", "")), _CONTENT)
    return own | {
        "Agent": agent,
        "Reason": _REASONS.get(reason, reason),
        "ReasonData": str(finding.get("detail", "")) or row,
    }


def _finding(reason: str, recipient: str, evidence: EvidenceRecord) -> Mapping[str, Any]:
    """The finding that decided, about the message or this recipient."""
    like = [item for item in evidence.evidence if item["reason"] == reason]
    own = [item for item in like if item["recipient"] is not None and str(item["recipient"]) == recipient.lower()]
    return next(iter([*own, *like]), {})


# ---------------------------------------------------------------- both


def _authors(message: MessageRecord) -> Iterator[str]:
    for person in mailboxes(message.header_from)[:_ADDRESSES]:
        if person.domain:
            yield f"{person.local}@{person.domain}"


def _direction(evidence: EvidenceRecord) -> str:
    return "Incoming" if evidence.extra.get("trust", "internet") == "internet" else "Originating"


def _address(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""
