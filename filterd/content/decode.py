"""Owns the tolerant decoding of bodies: transfer encodings and charsets, as mail programs forgive them.  RFC 2045 6, 2046 4.1.2.

Must not know parts' meaning or HTML.  Never raises, linear, and bounded by the caller's `limit`.
"""

from __future__ import annotations

import binascii
import codecs

from filterd.content.mime import Part
from filterd.mail.message import Message

_MAX_BLOCKS = 1_000  # base64 blocks that were padded and then joined: one to a line

_UUENCODE = frozenset(
    {"x-uuencode", "uuencode", "x-uue", "uue"}
)  # no standard; Outlook, Exchange and Thunderbird read it
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))

# Everything that real mail uses; other codecs of Python (idna, punycode, rot13, zip …) are no charsets.
_CHARSETS_NAMES = """
    utf-8 utf-16 utf-16-le utf-16-be utf-7 ascii iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6
    iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 cp1250 cp1251 cp1252 cp1253
    cp1254 cp1255 cp1256 cp1257 cp1258 cp437 cp850 cp866 cp874 cp949 koi8-r koi8-u gb2312 gbk gb18030 hz big5
    big5hkscs euc_kr euc_jp shift_jis cp932 iso2022_jp iso2022_kr tis-620 mac-roman utf-32 utf-32-le utf-32-be cp037 cp500
    cp1026 cp1140 cp852 cp855 cp857 cp862 iso2022_jp_1 iso2022_jp_2 iso2022_jp_3 iso2022_jp_ext johab
"""
_CHARSETS = frozenset(_CHARSETS_NAMES.split())
# Those in which octets below 128 do not stand for themselves; the EBCDIC ones are among the code pages of Windows.
_NOT_ASCII_NAMES = """
    utf-7 hz iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_3 iso2022_jp_ext iso2022_kr cp037 cp500 cp1026 cp1140
"""
_NOT_ASCII = frozenset(_NOT_ASCII_NAMES.split())
_WIDE = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})


def encoded(message: Message, part: Part, limit: int, start: int = 0) -> bytes:
    """At most `limit` octets of the part's body as it stands, from its octet `start` on."""
    begin = part.begin + start
    return bytes(message.octets[begin : min(part.end, begin + limit)])


def decoded(message: Message, part: Part, limit: int) -> bytes:
    """At most `limit` octets of the part's body, transfer encoding undone."""
    # base64 with its line ends takes 1.37 octets for one, quoted-printable up to 3; spaced-out bodies just give less.
    factor = (
        3
        if part.encoding == "quoted-printable"
        else 1.5
        if part.encoding == "base64" or part.encoding in _UUENCODE
        else 1
    )
    return undo_encoding(encoded(message, part, int(limit * factor) + 80), part.encoding)[:limit]


def undo_encoding(raw: bytes, encoding: str) -> bytes:
    """`raw` without its Content-Transfer-Encoding; an unknown one changes nothing."""
    if encoding == "base64":
        return _base64(raw)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    if encoding in _UUENCODE:
        return _uudecode(raw)
    return raw


def to_utf8(raw: bytes, charset: str) -> bytes:
    """`raw` in UTF-8; an unknown or lying charset falls back to UTF-8, then to Windows-1252."""
    codec = _codec(charset)
    if codec in _WIDE or raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw:
        raw, codec = _from_wide(raw, codec)
    if codec in _NOT_ASCII:
        return raw.decode(codec, "replace").encode("utf-8", "replace")
    if raw.isascii():
        return raw
    if codec in {"", "utf-8", "ascii"}:
        # A cut inside a character must not make the whole part Windows-1252: look at all but the last three octets.
        try:
            raw[:-3].decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(raw) - 6:
                return raw.decode("cp1252", "replace").encode("utf-8")
        return raw
    return raw.decode(codec, "replace").encode("utf-8", "replace")


def _from_wide(raw: bytes, codec: str) -> tuple[bytes, str]:
    """(UTF-8 without NUL, what to take it for) of text that is or seems to be in units of two or four octets.

    A byte order mark says more than the label, and where the zeros stand more than a label without an order; NULs in other text
    are what mail programs leave out.
    """
    if raw[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        actual = "utf-32"
    elif raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        actual = "utf-16"
    else:
        even, odd = raw[:400:2].count(0), raw[1:400:2].count(0)
        enough = min(len(raw), 400) // 8
        order = "-le" if odd > even else "-be"
        if codec.startswith("utf-32"):
            actual = "utf-32" + ("-be" if raw[:400:4].count(0) > raw[3:400:4].count(0) else "-le")
        elif max(even, odd) > enough and min(even, odd) <= enough:
            actual = "utf-16" + order
        else:
            actual = codec if codec in _WIDE else ""
    if actual:
        return raw.decode(actual, "replace").encode("utf-8", "replace").replace(b"\0", b""), "utf-8"
    return raw.replace(b"\0", b""), codec


def _codec(charset: str) -> str:
    if not charset or charset in {"utf-8", "us-ascii"}:
        return "utf-8"
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ""
    return name if name in _CHARSETS else ""


def _base64(raw: bytes) -> bytes:
    """Stray characters dropped, missing padding forgiven, several padded blocks joined: Outlook shows all of these."""
    clean = raw.translate(None, _NOT_BASE64)
    out: list[bytes] = []
    for block in [piece for piece in clean.split(b"=", _MAX_BLOCKS * 2) if piece][:_MAX_BLOCKS]:
        usable = block.replace(b"=", b"")
        if len(usable) % 4 == 1:
            usable = usable[:-1]
        out.append(binascii.a2b_base64(usable + b"=" * (-len(usable) % 4)))
    return b"".join(out)


def _uudecode(raw: bytes) -> bytes:
    """What stands between "begin" and "end"; lines that are none are left out.  Without "begin" `raw` is as it is."""
    begin = 0 if raw.startswith(b"begin ") else raw.find(b"\nbegin ") + 1
    if not begin and not raw.startswith(b"begin "):
        return raw
    out: list[bytes] = []
    for line in filter(None, (line.rstrip(b"\r") for line in raw[begin:].split(b"\n")[1:])):
        if line in (b"end", b"`"):
            break
        size = ((line[0] - 32 & 63) * 4 + 5) // 3  # some write more than the line's own count says
        try:
            out.append(binascii.a2b_uu(line[:size]))
        except binascii.Error:
            continue
    return b"".join(out)
