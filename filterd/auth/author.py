"""Owns the author domains of a message: the domains in From.  RFC 5322 3.4, RFC 6854 (groups), RFC 9989 5.3.1 and 11.5.

A tolerant, linear reader.  Where mail programs may differ about what the domain is, every candidate is given, so that the
caller sees more than one author domain.  Must not know what an author domain is compared with.
"""

from __future__ import annotations

from filterd.auth.names import MAX_DOMAIN, ascii_domain, is_address
from filterd.mail.message import Message

MAX_FROM = 32_768  # octets of one From field; a longer one has no author that anybody could read
MAX_CANDIDATES = 50  # of one field that are looked at, be they domains or not: letters outside ASCII cost CPU
MAX_DOMAINS = 20  # different domains; one is enough for DMARC and two are too many
_BLANKS = " \t\r\n"


def author_domains(message: Message) -> list[str]:
    """The different domains of all From fields, in order, lower-case A-labels; empty when there is none."""
    found: dict[str, None] = {}
    for header in message.all("from")[:MAX_DOMAINS]:
        if len(header.raw) > MAX_FROM:
            continue
        for domain in domains_in(header.body.decode("utf-8", "replace")):
            found[domain] = None
            if len(found) >= MAX_DOMAINS:
                return list(found)
    return list(found)


def domains_in(text: str) -> list[str]:
    """The domains of the addresses in one field body, in order, perhaps repeated; linear in its length.

    Only the first MAX_CANDIDATES different ones that may be a domain are looked at.
    """
    found: list[str] = []
    bare: list[str] = []  # the mailbox that is being read, outside of angle brackets
    angles: list[str] = []  # what stood in its angle brackets
    inside: list[str] | None = None  # the angle brackets that are being read
    address_begun = False  # an "@" stands in `bare`
    position, end = 0, len(text)
    quotes_close = comments_close = True  # once one is found to be open-ended, its opener is an ordinary character
    while position < end:
        char = text[position]
        if char == '"' and quotes_close:
            after = _after_quoted(text, position)
            quotes_close = after > 0
            if after:
                (bare if inside is None else inside).append("\0")  # something that is no domain
                position = after
                continue
        elif char == "(" and comments_close:
            after = _after_comment(text, position)
            comments_close = after > 0
            if after:
                (bare if inside is None else inside).append(" ")
                position = after
                continue
        if inside is not None:
            if char == ">":
                angles.append("".join(inside))
                inside = None
            else:
                inside.append(char)
        elif char == "<":
            inside = []
        elif char in ",;":
            _collect(bare, angles, found)
            address_begun = False
        elif char == ":":
            if not address_begun:  # the name of a group ends; else it is a stray colon in an address
                bare.clear()
            else:
                bare.append(" ")
        else:
            address_begun = address_begun or char == "@"
            bare.append(char)
        position += 1
    if inside is not None:
        angles.append("".join(inside))
    _collect(bare, angles, found)
    domains = [_domain(candidate) for candidate in list(dict.fromkeys(found))[:MAX_CANDIDATES]]
    return [domain for domain in domains if domain is not None]


def _collect(bare: list[str], angles: list[str], found: list[str]) -> None:
    """One mailbox ends: its angle address counts; without one, what stands there itself."""
    for address in angles or ["".join(bare)]:
        found.extend(_candidates(address))
    bare.clear()
    angles.clear()


def _candidates(address: str) -> list[str]:
    """What may begin with the domain of one addr-spec: one, or for several "@" what may be taken for it."""
    if "@" not in address:
        return []
    if address.lstrip(_BLANKS).startswith("@") and ":" in address:
        address = address.rpartition(":")[2]  # a source route (RFC 5322 4.4)
    pieces = address.split("@")[1:]
    return pieces[:3] + pieces[3:][-1:]


def _domain(text: str) -> str | None:
    """The domain at the beginning of `text`, blanks around its dots taken out (RFC 5322 4.4); None when there is none."""
    words = text[: 4 * MAX_DOMAIN].split()
    name = words[0] if words else ""
    for word in words[1:]:
        if not name.endswith(".") and not word.startswith("."):
            break
        name += word
    domain = ascii_domain(name.strip("\0'\"`>"))
    return None if domain is None or is_address(domain) else domain


def _after_quoted(text: str, position: int) -> int:
    """The offset after the quoted string that begins at `position`; 0 when it does not end."""
    position += 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == '"':
            return position + 1
        position += 1
    return 0


def _after_comment(text: str, position: int) -> int:
    """The offset after the comment that begins at `position`, comments in it included; 0 when it does not end."""
    depth = 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    return 0
