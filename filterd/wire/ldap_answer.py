"""Owns the reading of what an LDAP server answers: entries and references of a search, the end with its paging cookie.

RFC 4511 sections 4.1, 4.4, 4.5.2 and 5.1, RFC 2696.  A whole directory goes through here, so that it is short: a million entries
take half a minute.  Must not know what was asked, nor what an attribute means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from filterd.errors import FilterdError

MAX_MESSAGE = (
    16 * 1024 * 1024
)  # octets; the largest honest entry, a mailbox with 1,500 addresses and 5,500 senders, has 2 MB
MAX_NAMES = 4096  # different names of attributes that are remembered; one search asks for a dozen
PAGED = b"1.2.840.113556.1.4.319"  # RFC 2696
_SEQUENCE, _SET, _INTEGER, _ENUMERATED, _OCTETS = 0x30, 0x31, 0x02, 0x0A, 0x04
_ENTRY, _REFERENCE, _EXTENDED = 0x64, 0x73, 0x78  # application tags 4, 19, 24
_RESULTS = (0x61, 0x65, _EXTENDED)  # application tags 1, 5, 24: bind, search, extended operation
_REFERRAL, _CONTROLS = 0xA3, 0xA0
_MAX_URIS, _MAX_URI = 10, 2048  # of one reference; characters, of which a DN has some hundreds
_MAX_CODE = 4  # octets of a resultCode; people are told it as a number


class LdapAnswerError(FilterdError):
    """The octets are no answer of an LDAP server."""


class Entry(NamedTuple):
    """One object.

    Attributes:
        dn: its name as it came.
        attributes: name in lower case, options and all (`member;range=0-1499`) -> values.
    """

    dn: bytes
    attributes: dict[str, list[bytes]]


class Reference(NamedTuple):
    """More may be found elsewhere; nobody goes there."""

    uris: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """The DNs in the URIs (RFC 4516), each once; what is too long for a DN is left out."""
        paths = (uri.partition("://")[2].partition("/")[2].partition("?")[0] for uri in self.uris[:_MAX_URIS])
        return tuple(dict.fromkeys(unquote(path) for path in paths if path and len(path) <= _MAX_URI))


class Done(NamedTuple):
    """The end of one answer, to whatever was asked.

    Attributes:
        code: resultCode, RFC 4511 appendix A.
        matched: the part of the base that exists.
        text: for people.
        referrals: where the server says it is to be asked (code 10).
        cookie: of the page; empty after the last one.
    """

    code: int
    matched: str = ""
    text: str = ""
    referrals: tuple[str, ...] = ()
    cookie: bytes = b""


class Goodbye(NamedTuple):
    """The server ends the connection (notice of disconnection, RFC 4511 section 4.4.1)."""

    code: int
    text: str


Answer = Entry | Reference | Done | Goodbye


class AnswerReader:
    """Octets in, answers to one request out.  What belongs to another message id is passed over."""

    def __init__(self, message_id: int) -> None:
        self._wanted = message_id
        self._buffer = bytearray()
        self._needed = 0  # octets that the message at the front has, as far as that is known
        self._names: dict[bytes, str] = {}

    def feed(self, octets: bytes) -> Iterator[Answer]:
        """What these octets complete; take all of it before the next ones.  Raises LdapAnswerError."""
        self._buffer += octets
        if len(self._buffer) < self._needed:
            return
        data, at = bytes(self._buffer), 0
        while (size := _size(data, at)) and at + size <= len(data):
            found = self._message(data, at, at + size)
            at += size
            if found is not None:
                yield found
        self._needed = size
        self._buffer = bytearray(data[at:])

    def _message(self, data: bytes, start: int, end: int) -> Answer | None:
        try:
            _, start, end = _element(data, start, end, _SEQUENCE)
            _, first, last = _element(data, start, end, _INTEGER)
            number = int.from_bytes(data[first:last], "big")
            tag, at, stop = _element(data, last, end)
            if number == 0 and tag == _EXTENDED:
                code, _, text, _ = _result(data, at, stop)
                return Goodbye(code, text)
            if number != self._wanted:
                return None
            if tag == _ENTRY:
                return self._entry(data, at, stop)
            if tag == _REFERENCE:
                return Reference(tuple(_text(data[a:b]) for _, a, b in _elements(data, at, stop)))
            if tag in _RESULTS:
                return Done(*_result(data, at, stop), _cookie(data, stop, end))
        except IndexError:
            raise LdapAnswerError("a message from the directory ends too early") from None
        return None

    def _entry(self, data: bytes, at: int, end: int) -> Entry:
        _, start, stop = _element(data, at, end, _OCTETS)
        dn = data[start:stop]
        attributes: dict[str, list[bytes]] = {}
        _, at, end = _element(data, stop, end, _SEQUENCE)
        while at < end:
            _, inner, stop = _element(data, at, end, _SEQUENCE)
            _, start, after = _element(data, inner, stop, _OCTETS)
            octets = data[start:after]
            name = self._names.get(octets)
            if name is None:
                if len(self._names) >= MAX_NAMES:
                    self._names.clear()
                name = self._names[octets] = octets.decode("utf-8", "replace").lower()
            _, start, last = _element(data, after, stop, _SET)
            values = []
            while start < last:
                # Nearly all values are shorter than 128 octets: without a call for each.
                length = data[start + 1]
                if length < 0x80 and data[start] == _OCTETS and start + 2 + length <= last:
                    values.append(data[start + 2 : start + 2 + length])
                    start += 2 + length
                else:
                    _, first, start = _element(data, start, last, _OCTETS)
                    values.append(data[first:start])
            attributes.setdefault(name, []).extend(values)
            at = stop
        return Entry(dn, attributes)


def _size(data: bytes, at: int) -> int:
    """How many octets the message at this place has; 0 when that is not known yet.  Raises LdapAnswerError."""
    if len(data) - at < 2:
        return 0
    if data[at] != _SEQUENCE:
        raise LdapAnswerError("what the server says is not LDAP")
    length, follow = data[at + 1], 0
    if length >= 0x80:
        follow = length - 0x80
        if not 1 <= follow <= 4:  # RFC 4511 section 5.1: definite lengths only
            raise LdapAnswerError("what the server says is not LDAP: a length that cannot be")
        if len(data) - at < 2 + follow:
            return 0
        length = int.from_bytes(data[at + 2 : at + 2 + follow], "big")
    if length > MAX_MESSAGE:
        raise LdapAnswerError(
            f"a message from the directory has {length} octets; the most that is read is {MAX_MESSAGE}"
        )
    return 2 + follow + length


def _element(data: bytes, at: int, end: int, wanted: int = 0) -> tuple[int, int, int]:
    """Tag, begin and end of the contents of the element at this place.  Raises LdapAnswerError, IndexError."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length >= 0x80:
        start += length - 0x80
        if not 1 <= length - 0x80 <= 4:
            raise LdapAnswerError("a message from the directory has a length that cannot be")
        length = int.from_bytes(data[at + 2 : start], "big")
    if start + length > end or (wanted and tag != wanted):
        raise LdapAnswerError("a message from the directory is not formed as RFC 4511 has it")
    return tag, start, start + length


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    while at < end:
        tag, start, at = _element(data, at, end)
        yield tag, start, at


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _result(data: bytes, at: int, end: int) -> tuple[int, str, str, tuple[str, ...]]:
    """LDAPResult: code, matched name, text, referrals."""
    _, start, at = _element(data, at, end, _ENUMERATED)
    if at - start > _MAX_CODE:
        raise LdapAnswerError("a message from the directory has a result that cannot be")
    code = int.from_bytes(data[start:at], "big")
    _, start, at = _element(data, at, end, _OCTETS)
    matched = _text(data[start:at])
    _, start, at = _element(data, at, end, _OCTETS)
    text = _text(data[start:at].rstrip(b"\0"))  # Active Directory ends it as C does
    referrals: tuple[str, ...] = ()
    for tag, first, last in _elements(data, at, end):
        if tag == _REFERRAL:
            referrals = tuple(_text(data[a:b]) for _, a, b in _elements(data, first, last))
    return code, matched, text, referrals


def _cookie(data: bytes, at: int, end: int) -> bytes:
    """The paging cookie among the controls after an operation."""
    for tag, start, stop in _elements(data, at, end):
        if tag != _CONTROLS:
            continue
        for _, first, last in _elements(data, start, stop):
            parts = list(_elements(data, first, last))
            if parts and data[parts[0][1] : parts[0][2]] == PAGED and parts[-1][0] == _OCTETS and len(parts) > 1:
                _, inner, inner_end = _element(data, parts[-1][1], parts[-1][2], _SEQUENCE)
                _, _, after = _element(data, inner, inner_end, _INTEGER)
                _, begin, finish = _element(data, after, inner_end, _OCTETS)
                return data[begin:finish]
    return b""
