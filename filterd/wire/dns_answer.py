"""Owns the reading of an answer from DNS: the records at the end of the CNAME chain, or for how long there are none.

RFC 1035 sections 3 and 4.1, RFC 2181 section 5, RFC 2308 sections 2 and 5, RFC 6604.  Only records on the chain from the
question's name are taken, whatever else a server adds.  Must not know who asked, nor whether the answer is the server's.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

from filterd.wire.dns_query import HEADER, MAX_NAME, DnsMessageError, Query

MAX_MESSAGE = 32_768  # octets, over TCP; the largest honest sets (TXT of a big domain) have a third of it
MAX_TEXT = MAX_MESSAGE  # characters of all records; compressed names could make 500 KB of a message
MAX_RECORDS = 512  # in a section; above it the answer is not read
MAX_ALIASES = 16  # CNAMEs of one answer
NO_LIMIT = 2**31 - 1  # the largest TTL, RFC 2181 section 8

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}
_A, _NS, _CNAME, _SOA, _PTR, _MX, _TXT, _AAAA, _OPT = 1, 2, 5, 6, 12, 15, 16, 28, 41
_TC, _AD = 0x0200, 0x0020
_MAX_POINTERS = 127  # of one name: as many as it may have labels
_COUNTS = struct.Struct("!xxHxxHHH")  # flags, then the counts of the answer, authority and additional sections
_RECORD = struct.Struct("!HHIH")
_SOA_NUMBERS = 20
# As zone files write it (RFC 1035 section 5.1), so that a dot inside a label is not taken for one between two.
_SPECIAL = re.compile(rb'[\x00-\x20"().;\\@$\x7f-\xff]')


class Answer(NamedTuple):
    """What one message says.

    Attributes:
        rcode: with the upper bits of EDNS.
        truncated: there is more; nothing else is filled in.
        authentic: the AD bit.
        records: in the form of ports.DnsAnswer.
        ttl: the smallest of records and CNAMEs; NO_LIMIT when there are none.
        end: where the chain of CNAMEs ends (wire form, lower case).
        aliases: how many CNAMEs led there.
        endless: the chain is a loop, or longer than MAX_ALIASES.
        negative_ttl: how long the absence may be remembered (RFC 2308 section 5); None without an SOA of that name's zone.
        referral: no answer, but a pointer to other servers (RFC 2308 section 2.2).
    """

    rcode: int
    truncated: bool = False
    authentic: bool = False
    records: tuple[str, ...] = ()
    ttl: int = NO_LIMIT
    end: bytes = b"\0"
    aliases: int = 0
    endless: bool = False
    negative_ttl: int | None = None
    referral: bool = False


class _Names:
    """Reads names.  A pointer leads strictly backwards from where its name began; each name is a bounded amount of work."""

    def __init__(self, data: bytes, question: bytes) -> None:
        self._data = data
        self._known = {HEADER: question}

    def read(self, at: int) -> tuple[bytes, int]:
        """The name that begins at `at`, without compression, and where what follows begins."""
        data, start, lowest, end, pointers = self._data, at, at, -1, 0
        labels: list[bytes] = []
        size = 0
        while True:
            length = data[at]
            if length == 0:
                rest, at = b"\0", at + 1
                break
            if length < 0x40:
                labels.append(data[at : at + length + 1])
                at += length + 1
                size += length + 1
                if size >= MAX_NAME:
                    raise DnsMessageError(f"a name is longer than {MAX_NAME} octets")
                continue
            if length < 0xC0:
                raise DnsMessageError("a label has an unknown type")
            target = (length & 0x3F) << 8 | data[at + 1]
            if end < 0:
                end = at + 2
            pointers += 1
            if target >= lowest or pointers > _MAX_POINTERS:
                raise DnsMessageError("a name does not point backwards, or too often")
            known = self._known.get(target)
            if known is not None:
                rest = known
                break
            lowest = at = target
        name = b"".join(labels) + rest
        if len(name) > MAX_NAME:
            raise DnsMessageError(f"a name is longer than {MAX_NAME} octets")
        self._known[start] = name
        return name, end if end >= 0 else at


def read_answer(query: Query, data: bytes) -> Answer:
    """What `data` says, of which dns_query.match has said that it answers `query`.  Raises DnsMessageError.

    Sections behind a positive answer are not looked at: nothing is taken from them.
    """
    try:
        return _read(query, data)
    except (struct.error, IndexError):
        raise DnsMessageError("the message ends early") from None


def _read(query: Query, data: bytes) -> Answer:
    if len(data) > MAX_MESSAGE:
        raise DnsMessageError(f"the message is longer than {MAX_MESSAGE} octets")
    flags, answers, authorities, additionals = _COUNTS.unpack_from(data)
    rcode, authentic = flags & 15, bool(flags & _AD)
    if flags & _TC:
        return Answer(rcode, truncated=True)
    if rcode not in (NOERROR, NXDOMAIN):
        return Answer(rcode)
    if max(answers, authorities, additionals) > MAX_RECORDS:
        raise DnsMessageError(f"the message has more than {MAX_RECORDS} records")
    names = _Names(data, query.name)
    wanted: dict[bytes, list[tuple[int, int, int]]] = {}
    aliases: dict[bytes, tuple[int, bytes]] = {}
    at = query.end
    for _ in range(answers):
        owner, at = names.read(at)
        rdtype, rdclass, ttl, length = _RECORD.unpack_from(data, at)
        at += 10 + length
        if rdclass != 1:
            continue
        if rdtype == query.rdtype:
            wanted.setdefault(owner.lower(), []).append((_ttl(ttl), at - length, at))
        elif rdtype == _CNAME:
            target, behind = names.read(at - length)
            if behind != at:
                raise DnsMessageError("a CNAME does not fill its record")
            # RFC 1034 section 3.6.2: a name has one CNAME; of several, the first counts
            aliases.setdefault(owner.lower(), (_ttl(ttl), target.lower()))
    if at > len(data):
        raise DnsMessageError("the message ends early")
    name, least, steps = query.name, NO_LIMIT, 0
    while name not in wanted and name in aliases:
        if steps == MAX_ALIASES:
            return Answer(rcode, authentic=authentic, aliases=steps, endless=True)
        ttl, name = aliases[name]
        least, steps = min(least, ttl), steps + 1
    found = wanted.get(name)
    if found is None:
        return _nothing(
            Answer(rcode, False, authentic, (), least, name, steps), names, data, at, authorities, additionals
        )
    if rcode != NOERROR:
        raise DnsMessageError("there are records of a name that is said not to exist")
    least = min(least, min([ttl for ttl, _, _ in found]))
    return Answer(rcode, False, authentic, _values(query.rdtype, found, names, data), least, name, steps)


def _nothing(answer: Answer, names: _Names, data: bytes, at: int, authorities: int, additionals: int) -> Answer:
    """Read on behind an answer section without records: is that final, and for how long; what does EDNS say?"""
    negative_ttl, referral, extended = None, False, 0
    for number in range(authorities + additionals):
        owner, at = names.read(at)
        rdtype, rdclass, ttl, length = _RECORD.unpack_from(data, at)
        at += 10 + length
        if number >= authorities:
            if rdtype == _OPT:
                extended = ttl >> 24  # RFC 6891 section 6.1.3
        elif rdtype == _SOA and rdclass == 1 and _is_below(answer.end, owner.lower()):
            _, behind = names.read(at - length)
            _, behind = names.read(behind)
            if behind + _SOA_NUMBERS != at or at > len(data):
                raise DnsMessageError("an SOA does not fill its record")
            negative_ttl = min(_ttl(ttl), _ttl(int.from_bytes(data[at - 4 : at])))
        elif rdtype == _NS:
            referral = True
    if at > len(data):
        raise DnsMessageError("the message ends early")
    referral = referral and negative_ttl is None and not answer.aliases and answer.rcode == NOERROR
    return answer._replace(rcode=answer.rcode | extended << 4, negative_ttl=negative_ttl, referral=referral)


def _ttl(ttl: int) -> int:
    return ttl if ttl <= NO_LIMIT else 0  # RFC 2181 section 8


def _is_below(name: bytes, zone: bytes) -> bool:
    """Whether `name` is `zone` or lies in it; both in wire form, lower case."""
    at = len(name) - len(zone)
    if not name.endswith(zone):
        return False
    start = 0
    while start < at:  # the end may look like the zone and begin in the middle of a label
        start += name[start] + 1
    return start == at


# ---------------------------------------------------------------- values


def _values(rdtype: int, found: list[tuple[int, int, int]], names: _Names, data: bytes) -> tuple[str, ...]:
    """The records as text, each once (RFC 2181 section 5.0)."""
    once: dict[bytes | str, str] = {}
    size = 0
    for _, start, end in found:
        rdata = data[start:end]
        if rdtype == _A:
            if len(rdata) != 4:
                raise DnsMessageError("an A record has not 4 octets")
            text = ".".join(map(str, rdata))
        elif rdtype == _TXT:
            text = _strings(rdata)
        elif rdtype == _AAAA:
            if len(rdata) != 16:
                raise DnsMessageError("an AAAA record has not 16 octets")
            text = str(ipaddress.IPv6Address(rdata))
        else:
            at = start + 2 if rdtype == _MX else start
            name, behind = names.read(at)
            if behind != end:
                raise DnsMessageError("a name does not fill its record")
            text = name_text(name)
            if rdtype == _MX:
                text = f"{rdata[0] << 8 | rdata[1]} {text}"
        size += len(text)
        if size > MAX_TEXT:
            raise DnsMessageError(f"the records are more than {MAX_TEXT} characters")
        # two TXT records that differ in how they are split are two (a second SPF record is an error)
        once.setdefault(rdata if rdtype == _TXT else text, text)
    return tuple(once.values())


def _strings(rdata: bytes) -> str:
    pieces, at, size = [], 0, len(rdata)
    while at < size:
        behind = at + 1 + rdata[at]
        pieces.append(rdata[at + 1 : behind])
        at = behind
    if at != size or not size:
        raise DnsMessageError("a TXT record is not made of strings")
    return b"".join(pieces).decode("latin-1")


def name_text(name: bytes) -> str:
    """A name in wire form as text in lower case, without final dot; "." for the root.

    Lower case, because compression points into the question, whose letters have the random case that we gave them.
    """
    labels, at = [], 0
    name = name.lower()
    while (length := name[at]) != 0:
        label = name[at + 1 : at + 1 + length]
        labels.append(_SPECIAL.sub(_escaped, label) if _SPECIAL.search(label) else label)
        at += length + 1
    return b".".join(labels).decode("ascii") or "."


def _escaped(match: re.Match[bytes]) -> bytes:
    octet = match[0]
    return b"\\" + octet if 0x20 < octet[0] < 0x7F else b"\\%03d" % octet[0]
