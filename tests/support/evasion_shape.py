"""Owns the tricks with parts, header fields and innocent text that people do see.  Like tests/support/evasion.py."""

from __future__ import annotations

import base64
import html
import re

from filterd.mail.message import Message
from tests.support.evasion import Change, field_of, is_html, rewritten, split, text_of, texts, with_field
from tests.support.evasion_pages import as_page, placed


def visible(filler: str, *, first: bool) -> Change:
    """Innocent text that people see, before or behind the text of every text part."""

    def change(text: str, page: bool) -> str:
        if page:
            return text
        return f"{filler}\r\n{text}" if first else f"{text}\r\n{filler}"

    block = "<p>" + html.escape(filler).replace("\n", "<br>\n") + "</p>"

    def apply(octets: bytes) -> bytes:
        if any(is_html(part) for part in texts(Message(octets))):
            octets = placed(block, first=first)(octets)
        return rewritten(octets, change)

    return apply


def around(filler: str) -> Change:
    """Half of it before, half behind."""
    half = len(filler) // 2
    before, after = visible(filler[:half], first=True), visible(filler[half:], first=False)
    return lambda octets: after(before(octets))


def _message(own: bytes, kind: str, parts: list[bytes], boundary: str = "=_b0undary") -> bytes:
    delimiter = f"--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + part.removesuffix(b"\r\n") + b"\r\n" for part in parts)
    if b"\nmime-version:" not in own.lower():
        own += b"MIME-Version: 1.0\r\n"
    return own + f'Content-Type: {kind}; boundary="{boundary}"\r\n\r\n'.encode() + body + delimiter + b"--\r\n"


def _whole(octets: bytes) -> tuple[bytes, bytes]:
    """(fields of the message itself, all the rest as one part)."""
    own, content, body = split(octets)
    return own, content + b"\r\n" + body


def text_part(text: str, kind: str = "text/plain", extra: str = "") -> bytes:
    """A part of that text."""
    head = f"Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n{extra}\r\n"
    return head.encode() + text.replace("\r\n", "\n").replace("\n", "\r\n").encode() + b"\r\n"


def beside(parts: list[bytes], kind: str = "multipart/mixed", *, first: bool = True) -> Change:
    """Parts before or behind what the message says."""

    def change(octets: bytes) -> bytes:
        own, part = _whole(octets)
        return _message(own, kind, [*parts, part] if first else [part, *parts])

    return change


def nested(levels: int, filler: str = "") -> Change:
    """The message inside so many multiparts, each with an innocent part before it when there is filler."""

    def change(octets: bytes) -> bytes:
        own, part = _whole(octets)
        for level in range(levels):
            inner = [text_part(filler), part] if filler else [part]
            part = _message(b"", "multipart/mixed", inner, f"=_level{level}x").removeprefix(b"MIME-Version: 1.0\r\n")
        return own + b"MIME-Version: 1.0\r\n" + part

    return change


def forwarded(filler: str) -> Change:
    """As an attached message, with innocent text before it."""

    def change(octets: bytes) -> bytes:
        own, _ = _whole(octets)
        return _message(own, "multipart/mixed", [text_part(filler), b"Content-Type: message/rfc822\r\n\r\n" + octets])

    return change


def alternative(filler: str) -> Change:
    """What people are shown, HTML, is the spam; the plain alternative says something else."""

    def change(octets: bytes) -> bytes:
        return beside([text_part(filler)], "multipart/alternative")(as_page(octets))

    return change


def alternative_of_same(octets: bytes) -> bytes:
    """An innocent change: a plain message gets its own text as HTML beside it, a page its text as plain."""
    message = Message(octets)
    found = texts(message)
    if len(found) != 1 or len([p for p in message.all("content-type") if "multipart" in p.value.lower()]):
        return octets
    text = text_of(message, found[0])
    own, part = _whole(octets)
    if is_html(found[0]):
        plain = html.unescape(
            re.sub(r"<(style|script|title).*?</\1\s*>|<!--.*?-->|<[^>]*>", " ", text, flags=re.S | re.I)
        )
        return _message(own, "multipart/alternative", [text_part(plain), part])
    page = "<html><body><p>" + html.escape(text).replace("\n", "<br>\n") + "</p></body></html>"
    return _message(own, "multipart/alternative", [part, text_part(page, "text/html")])


def other_boundary(octets: bytes) -> bytes:
    """An innocent change: another boundary."""
    boundary = re.search(rb'(?i)boundary\s*=\s*"?([^"\s;]{5,70})', octets[: Message(octets).body_start])
    return octets.replace(boundary[1], b"00000000000075f6b205e1c9aa3b") if boundary else octets


def boundary_prefix(filler: str) -> Change:
    """Delimiters that begin like the real one stand in an innocent part."""
    lines = "".join(f"--=_b0undary{number}\n" for number in range(150))
    return beside([text_part(filler + "\n" + lines)])


def fields(added: bytes, *, first: bool = True) -> Change:
    """Header fields more."""

    def change(octets: bytes) -> bytes:
        if first:
            return added + octets
        at = Message(octets).body_start
        return octets[: at - 2] + added + octets[at - 2 :]

    return change


