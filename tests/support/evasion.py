"""Owns the ways of writing a message so that a filter reads something else than people do: octets in, octets out.

Here the tools and what is done to letters, words, charsets and transfer encodings; evasion_pages.py has HTML, evasion_shape.py
parts and header fields.  Every function changes what people see as little as the real trick does.
"""

from __future__ import annotations

import base64
import binascii
import random
import re
from collections.abc import Callable
from itertools import cycle

from filterd.content.decode import encoded, to_utf8, undo_encoding
from filterd.content.mime import Part, walk
from filterd.mail.message import Message

Change = Callable[[bytes], bytes]
Rewrite = Callable[[str, bool], str]  # (text, is HTML) -> text

_WORD = re.compile(r"(?<![\w/.@:?=%-])[^\W\d_]{3,30}(?![\w@]|[./:=][\w/])")
# Markup that is left alone: style sheets, scripts, comments, tags, entities; what is between them is text.
_MARKUP = re.compile(
    r"(<style.*?</style\s*>|<script.*?</script\s*>|<title.*?</title\s*>|<!--.*?-->|<[^>]*>|&#?\w{1,20};)", re.S | re.I
)
_CYRILLIC = dict(zip("acehijopsxyABCEHIJKMOPSTXtwk", "асеһіјорѕхуАВСЕНІЈКМОРЅТХтшк", strict=True))
_GREEK = dict(zip("ABEZHIKMNOPTYXovua", "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧονυα", strict=True))
_LOOK_ALIKE = {**_GREEK, **_CYRILLIC}
for _odd in "twk":  # т, ш and к look like small capitals at best
    _LOOK_ALIKE.pop(_odd)


def is_html(part: Part) -> bool:
    """Whether it is sent as HTML."""
    return part.content_type == "text/html"


def texts(message: Message) -> list[Part]:
    """Its text parts."""
    return [part for part in walk(message).parts if part.is_text and part.size][:6]


def text_of(message: Message, part: Part) -> str:
    """What a text part says."""
    return to_utf8(undo_encoding(encoded(message, part, 1 << 22), part.encoding), part.charset).decode(
        "utf-8", "replace"
    )


def rewritten(octets: bytes, change: Rewrite, charset: str = "", encoding: str = "") -> bytes:
    """The message with the text of each text part changed; charset and encoding stay where they can hold the text."""
    message = Message(octets)
    for part in reversed(texts(message)):
        before = text_of(message, part)
        after = change(before, is_html(part))
        if after != before or charset or encoding:
            octets = replaced(octets, part, after, charset, encoding)
    return octets


def replaced(octets: bytes, part: Part, text: str, charset: str = "", encoding: str = "", kind: str = "") -> bytes:
    """The message with that part's text replaced."""
    label = charset or part.charset or "us-ascii"
    try:
        raw = text.encode(label)
    except (LookupError, ValueError):
        label, raw = "utf-8", text.encode("utf-8", "replace")
    how = encoding or (part.encoding if part.encoding in ("base64", "quoted-printable") else "8bit")
    if not encoding and how == "8bit" and raw.isascii() and part.encoding in ("", "7bit"):
        how = part.encoding
    return spliced(octets, part, transfer(raw, how), {"charset": label, "encoding": how, "kind": kind})


def transfer(raw: bytes, how: str) -> bytes:
    """`raw` under a Content-Transfer-Encoding."""
    if how == "base64":
        return base64.encodebytes(raw).replace(b"\n", b"\r\n")
    if how == "quoted-printable":
        quoted = binascii.b2a_qp(raw.replace(b"\r\n", b"\n"), istext=True)
        return quoted.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + (b"" if raw.endswith(b"\n") else b"\r\n")


def spliced(octets: bytes, part: Part, body: bytes, new: dict[str, str]) -> bytes:
    """Body and header of one part exchanged."""
    begin = header_begin(octets, part)
    header = octets[begin : part.begin]
    if new["charset"] != (part.charset or "us-ascii") or new.get("kind"):
        kind = new.get("kind") or field_of(header, "content-type") or part.content_type
        kind = re.sub(r";\s*charset\s*=\s*(\"[^\"]*\"?|[^;\s]*)", "", kind, flags=re.I)
        header = with_field(header, "Content-Type", f'{kind}; charset="{new["charset"]}"')
    if new["encoding"] != part.encoding:
        header = with_field(header, "Content-Transfer-Encoding", new["encoding"])
    return octets[:begin] + header + body + octets[part.end :]


def header_begin(octets: bytes, part: Part) -> int:
    """Offset of the header section that describes a part."""
    if part.depth == 0:
        return 0
    line = octets.rfind(b"\r\n--", 0, max(part.begin - 1, 0))
    return octets.find(b"\n", line + 2) + 1


def field_of(header: bytes, name: str) -> str:
    """Value of the first such field, unfolded."""
    match = re.search(rb"(?im)^%s[ \t]*:(.*(?:\r\n[ \t].*)*)" % name.encode(), header)
    return match[1].replace(b"\r\n", b"").decode("utf-8", "replace").strip() if match else ""


