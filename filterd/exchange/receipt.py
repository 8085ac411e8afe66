"""Owns the reading of a delivery receipt: who got the message, or what kept it from him.  RFC 3464 2, RFC 6522 3.

What stands in it is a stranger's word: every value is one short line of printable ASCII.  Linear, never raises.
Must not know what was sent, nor what follows from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from filterd.content.mime import walk
from filterd.mail.message import Message
from filterd.mail.reply import printable

MAX_OCTETS = 65_536  # of a receipt with RET=HDRS; Exchange's have 3 to 10 KB
MAX_RECIPIENTS = 50  # the probe has one; a distribution group may answer for its members
MAX_VALUE = 300  # characters
_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})  # RFC 3464, RFC 6533
_NAME = re.compile(rb"([!-9;-~]{1,60})[ \t]{0,20}:")
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)")  # RFC 3463 2
_KIND = re.compile(r"[A-Za-z0-9-]{1,40} ?;")
_WORD = re.compile(r"\s*([a-z]{1,20})", re.IGNORECASE)


class Action(StrEnum):
    """What the server did (RFC 3464 2.3.3), in the order of what people must know first."""

    FAILED = "failed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the copy of one recipient.

    Attributes:
        recipient: whom the server names, without the type of the address; empty when nobody.
        status: enhanced status code, empty without a well-formed one.
        diagnostic: what the server was told or says, without its type; empty when nothing.
    """

    action: Action
    recipient: str = ""
    status: str = ""
    diagnostic: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt.

    Attributes:
        reporter: the server that wrote it, empty when it does not say.
        envelope: the ENVID of what was sent, empty when it does not say.
        fates: at least one.
    """

    reporter: str
    envelope: str
    fates: tuple[Fate, ...]

    @property
    def chief(self) -> Fate:
        """The one that people must know first."""
        return min(self.fates, key=lambda fate: list(Action).index(fate.action))


def read_receipt(octets: bytes) -> Receipt | None:
    """What a message says as a receipt; None when it is none.  What lies beyond MAX_OCTETS is not looked at."""
    message = Message(octets[:MAX_OCTETS])
    outer, *inner = walk(message).parts
    if outer.content_type != "multipart/report":
        return None
    # Only its own parts: what it quotes (RFC 6522 3, the third part) may be a receipt too, and is not this one.
    part = next((item for item in inner if item.depth == 1 and item.content_type in _TYPES), None)
    if part is None:
        return None
    groups = _groups(bytes(message.octets[part.begin : part.end]))
    fates = tuple(fate for fate in map(_fate, groups) if fate is not None)
    if not fates:
        return None
    about = groups[0]  # fields of the whole message; those of the recipients follow
    return Receipt(_typed(about.get("reporting-mta", "")), about.get("original-envelope-id", ""), fates)


def _fate(fields: dict[str, str]) -> Fate | None:
    word = _WORD.match(fields.get("action", ""))
    if word is None or word[1].lower() not in set(Action):
        return None
    status = _STATUS.match(fields.get("status", ""))
    who = _typed(fields.get("final-recipient", "") or fields.get("original-recipient", ""))
    said = _typed(fields.get("diagnostic-code", ""))
    return Fate(Action(word[1].lower()), who, status[1] if status else "", said)


def _typed(value: str) -> str:
    """The value behind its type (`rfc822;`, `dns;`, `smtp;`)."""
    return value[kind.end() :].strip() if (kind := _KIND.match(value)) else value


def _groups(section: bytes) -> list[dict[str, str]]:
    """Groups of fields with an empty line between; of two fields with one name in a group the first counts."""
    groups: list[dict[str, list[bytes]]] = [{}]
    lines: list[bytes] = []  # of the field that is being read
    for line in section.split(b"\n"):
        if not line.strip():
            lines = []
            if groups[-1]:
                if len(groups) > MAX_RECIPIENTS:
                    break
                groups.append({})
        elif line[:1] in b" \t":
            lines.append(line)
        elif match := _NAME.match(line):
            lines = [line[match.end() :]]
            groups[-1].setdefault(match[1].decode("ascii").lower(), lines)
        else:
            lines = []
    return [{name: _value(found) for name, found in group.items()} for group in groups if group]


def _value(lines: list[bytes]) -> str:
    # Blanks are joined only behind the cut, so some more octets than characters that are wanted.
    return printable(b" ".join(lines)[: 8 * MAX_VALUE].decode("ascii", "replace"), MAX_VALUE)
