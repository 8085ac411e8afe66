"""Owns the octets of a question to DNS, and whether a datagram is an answer to it.  RFC 1035 section 4.1, RFC 6891, 6840 5.7.

The name is asked in random case, and only an answer that repeats it exactly is one (draft-vixie-dnsext-dns0x20 section 3).
Must not know where random bits come from, nor what an answer says.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from filterd.errors import PermanentError

PAYLOAD = 1232  # octets of UDP: what survives without fragments (DNS flag day 2020)
HEADER = 12
MAX_NAME = 255  # octets with lengths and root; RFC 1035 section 3.1
TYPES = {"A": 1, "AAAA": 28, "TXT": 16, "MX": 15, "PTR": 12, "CNAME": 5}

_MAX_LABEL = 63
_FLAGS = b"\x01\x20"  # RD; AD: tell us whether DNSSEC holds (RFC 6840 section 5.7)
_COUNTS = b"\0\1\0\0\0\0\0"  # one question, nothing else; the last octet is the number of additional records
_OPT = b"\0\0\x29" + PAYLOAD.to_bytes(2) + bytes(6)  # RFC 6891 section 6.1.2: root, OPT, payload, version 0, no options
_IN = b"\0\1"
# FORMERR, SERVFAIL, NOTIMP, REFUSED: a server that did not understand the question may not be able to repeat it.
_MAY_LACK_QUESTION = frozenset({1, 2, 4, 5})


class DnsMessageError(PermanentError):
    """The octets are no DNS message that may be believed."""


class Match(Enum):
    """What a datagram is to a question: its answer; its answer but for the case of letters; something else."""

    ANSWER = auto()
    OTHER_CASE = auto()
    STRANGER = auto()


class Query(NamedTuple):
    """A question in wire form.

    Attributes:
        wire: the message.
        name: the name in wire form, lower case.
        end: where the question section ends, in `wire` and in every answer.
    """

    wire: bytes
    name: bytes
    rdtype: int
    end: int


def encode_name(text: str) -> bytes | None:
    """The name in wire form, lower case; None when it cannot stand in DNS.  Nothing in it is an escape: it came from outside."""
    if not text.isascii() or not text:
        return None
    labels = text.lower().encode("ascii").split(b".")
    if not all(0 < len(label) <= _MAX_LABEL for label in labels):
        return None
    name = b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"
    return name if len(name) <= MAX_NAME else None


def build_query(name: bytes, rdtype: int, entropy: bytes, *, edns: bool = True, mixed_case: bool = True) -> Query:
    """The question for `name` (from encode_name).  `entropy`: at least 2 + len(name) random octets: the id, then the case."""
    asked = name
    if mixed_case:
        # A length octet is at most 63 and no letter: the difference of both cases is 0x20 in every letter, 0 elsewhere.
        letters = int.from_bytes(name) ^ int.from_bytes(name.upper())
        flips = letters & int.from_bytes(entropy[2 : 2 + len(name)])
        asked = (int.from_bytes(name) ^ flips).to_bytes(len(name))
    question = asked + rdtype.to_bytes(2) + _IN
    tail = b"\1" + _OPT if edns else b"\0"
    wire = entropy[:2] + _FLAGS + _COUNTS + tail[:1] + question + tail[1:]
    return Query(wire, name, rdtype, HEADER + len(question))


def match(query: Query, data: bytes) -> Match:
    """What `data` is to `query`: same id, a response to a standard query, the same single question."""
    if len(data) < HEADER or data[:2] != query.wire[:2] or data[2] & 0xF8 != 0x80:  # QR, and opcode 0
        return Match.STRANGER
    questions, end = data[4:6], query.end
    if questions == b"\0\0":
        bare = len(data) == HEADER and data[3] & 15 in _MAY_LACK_QUESTION
        return Match.ANSWER if bare else Match.STRANGER
    if questions != b"\0\1" or len(data) < end:
        return Match.STRANGER
    if data[HEADER:end] == query.wire[HEADER:end]:
        return Match.ANSWER
    # type and class are no letters: lower() can change 0x41..0x5A only, and our types and class have none of these
    same = data[HEADER:end].lower() == query.wire[HEADER:end].lower()
    return Match.OTHER_CASE if same else Match.STRANGER