def with_field(header: bytes, name: str, value: str) -> bytes:
    """A header section (with its empty line) with one field replaced where it stands, or added at the end."""
    line = f"{name}: {value}".encode()
    found = re.compile(rb"(?im)^%s[ \t]*:.*(?:\r\n[ \t].*)*" % name.encode())
    if found.search(header):
        return found.sub(lambda _: line.rstrip(b"\r\n") + b"\r", header, count=1).replace(b"\r\r\n", b"\r\n")
    end = header.rfind(b"\r\n")
    return header[:end] + line + b"\r\n\r\n"


def split(octets: bytes) -> tuple[bytes, bytes, bytes]:
    """(header fields of the message without MIME's, Content- fields, body)."""
    message = Message(octets)
    own: list[bytes] = []
    content: list[bytes] = []
    for item in message.fields:
        (content if item.key.startswith("content-") else own).append(item.raw)
    return b"".join(own), b"".join(content), octets[message.body_start :]


# ---------------------------------------------------------------- letters and words


def per_word(change: Callable[[str], str], keep_title: bool = False) -> Change:
    """A transformation that writes each word differently, in text and in text between tags."""

    def text(whole: str, html: bool) -> str:
        if not html:
            return _WORD.sub(lambda match: change(match[0]), whole)
        pieces = _MARKUP.split(whole)
        return "".join(p if number % 2 else _WORD.sub(lambda m: change(m[0]), p) for number, p in enumerate(pieces))

    return lambda octets: rewritten(octets, text)


def per_text(change: Rewrite, **how: str) -> Change:
    """A transformation of each text as a whole."""
    return lambda octets: rewritten(octets, change, **how)


def joined_by(characters: str) -> Change:
    """One of the characters between the letters of every word, by turns."""
    turn = cycle(characters)
    return per_word(lambda word: word[0] + "".join(next(turn) + letter for letter in word[1:]))


def look_alikes(share: float, letters: dict[str, str] = _LOOK_ALIKE) -> Change:
    """Letters replaced by those of other scripts that look the same."""
    chance = random.Random(7)
    return per_word(lambda word: "".join(letters.get(a, a) if chance.random() < share else a for a in word))


def shifted(small: int, capital: int) -> Change:
    """Letters of a Unicode block that has the alphabet in order."""

    def letter(char: str) -> str:
        if "a" <= char <= "z":
            return chr(small + ord(char) - 97)
        return chr(capital + ord(char) - 65) if "A" <= char <= "Z" else char

    return per_word(lambda word: "".join(map(letter, word)))


def spread(between: str, around: str) -> Change:
    """Letters apart from each other, words further apart."""
    return per_word(lambda word: around + between.join(word) + around)


def accented(word: str) -> str:
    """A combining mark on every letter that nearly cannot be seen."""
    return "".join(letter + "\u0323" for letter in word)


def subject_in_look_alikes(octets: bytes) -> bytes:
    """The same for Subject and the author's name."""
    begin = Message(octets).body_start
    header = octets[:begin]
    subject = "".join(_LOOK_ALIKE.get(char, char) for char in field_of(header, "Subject"))
    return (
        with_field(header, "Subject", "=?utf-8?B?" + base64.b64encode(subject.encode())[:700].decode() + "?=")
        + octets[begin:]
    )


LETTERS: dict[str, Change] = {
    "zero-width characters in every word": joined_by("\u200b\u200c\u200d\u2060\ufeff"),
    "soft hyphens in every word": joined_by("\u00ad"),
    "rare invisible characters": joined_by("\u034f\u2063\u180e\U000e0061\ufe0f\u115f"),
    "look-alikes, 30 % of letters": look_alikes(0.3),
    "look-alikes, all letters": look_alikes(1.0),
    "Greek look-alikes": look_alikes(1.0, _GREEK),
    "full-width letters": shifted(0xFF41, 0xFF21),
    "mathematical letters": shifted(0x1D41A, 0x1D400),
    "circled letters": shifted(0x24D0, 0x24B6),
    "combining marks on every letter": per_word(accented),
    "letters spread with blanks": spread(" ", "   "),
    "letters spread with blanks, words no further apart": spread(" ", " "),
    "letters spread with dots": spread(".", " "),
    "letters spread with no-break blanks": spread("\u00a0", "\u00a0\u00a0\u00a0"),
    "letters spread with thin blanks": spread("\u2009", " "),
    "letters spread with two blanks": spread("  ", "     "),
    "letters spread with line ends": spread("\r\n", "\r\n\r\n\r\n"),
    "no-break blanks for blanks": per_word(lambda word: f"\u00a0{word}"),
    "subject in look-alikes": subject_in_look_alikes,
}

# ---------------------------------------------------------------- charsets and transfer encodings


def recoded(codec: str, label: str = "", mark: bytes = b"") -> Change:
    """Text under a charset; `label` is what the header says when it lies."""

    def change(octets: bytes) -> bytes:
        message = Message(octets)
        for part in reversed(texts(message)):
            body = mark + text_of(message, part).encode(codec, "replace")
            new = {"charset": label or codec, "encoding": "base64"}
            octets = spliced(octets, part, transfer(body, "base64"), new)
        return octets

    return change