def long_subject(filler: str) -> Change:
    """Innocent words in the subject; what mail programs show of it comes first."""

    def change(octets: bytes) -> bytes:
        begin = Message(octets).body_start
        subject = field_of(octets[:begin], "Subject")
        words = " ".join(filler.split())
        folded = "\r\n ".join(words[at : at + 70] for at in range(0, len(words), 70))
        return with_field(octets[:begin], "Subject", f"{subject} {folded}") + octets[begin:]

    return change


def links_first(octets: bytes) -> bytes:
    """Twelve links to sites that everybody knows before the message's own, on one letter each."""
    hosts = ["en.wikipedia.org/wiki", "www.python.org/doc", "kernel.org/pub", "github.com/torvalds", "lists.ozlabs.org/listinfo",
             "lore.kernel.org/r", "www.w3.org/TR", "tools.ietf.org/html", "www.debian.org/security", "gcc.gnu.org/bugs",
             "bugzilla.redhat.com/show", "www.openssl.org/news"]  # fmt: skip
    block = "".join(f'<a href="https://{host}/{number}">.</a>' for number, host in enumerate(hosts))
    return placed(block, first=True)(octets)


PADDING = base64.encodebytes(bytes(range(256)) * 1800).replace(b"\n", b"\r\n")
_PICTURE = b"Content-Type: image/png; name=logo.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
_EMPTY = b"Content-Type: image/png\r\n\r\n\r\n"


def shapes(filler: str) -> dict[str, Change]:
    """Tricks with parts; `filler` is about 2 KB of innocent text."""
    return {
        "innocent first part": beside([text_part(filler)]),
        "innocent first part, HTML": beside([text_part(f"<p>{html.escape(filler)}</p>", "text/html")]),
        "innocent first part of 100 KB": beside([text_part(filler * 50)]),
        "seven innocent first parts": beside([text_part(filler)] * 7),
        "ten tiny first parts": beside([text_part("Hello")] * 10),
        "innocent second part": beside([text_part(filler)], first=False),
        "innocent plain alternative": alternative(filler),
        "attached message": forwarded(filler),
        "7 levels": nested(7),
        "8 levels": nested(8),
        "20 levels": nested(20),
        "20 levels, innocent text in each": nested(20, filler[:300]),
        "boundary that begins like another": boundary_prefix(filler),
        "part header of 70 KB": _long_part_header,
        "250 empty parts first": beside([_EMPTY] * 250),
        "600 KB attachment first": beside([_PICTURE + PADDING]),
        "text sent as a file": _as_file,
        "text inline with a name": _named,
        "no boundary parameter": _without_boundary,
    }


def _long_part_header(octets: bytes) -> bytes:
    own, part = _whole(octets)
    return _message(
        own, "multipart/mixed", [b"X-Long: " + b"a" * 990 + b"\r\n" + b"X-Long: " + b"b" * 70_000 + b"\r\n" + part]
    )


def _with_disposition(octets: bytes, value: bytes) -> bytes:
    own, part = _whole(octets)
    return _message(own, "multipart/mixed", [b"Content-Disposition: " + value + b"\r\n" + part])


def _as_file(octets: bytes) -> bytes:
    return _with_disposition(octets, b"attachment")


def _named(octets: bytes) -> bytes:
    return _with_disposition(octets, b'inline; filename="a.txt"')


def _without_boundary(octets: bytes) -> bytes:
    own, part = _whole(octets)
    out = _message(own, "multipart/mixed", [part])
    return out.replace(b'; boundary="=_b0undary"', b"", 1)


def heads(filler: str) -> dict[str, Change]:
    """Tricks with header fields."""
    words = filler.split()
    plenty = b"".join(
        f"X-{words[n % len(words)].strip('.,:;!?()').title() or 'A'}-{n}: {' '.join(words[n : n + 6])}\r\n".encode(
            "ascii", "ignore"
        )
        for n in range(100)
    )
    lists = (
        b"List-Id: Discussion <dev.lists.example.org>\r\nList-Unsubscribe: <https://lists.example.org/dev>,\r\n"
        b" <mailto:dev-request@lists.example.org?subject=unsubscribe>\r\nPrecedence: list\r\n"
        b"User-Agent: Mutt/1.9.4 (2018-02-28)\r\nIn-Reply-To: <20190412081533.GA2387@desk.example.org>\r\n"
    )
    identifiers = (
        b"References:" + b"".join(b"\r\n <20190412081533.GA%d@desk.example.org>" % n for n in range(120)) + b"\r\n"
    )
    return {
        "100 innocent fields first": fields(plenty),
        "100 innocent fields last": fields(plenty, first=False),
        "fields of a mailing list": fields(lists, first=False),
        "subject of 3 KB": long_subject(filler),
        "120 references": fields(identifiers, first=False),
        "twelve links first": links_first,
    }


INNOCENT_SHAPES: dict[str, Change] = {
    "other boundary": other_boundary,
    "its own text as alternative": alternative_of_same,
    "inside a multipart": beside([]),
}
