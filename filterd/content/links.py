"""Owns the links of a message: where they lead, where they stand, what the text on them names.

From text, link text, attributes, and addresses inside addresses (redirects, and what gateways made of them).  Linear, bounded,
never raises.  Must not know what is suspicious about a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar
from urllib.parse import unquote_to_bytes

from filterd.content.host import Address, read_address
from filterd.content.suffixes import is_top_level
from filterd.content.view import ContentView, TextPart, view_of
from filterd.mail.message import Message

MAX_LINKS = 200  # of a message
MAX_EXAMINED = 500  # addresses of a message that are read, each text part has its share: up to 50 µs each
_LONG_OCTETS = 65_536  # of a message from which on reading it takes long enough for others to notice
_LONG_TARGETS = 50  # … and targets: 0.1 ms each where they have addresses inside
_MAX_INNER = 5  # addresses inside one address
_MAX_DECODED = 3  # how often the percent signs of an address are undone to find others in it
_MAX_SHOWN = 100  # characters of link text kept
_KEY = "links"

_T = TypeVar("_T")
Where = Literal["text", "bare", "anchor", "attribute", "redirect"]

_INNER = re.compile(rb"https?:[/\\]{1,3}(?=[^/\\\s])|(?<==)(?://|www\.)(?=[a-z0-9])")
_PROOFPOINT = frozenset({"urldefense.proofpoint.com", "urldefense.com", "urldefense.us"})
_ENCODED = re.compile(rb"%(?:25){0,3}(?:2f|3a|5c)")  # what may begin another address once it is decoded
_SCHEMES = (b"http", b"https", b"ftp")
_ADDRESS = re.compile(rb"[^\s<>\"'\x00-\x20|]{1,2000}")
# A dot before what may be a top-level domain: the beginning is looked for from here, so that words cost nothing.
_ENDING = re.compile(rb"\.([a-z]{2,18}|xn--[a-z0-9-]{2,59}|(?:[\xc3-\xf4][\x80-\xbf]{1,3}){2,20})(?![a-z0-9-])")
_NAME_OCTETS = b"abcdefghijklmnopqrstuvwxyz0123456789-." + bytes(range(0x80, 0x100))
_MAX_RUN = 260
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_NO_BLANKS = re.compile("^[\u0e00-\u0e7f\u3040-\u9fff\uac00-\ud7a3]+(?=[a-z0-9])")  # scripts written without blanks
# Top-level domains that are endings of file names too: such a name is an address only behind www. or before a path.
_FILES = frozenset(
    b"ai app as bz cab cc cfg dev do in is it java lib mk ml mm mov name pl ps py rs sh so st tf vi zip md".split()
)
_NOT_BEFORE = b"@/\\_%=&#?~+"  # a mail address, a path, a parameter


@dataclass(frozen=True, slots=True)
class Link:
    """One link.

    Attributes:
        host: lower-case A-labels, or an IP address.
        domain: organizational domain; empty for an IP address.
        scheme: empty where none was written.
        where: text (with a scheme), bare (a name alone, in text), anchor (href), attribute (pictures, forms …), redirect
            (inside another address).
        shown: what people see on it, at most 100 characters.
        named: organizational domain of the address that `shown` is or begins with; empty without one.
        onward: organizational domains of the addresses inside it.
        userinfo: something stands before an "@" in front of the host.
    """

    host: str
    domain: str
    scheme: str
    where: Where
    shown: str = ""
    named: str = ""
    onward: tuple[str, ...] = ()
    userinfo: bool = False


def links_in(message: Message) -> tuple[Link, ...]:
    """The links of that message; found at the first call and kept with it."""
    known = message.shared.get(_KEY)
    if isinstance(known, tuple):
        return known
    links = links_of(view_of(message))
    message.shared[_KEY] = links
    return links


def takes_long(message: Message) -> bool:
    """Whether finding the links may take milliseconds, which others shall not wait for."""
    if len(message) > _LONG_OCTETS:
        return True
    return _KEY not in message.shared and sum(len(part.targets) for part in view_of(message).texts) > _LONG_TARGETS


def links_of(view: ContentView) -> tuple[Link, ...]:
    """At most MAX_LINKS different links in order; with more, those to hosts that have none yet come first."""
    found: dict[Link, None] = {}
    most = MAX_EXAMINED // max(2, len(view.texts))
    for part in view.texts:
        for link in _links_of_part(part, most):
            found[link] = None
    if len(found) <= MAX_LINKS:
        return tuple(found)
    first: dict[tuple[str, str], Link] = {}
    for link in found:
        first.setdefault((link.host, link.named), link)
    chosen = tuple(_some(tuple(first.values()), MAX_LINKS))
    return tuple(dict.fromkeys([*chosen, *found]))[:MAX_LINKS]


def named_in(text: bytes) -> str:
    """Organizational domain of the address that a link's text is or begins with; empty when it names none."""
    shown = text.strip()
    if b"." not in shown:
        return ""
    first = shown.split(None, 1)[0].lstrip(b"<([\"'")
    if first.startswith((b"http://", b"https://", b"www.")):
        address = read_address(first, running_text=True)
        return address.host.domain if address else ""
    if b" " in shown or b"@" in shown:
        return ""
    return next((address.host.domain for address in _bare(shown, ())), "")


