"""Owns the steps of deploy/exchange/Push-FilterdDirectory.ps1 in Python, for a made-up Exchange: there is no PowerShell here.

The order of the requests, their bodies and the texts that become keys are the script's; test_push_script.py compares what it can.
Not part of the product.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

PART_RECIPIENTS = 5000
PART_CHARACTERS = 4_000_000
Send = Callable[
    [str, str, "bytes | None"], Any
]  # method, path below /v1/directory, body -> the answer; raises PushFailedError


class PushFailedError(Exception):
    """What the script says of a node that does not have the list."""


@dataclass
class Item:
    """One recipient, as Get-Recipient and the cmdlet of its type tell it.

    Attributes:
        addresses: EmailAddresses with their prefixes.
        thresholds: SCL…Threshold of those that are enabled.
        trusted, blocked: …SendersAndDomains.
    """

    addresses: Sequence[str]
    inside: bool = False
    thresholds: dict[str, int] = field(default_factory=dict)
    trusted: Sequence[str] | None = None
    blocked: Sequence[str] | None = None
    guid: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Organization:
    """A made-up Exchange.

    Attributes:
        domains: DomainName, DomainType, MatchSubDomains.
        protected: display names of the members of -ProtectedGroups.
    """

    domains: Sequence[tuple[str, str, bool]]
    items: list[Item]
    protected: Sequence[str] = ()


def to_lower_invariant(text: str) -> str:
    """What .NET's ToLowerInvariant makes on Windows: simple mappings, each letter by itself; U+0130 stays as it is."""
    return "".join(c if c == "\u0130" else (c.lower() if len(c.lower()) == 1 else c) for c in text)


def canonical(address: str) -> str:
    """ConvertTo-Canonical."""
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")  # IdnMapping.GetAscii
    return to_lower_invariant(local + at + domain)


def distinct(texts: Iterable[str]) -> list[str]:
    """Get-Distinct: ordinal order, which for .NET is that of UTF-16 code units."""
    return sorted({text for text in texts if text}, key=lambda text: text.encode("utf-16-be", "surrogatepass"))


def senders(entries: Sequence[str] | None) -> list[str]:
    """Get-Senders."""
    return distinct(canonical(entry if "@" in entry else f"@{entry}") for entry in entries or ())


def to_json(value: Any) -> str:
    """ConvertTo-Json -Compress."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def push(exchange: Organization, send: Send, *, accept_drop: bool = False) -> str:
    """The script against one node; what it prints.  Raises PushFailedError."""
    types = {"Authoritative": "authoritative", "InternalRelay": "internal_relay", "ExternalRelay": "external_relay"}
    domains = [
        {
            "name": canonical(name.removeprefix("*.")),
            "type": types[kind],
            "subdomains": name.startswith("*.") or below,
        }
        for name, kind, below in exchange.domains
        if name != "*"
    ]
    people = [{"name": name} for name in distinct(exchange.protected)]
    recipients = []
    for item in sorted(exchange.items, key=lambda item: item.guid):
        smtp = distinct(canonical(a[5:]) for a in item.addresses if a[:5].lower() == "smtp:" and a.find("@") > 5)
        if smtp:
            recipients.append((item, smtp))

    site = send("GET", "key", None)
    key = bytes.fromhex(site["key"])

    def keys(texts: Iterable[str]) -> list[str]:
        return [hmac.new(key, text.encode(), hashlib.sha256).digest()[:16].hex() for text in texts]

    parts: list[str] = []
    rows: list[str] = []
    size = 0
    for item, smtp in recipients:
        row: dict[str, Any] = {"id": uuid.UUID(item.guid).hex, "keys": keys(smtp), "internal_only": item.inside}
        if item.thresholds:
            row["thresholds"] = item.thresholds
        if item.trusted is not None or item.blocked is not None:
            row["safe"], row["blocked"] = keys(senders(item.trusted)), keys(senders(item.blocked))
        text = to_json(row)
        if len(rows) == PART_RECIPIENTS or size + len(text) > PART_CHARACTERS:
            parts.append('{"recipients":[' + ",".join(rows) + "]}")
            rows, size = [], 0
        rows.append(text)
        size += len(text)
    parts.append('{"recipients":[' + ",".join(rows) + "]}")
    head: dict[str, Any] = {
        "version": 1,
        "parts": len(parts),
        "recipients": len(recipients),
        "domains": domains,
        "people": people,
        "key_name": site["name"],
    }
    sums = [hashlib.sha256(text.encode()).hexdigest() for text in (to_json(head), *parts)]
    head["digest"] = hashlib.sha256("".join(sums).encode()).hexdigest()
    head["age_seconds"] = 0
    begun = send("POST", "pushes", to_json(head).encode())
    if begun["unchanged"]:
        return f"unchanged, {len(recipients)} recipients"
    path = f"pushes/{begun['id']}"
    try:
        for number, part in enumerate(parts, 1):
            send("PUT", f"{path}/parts/{number}", part.encode())
        done = send("POST", f"{path}/commit", to_json({"accept_drop": accept_drop}).encode())
    except PushFailedError:
        with contextlib.suppress(PushFailedError):
            send("DELETE", path, None)
        raise
    return f"{done['addresses']} addresses in use, {done['added']} added, {done['dropped']} dropped"