def bodies(encoding: str, change: Callable[[bytes], bytes], charset: str = "", named: str = "") -> Change:
    """Text under a transfer encoding, its encoded body changed, under another name when one is given."""

    def apply(octets: bytes) -> bytes:
        out = rewritten(octets, lambda text, _: text, charset or "utf-8", encoding)
        message = Message(out)
        for part in reversed(texts(message)):
            body = change(out[part.begin : part.end])
            new = {"charset": part.charset, "encoding": named or encoding}
            out = spliced(out, part, body, new)
        return out

    return apply


def labelled(value: Callable[[str], str]) -> Change:
    """The charset parameter of each text part written differently."""

    def change(octets: bytes) -> bytes:
        octets = rewritten(octets, lambda text, _: text, "utf-8", "8bit")
        for part in reversed(texts(Message(octets))):
            begin = header_begin(octets, part)
            header = with_field(octets[begin : part.begin], "Content-Type", value(part.content_type))
            octets = octets[:begin] + header + octets[part.begin :]
        return octets

    return change


def _soft_breaks(body: bytes) -> bytes:
    return re.sub(rb"([a-z])([a-z])", rb"\1=\r\n\2", body.replace(b"=\r\n", b""))


def _all_quoted(body: bytes) -> bytes:
    plain = binascii.a2b_qp(body)
    return b"".join(b"=%02x" % octet + (b"=\r\n" if at % 24 == 23 else b"") for at, octet in enumerate(plain))


def _junk(body: bytes) -> bytes:
    return re.sub(rb"([A-Za-z0-9+/]{5})", rb"\1!*", body)


def _short_lines(body: bytes) -> bytes:
    clean = b"".join(body.split())
    return b"\r\n".join(clean[at : at + 3] for at in range(0, len(clean), 3)) + b"\r\n"


def _padded_inside(body: bytes) -> bytes:
    plain = binascii.a2b_base64(body)
    return b"\r\n".join(base64.b64encode(plain[at : at + 40]) for at in range(0, len(plain), 40)) + b"\r\n"


def _uuencoded(body: bytes) -> bytes:
    plain = binascii.a2b_base64(body)
    lines = b"".join(binascii.b2a_uu(plain[at : at + 45]) for at in range(0, len(plain), 45))
    return (b"begin 644 a.txt\n" + lines + b"`\nend\n").replace(b"\n", b"\r\n")


def _escapes(text: str, _: bool) -> str:
    return _WORD.sub(lambda match: "\x1b(B".join(match[0]), text.encode("ascii", "replace").decode())


CHARSETS: dict[str, Change] = {
    "utf-7": recoded("utf-7"),
    "utf-16 with a byte order mark": recoded("utf-16"),
    "utf-16-le without a mark": recoded("utf-16-le"),
    "utf-16-be labelled utf-16": recoded("utf-16-be", "utf-16"),
    "utf-16 labelled us-ascii, with a mark": recoded("utf-16", "us-ascii"),
    "utf-16 labelled utf-8, no mark": recoded("utf-16-le", "utf-8"),
    "utf-32": recoded("utf-32"),
    "EBCDIC": recoded("cp037", "ibm037"),
    "iso-2022-jp escapes in words": per_text(_escapes, charset="iso-2022-jp", encoding="7bit"),
    "unknown charset": labelled(lambda kind: f"{kind}; charset=x-unknown"),
    "two charsets": labelled(lambda kind: f"{kind}; charset=utf-8; charset=utf-16"),
    "charset in single quotes": labelled(lambda kind: f"{kind}; charset='utf-8'"),
    "Content-Type twice": labelled(lambda kind: f"{kind}; charset=utf-8\r\nContent-Type: image/png"),
    "quoted-printable, soft breaks in words": bodies("quoted-printable", _soft_breaks),
    "quoted-printable, every octet": bodies("quoted-printable", _all_quoted),
    "base64 with junk": bodies("base64", _junk),
    "base64 in short lines": bodies("base64", _short_lines),
    "base64 padded inside": bodies("base64", _padded_inside),
    "base64 called Base64 (comment)": bodies("base64", bytes, named='"Base64" (x)'),
    "base64 and another encoding named": bodies("base64", bytes, named="base64\r\nContent-Transfer-Encoding: 7bit"),
    "uuencode": bodies("base64", _uuencoded, named="x-uuencode"),
}

INNOCENT: dict[str, Change] = {
    "as 8bit": per_text(lambda text, _: text, encoding="8bit"),
    "as quoted-printable": per_text(lambda text, _: text, encoding="quoted-printable"),
    "as base64": per_text(lambda text, _: text, encoding="base64"),
    "in utf-8": per_text(lambda text, _: text, charset="utf-8"),
    "in iso-8859-1": per_text(lambda text, _: text, charset="iso-8859-1"),
    "in windows-1252": per_text(lambda text, _: text, charset="windows-1252"),
}