def _links_of_part(part: TextPart, most: int) -> Iterator[Link]:
    """`most`: addresses of each kind that are read; of what is no link to press on fewer."""
    anchored: set[bytes] = set()
    for anchor in _some(part.anchors, most):
        anchored.add(anchor.target)
        address = read_address(anchor.target)
        if address is not None:
            shown = anchor.text.decode("utf-8", "replace")
            yield from _with_inner(address, "anchor", " ".join(shown.split())[:_MAX_SHOWN], named_in(anchor.text))
    others = [target for target in dict.fromkeys(part.targets) if target not in anchored]
    for target in _some(others, most // 4):
        address = read_address(target)
        if address is not None:
            yield from _with_inner(address, "attribute")
    for text in (part.text, part.tail):
        spans = list(_written_out(text))
        for begin, end in _some(spans, most // 2):
            address = read_address(text[begin:end], running_text=True)
            if address is not None:
                yield from _with_inner(address, "text")
        for address in islice(_bare(text, spans), most // 4):
            yield from _with_inner(address, "bare")


def _some(items: Sequence[_T], most: int) -> Iterable[_T]:
    """The first and the last: padding in front of a link must not hide it."""
    return items if len(items) <= most else (*items[: most - most // 3], *items[-(most // 3) :])


def _with_inner(address: Address, where: Where, shown: str = "", named: str = "") -> Iterator[Link]:
    inner = list(_inside(address))
    host = address.host
    onward = tuple(dict.fromkeys(item.host.domain for item in inner if item.host.domain))
    yield Link(host.name, host.domain, address.scheme, where, shown, named, onward, address.userinfo)
    for item in inner:
        yield Link(item.host.name, item.host.domain, item.scheme, "redirect", userinfo=item.userinfo)


def _inside(address: Address) -> Iterator[Address]:
    """The addresses in path, query and fragment, whoever redirects there: percent signs undone up to three times."""
    rest = address.rest
    if len(rest) < 8:
        return
    if address.host.name in _PROOFPOINT and rest.startswith(b"/v2/"):
        rest = rest.replace(b"-", b"%").replace(b"_", b"/")  # the encoding of Proofpoint's second version
    seen: set[str] = set()
    for _ in range(_MAX_DECODED + 1):
        for match in _INNER.finditer(rest):
            found = rest[match.start() :]
            inner = read_address(found.partition(b"&")[0], running_text=True)  # "__;!!…", ",1", ")" follow
            if inner is not None and inner.host.name not in seen:
                seen.add(inner.host.name)
                yield inner
            if len(seen) >= _MAX_INNER:
                return
        if _ENCODED.search(rest) is None:
            return
        rest = unquote_to_bytes(rest).lower()


def _written_out(text: bytes) -> Iterator[tuple[int, int]]:
    """Where addresses with a scheme stand.  "hxxp" was written so that it is no link."""
    position = text.find(b"://")
    while position >= 0:
        match = _ADDRESS.match(text, position + 3)
        end = match.end() if match else position + 3
        scheme = next((name for name in _SCHEMES if text.startswith(name, max(0, position - len(name)))), None)
        if match and scheme is not None:
            yield position - len(scheme), end
        position = text.find(b"://", end)


def _bare(text: bytes, spans: Sequence[tuple[int, int]]) -> Iterator[Address]:
    """Names without a scheme that mail programs make links of, outside of `spans`; no mail addresses, no file names."""
    taken = iter([*spans, (len(text), len(text) + _MAX_RUN)])
    begin, end = next(taken)
    done = 0
    for match in _ENDING.finditer(text):
        dot = match.start()
        while end <= dot:
            begin, end = next(taken)
        if dot < done or begin <= dot or not is_top_level(match[1].decode("utf-8", "replace")):
            continue
        before = text[max(0, dot - _MAX_RUN) : dot]
        start = dot - (len(before) - len(before.rstrip(_NAME_OCTETS)))
        after = text[match.end() : match.end() + _MAX_RUN]
        done = match.end() + len(after) - len(after.lstrip(_NAME_OCTETS))
        follows = text[done : done + 1]
        if (start and text[start - 1] in _NOT_BEFORE) or follows in (b"@", b"(", b"_"):
            continue
        name = _name_in(text[start:done])
        if name.rpartition(b".")[2] in _FILES and not name.startswith(b"www.") and follows != b"/":
            continue
        path = _ADDRESS.match(text, done) if follows == b"/" else None
        address = read_address(b"//" + name + (path[0] if path else b""))
        if address is not None and is_top_level(address.host.name.rpartition(".")[2]):
            yield address


def _name_in(run: bytes) -> bytes:
    """The name in octets that may belong to one: without quotation marks, and without words that no blank separates."""
    if run.isascii():
        return run.strip(b".-")
    names = _NAME.findall(run.decode("utf-8", "replace"))
    return _NO_BLANKS.sub("", names[-1]).encode() if names else b""
