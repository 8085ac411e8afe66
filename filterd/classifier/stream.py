"""Owns the decoded stream: the one view of a message that the model learns from and scores.

Five sections in this order: header, connection, structure, url, text; ASCII lower-cased; the first LIMIT octets count.
Measured (benchmarks/accuracy.md): this view with byte 5-grams beats words, raw bytes and every fusion tried.
Must not know features, weights or labels.  Never raises on any message: what cannot be read becomes a marker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from urllib.parse import unquote

from filterd.classifier.headers import header_lines
from filterd.classifier.text import Texts, passages, plain, text_section, visible_texts
from filterd.content.decode import encoded
from filterd.content.shape import shape_facts
from filterd.content.view import ContentView, view_of
from filterd.mail.message import Message

# Best on mail of 2007 is 3,000, on modern mail with its longer headers 6,000 (benchmarks/accuracy.md).
LIMIT = 4_000
_MAX_HEADER = 2_400
_MAX_CONNECTION = 480  # four names of 120
_MAX_STRUCTURE = 900
_MAX_URL = 600
_MIN_TEXT = 900  # octets that text has, if there is so much: a sender's header shall not push out what he says
_MAX_URLS = 10  # the first and the last half: a sender may put links to well-known sites before his own
_MAX_PAIRS = 40
# Facts of the header's shape that are learned: who writes to whom about what.  Those about MIME, mailers, lists and Received stand in
# the order of fields and the lines above already, and a model leans too much on them: trained on the first half of a folder they
# took 8 % of its later ham for spam, these 3 %; on folders never seen both lower the error by a third.
_LEARNED = ("date", "msgid", "from", "subject", "to-", "reply")
# Fields whose meaning is known come first; of all others, which a sender may add by the hundred, so many octets and pairs count.
_MAX_OTHER, _MAX_OTHER_PAIRS = 300, 5
_KNOWN_NAMES = """
    from to cc bcc subject reply-to sender date message-id in-reply-to references received mime-version content-type
    content-transfer-encoding content-disposition content-language content-class organization user-agent x-mailer x-mimeole
    x-priority x-msmail-priority importance precedence errors-to list-id list-unsubscribe list-unsubscribe-post list-post
    list-help list-subscribe list-archive mailing-list dkim-signature domainkey-signature x-google-dkim-signature thread-index
    thread-topic x-originating-ip x-sender auto-submitted feedback-id return-receipt-to disposition-notification-to hops
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What SMTP itself told about the message; everything may be empty.

    Attributes:
        client_ip: address of the SMTP client.
        helo: argument of HELO/EHLO.
        client_name: forward-confirmed reverse DNS name.
        mail_from: reverse-path, empty for the null reverse-path or when unknown.
    """

    client_ip: str = ""
    helo: str = ""
    client_name: str = ""
    mail_from: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """The decoded stream.

    Attributes:
        data: at most LIMIT octets.
        sections: (name, begin, end) in order, without gaps, covering `data`.
        markers: what was abnormal; also written into `data`.
        passages: all text that was read, by part, with text that cannot be seen; empty when there is not much of it.
    """

    data: bytes
    sections: tuple[tuple[str, int, int], ...]
    markers: tuple[str, ...] = ()
    passages: tuple[bytes, ...] = ()


def content_stream(message: Message, facts: ConnectionFacts) -> Stream:
    """The stream of a message that came over that connection."""
    markers: list[str] = []
    lines: list[str] = []
    names: list[str] = []
    view = ContentView((), (), ())
    urls: list[bytes] = []
    shapes: list[str] = []
    found = Texts()
    try:
        lines, names = header_lines(message.fields)
        view = view_of(message)
        markers += dict.fromkeys(view.markers)
        found = visible_texts(view)
        urls, shapes = _shapes(view, found)
        shapes.append("shape " + " ".join(fact for fact in shape_facts(message) if fact.startswith(_LEARNED)))
    except Exception as error:  # a message that breaks our reading is still scored, by whatever was read before
        markers.append(f"unreadable-{type(error).__name__}")
    connection = "\n".join(_connection(message, facts)).encode("utf-8", "replace")[:_MAX_CONNECTION]
    structure = "\n".join(_structure(message, names, view, markers) + shapes).encode("utf-8", "replace")[
        :_MAX_STRUCTURE
    ]
    url = b"\n".join(urls)[:_MAX_URL]
    room = LIMIT - len(connection) - len(structure) - len(url) - 4
    most = min(_MAX_HEADER, room - min(_MIN_TEXT, found.size))
    header = plain("\n".join(_known_first(lines))[:_MAX_HEADER].encode("utf-8", "replace"))[:most]
    text = text_section(found, room - len(header))
    sections = (
        ("header", header),
        ("connection", connection),
        ("structure", structure),
        ("url", url),
        ("text", text),
    )
    return replace(_assemble(sections, tuple(markers)), passages=passages(found, len(urls) >= _MAX_URLS))


def _assemble(sections: tuple[tuple[str, bytes], ...], markers: tuple[str, ...]) -> Stream:
    data = b"\n".join(piece for _, piece in sections).lower()[:LIMIT]
    spans: list[tuple[str, int, int]] = []
    begin = 0
    for name, piece in sections:
        end = min(begin + len(piece) + 1, len(data))
        spans.append((name, min(begin, len(data)), end))
        begin = end
    return Stream(data, tuple(spans), markers)


def _connection(message: Message, facts: ConnectionFacts) -> list[str]:
    lines = []
    author = _domain(message.first("from")[:500])
    sender = _domain(facts.mail_from)
    if facts.client_ip:
        lines.append(f"ip {facts.client_ip}"[:50])
    # No line for a missing name: collections do not tell "has none" from "was not recorded", the model must not either.
    if facts.client_name:
        lines.append(f"rdns {facts.client_name}"[:120])
    if facts.helo:
        lines.append(f"helo {facts.helo}"[:120])
        lines.append(f"helo-of-author {bool(author) and facts.helo.lower().endswith(author)}")
    if facts.helo and facts.client_name:
        lines.append(f"helo-is-rdns {facts.helo.lower() == facts.client_name.lower()}")
    if facts.mail_from:
        lines.append(f"mail-from {facts.mail_from}"[:120])
        lines.append(f"mail-from-of-author {sender == author}")
    return lines


def _domain(address: str) -> str:
    return address.rpartition("@")[2].rstrip("> \t\"')").lower()


def _known_first(lines: list[str]) -> list[str]:
    known: list[str] = []
    others: list[str] = []
    room = _MAX_OTHER
    for line in lines:
        if line.partition(":")[0].partition(" ")[0] in _KNOWN:
            known.append(line)
        elif room > 0:
            others.append(line[:room])
            room -= len(line) + 1
    return known + others


def _pairs(names: list[str]) -> list[str]:
    """Names of adjacent fields: their order betrays mail programs."""
    pairs: list[str] = []
    others = 0
    for first, second in pairwise(names):
        if first not in _KNOWN and second not in _KNOWN:
            others += 1
            if others > _MAX_OTHER_PAIRS:
                continue
        pairs.append(f"{first}>{second}")
    return pairs[:_MAX_PAIRS]


def _structure(message: Message, names: list[str], view: ContentView, markers: list[str]) -> list[str]:
    lines = [f"marker {marker}" for marker in markers]
    lines += [f"type{part.depth} {part.content_type} {part.charset} {part.encoding}" for part in view.parts[:8]]
    lines.append(f"parts {len(view.parts)} size {_log2(len(message))}")
    for part in view.parts[:12]:
        if not part.is_text and not part.is_container and part.size:
            kind = part.name.rpartition(".")[2][:8] if "." in part.name else "none"
            start = encoded(message, part, 12).decode("latin-1")
            lines.append(f"file .{kind} {part.name[:40]} {part.disposition} {_log2(part.size)} {start}")
    return lines + _pairs(names)


def _shapes(view: ContentView, read: Texts) -> tuple[list[bytes], list[str]]:
    """URL lines, and the counts of what was found."""
    targets: list[bytes] = []
    tags: list[bytes] = []
    for found in view.texts:
        targets += found.targets if found.is_html else _links(found.text)
        tags += found.tags
    counts = f"tags {_log2(len(tags))} urls {_log2(len(targets))} text {_log2(read.size)}"
    shapes = [f"{counts} hidden {_log2(read.invisible)} unseen {_log2(sum(map(len, read.hidden)))}"]
    if tags:
        shapes.append("html " + b" ".join(sorted(set(tags[:500]))[:40]).decode("latin-1"))
    return _urls(targets), shapes


def _links(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    position = data.find(b"://")
    while position >= 0 and len(found) < 50:
        begin = position - (5 if data[position - 5 : position] == b"https" else 4)
        words = data[position : position + 400].split(None, 1)
        if begin >= 0 and data[begin : begin + 4] == b"http" and words:
            found.append(data[begin:position] + words[0].rstrip(b">)].,;\"'"))
        position = data.find(b"://", position + 3)
    return found


def _urls(targets: list[bytes]) -> list[bytes]:
    lines: dict[bytes, None] = {}
    for target in targets[:200]:
        scheme, separator, rest = target.partition(b"://")
        if not separator:
            continue
        host, _, path = rest.partition(b"/")
        host = host.rpartition(b"@")[2][:80]
        bare = host.split(b":")[0].replace(b".", b"").isdigit()
        segments = unquote(path[:60].decode("latin-1")).encode("utf-8", "replace").split(b"?")[0]
        last = b".".join(host.split(b".")[-2:])
        lines[b"%s %s .%s /%s%s" % (scheme[:8], host, last, segments[:40], b" bare-ip" if bare else b"")] = None
    found = list(lines)
    return found if len(found) <= _MAX_URLS else found[: _MAX_URLS // 2] + found[-_MAX_URLS // 2 :]


def _log2(number: int) -> int:
    return number.bit_length()
