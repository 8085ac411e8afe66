"""Owns the fingerprint of a message: what near-duplicates share whatever names, numbers, addresses and links they fill in.

Text with MIN_LETTERS or more becomes a MinHash sketch (A. Broder 1997) of its runs of RUN letters, by one permutation in
bins (Li, Owen, Zhang 2012) whose empty ones borrow from their neighbour (Shrivastava, Li 2014).  Less text becomes an
exact hash together with subject, files and linked hosts.  Linear and bounded: the first LIMIT octets count.
Must not know where fingerprints are kept, nor what it means that messages are alike.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterd.content.confusables import fold_bytes
from filterd.content.mime import Part
from filterd.content.view import ContentView, TextPart, view_of
from filterd.mail.message import Message

# Chosen by benchmarks/campaigns.py on 14,235 real messages (docs/decisions/0012): 2 values for each of 8 keys and half of 64
# bins find 98 % of the pairs that share 60 % of their runs and all that share 70 %; of what they join nothing shared
# less than 30 %.  3 values for a key find 93 %, 4 find 80 %; 32 bins join one pair in 2,000 that shares less.
BINS = 64
KEYS = 8
_VALUES = 2  # bins that make a key
ALIKE = 0.5  # share of equal bins from which on two sketches belong to one campaign
RUN = 16  # letters: about three words, and five characters of Chinese
MIN_LETTERS = 115  # fewer give less than 100 runs for 64 bins
LIMIT = 8_192  # octets of text
_MIN_EXACT = 40  # letters of short text and subject that say enough; "thanks", "see below" and "test" do not
_MIN_WITH_LINKS = 12
_MAX_FILES = 8
_MAX_HOSTS = 8
_FILE_OCTETS = 4_096  # of the encoded body of a file

_MASK64 = (1 << 64) - 1
_U64 = np.uint64
_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the usual odd constant without structure
_SECOND = _U64(0xC2B2AE3D27D4EB4F)
_MIX = (_U64(0xFF51AFD7ED558CCD), _U64(0xC4CEB9FE1A85EC53))  # MurmurHash3's finaliser
_EDGES = np.arange(BINS, dtype=np.uint64) << _U64(64 - BINS.bit_length() + 1)

# Soft hyphen, combining grapheme joiner, zero-width characters, direction marks, byte order mark.
_INVISIBLE = re.compile(rb"\xc2\xad|\xcd\x8f|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf")
_INVISIBLE_BEGINS = (b"\xc2\xad", b"\xcd\x8f", b"\xe2\x80", b"\xe2\x81", b"\xef\xbb\xbf")
_QUOTED = re.compile(rb"\n>[^\n]*")  # a reply is not one more of what it quotes
_SALUTATION = re.compile(
    rb"\b(?:dear|hi|hello|hey|greetings|good (?:morning|afternoon|evening|day)|hallo|liebe|lieber|sehr geehrter?|bonjour"
    rb"|cher|ch\xc3\xa8re|hola|estimad[oa]|caro|cara|gentile|ol\xc3\xa1|prezad[oa])[ \t]{1,4}[^\r\n,:;!]{1,60}[,:;!\r\n]"
)
_SALUTATION_OCTETS = 1_000  # at the beginning
_REPLY = re.compile(r"(?:(?:re|fwd?|aw|wg|sv|tr|rv)\s{0,3}(?:\[\d{1,3}\])?:\s{0,3}){1,8}", re.I)
_HOST = re.compile(rb"(?:https?:)?//(?:[^/@\s]{0,100}@)?([a-z0-9._-]{1,255})")
# Writing without blanks: a number in it must not hide the whole sentence, so it gets blanks around it.
_WITHOUT_BLANKS = re.compile(rb"[\xe3-\xed][\x80-\xbf]{2}")
_ASCII_RUN = re.compile(rb"[!-~]{1,4096}")


def _table() -> bytes:
    """Letters stay, octets of other scripts become capitals, what makes a word a number, link or address becomes "0"."""
    table = bytearray(b" " * 256)
    for octet in range(ord("a"), ord("z") + 1):
        table[octet] = octet
    for octet in b"0123456789@/=%&\\#+$~^":
        table[octet] = ord("0")
    for octet in range(128, 256):
        table[octet] = ord("A") + octet * 7 % 26  # bytes.isalpha knows ASCII only
    return bytes(table)


_TABLE = _table()
_WITHIN_WORDS = b".-'_:"  # left out: a host or a link stays one word


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is compared.

    Attributes:
        keys: look-up keys, signed 64-bit numbers: near-duplicates share at least one, as a rule.
        sketch: BINS little-endian uint16; empty when the single key says everything.
    """

    keys: tuple[int, ...]
    sketch: bytes = b""


def fingerprint(message: Message) -> Fingerprint | None:
    """The fingerprint; None for a message that says too little.  Never raises on any message."""
    view = view_of(message)
    letters = _letters(view)
    if len(letters) >= MIN_LETTERS:
        return _sketched(letters)
    return _exact(message, view, letters)


def similarity(one: bytes, other: bytes) -> float:
    """The share of runs that two texts have in common, estimated from sketches; 1 for two that are exact."""
    if len(one) != len(other):
        return 0.0
    if not one:
        return 1.0
    return float(np.mean(np.frombuffer(one, "<u2") == np.frombuffer(other, "<u2")))


# ------------------------------------------------------------ text


def _letters(view: ContentView) -> bytes:
    """What people read, without what differs from copy to copy: of HTML parts, if they say enough, else of all."""
    html = _normal([part for part in view.texts if part.is_html])
    return html if len(html) >= MIN_LETTERS else _normal(view.texts)


def _normal(parts: Sequence[TextPart]) -> bytes:
    pieces: list[bytes] = []
    left = LIMIT
    for part in parts:
        if left <= 0:
            break
        text = part.text[: 2 * LIMIT].lstrip()[:left]
        left -= len(text)
        pieces.append(_QUOTED.sub(b"", text) if not part.is_html and b"\n>" in text else text)
    return _only_words(b"\n".join(pieces))


def _only_words(text: bytes) -> bytes:
    """The letters of lower-case text, one after the other; words with digits, addresses and links are left out."""
    if not text.isascii():
        if any(begin in text for begin in _INVISIBLE_BEGINS):  # looking for all of them in 8 KB of Russian takes 55 µs
            text = _INVISIBLE.sub(b"", text)
        text = fold_bytes(text).lower()
        if _WITHOUT_BLANKS.search(text):
            text = _ASCII_RUN.sub(rb" \g<0> ", text)
    text = _SALUTATION.sub(b" ", text[:_SALUTATION_OCTETS]) + text[_SALUTATION_OCTETS:]
    return b"".join([word for word in text.translate(_TABLE, _WITHIN_WORDS).split() if word.isalpha()])


def _sketched(letters: bytes) -> Fingerprint:
    values = _bins(_runs(letters))
    keys = []
    for number in range(KEYS):
        key = number + 1
        for value in values[number * _VALUES : (number + 1) * _VALUES]:
            key = (key * _ODD + value) & _MASK64
            key ^= key >> 31
        keys.append(_signed(key))
    return Fingerprint(tuple(keys), np.array([value & 0xFFFF for value in values], dtype="<u2").tobytes())


def _runs(letters: bytes) -> NDArray[np.uint64]:
    """A hash of every RUN letters that follow each other."""
    # Eight letters as one number, beginning at each of them, without a copy.
    eight: NDArray[np.uint64] = np.ndarray((len(letters) - 7,), "<u8", letters, strides=(1,))
    hashes = eight[:-8] * _U64(_ODD)
    hashes += eight[8:] * _SECOND
    hashes *= _MIX[0]
    hashes ^= hashes >> _U64(32)
    hashes *= _MIX[1]
    hashes ^= hashes >> _U64(32)
    return hashes


def _bins(hashes: NDArray[np.uint64]) -> list[int]:
    """The smallest hash in each of BINS equal ranges; an empty one has its next neighbour's, with the distance mixed in."""
    hashes.sort()
    begins = np.searchsorted(hashes, _EDGES)
    ends = np.append(begins[1:], len(hashes))
    smallest = hashes[np.minimum(begins, len(hashes) - 1)].tolist()
    filled = (begins < ends).tolist()
    values: list[int] = []
    for number in range(BINS):
        distance = 0
        while not filled[(number + distance) % BINS]:
            distance += 1
        values.append((smallest[(number + distance) % BINS] + distance * _ODD) & _MASK64)
    return values


# ------------------------------------------------------------ what has little text


def _exact(message: Message, view: ContentView, letters: bytes) -> Fingerprint | None:
    """The very same little text: with the same files, or with the same subject and linked hosts."""
    files = [part for part in view.parts if not part.is_container and not part.is_text and part.size][:_MAX_FILES]
    if files:
        return _hashed(b"files", letters, *(_file(message, part) for part in files))
    subject = _only_words(_REPLY.sub("", message.subject, count=1).lower().encode("utf-8", "replace"))
    targets = (target for part in view.texts for target in part.targets[:_MAX_HOSTS])
    hosts = sorted({found[1] for target in targets if (found := _HOST.match(target))})[:_MAX_HOSTS]
    if len(letters) + len(subject) < (_MIN_WITH_LINKS if hosts else _MIN_EXACT):
        return None
    return _hashed(b"text", letters, subject, *hosts)


def _file(message: Message, part: Part) -> bytes:
    begin = bytes(message.octets[part.begin : min(part.end, part.begin + _FILE_OCTETS)])
    return b"%b %d %b" % (part.content_type.encode("utf-8", "replace"), part.size, hashlib.sha256(begin).digest())


def _hashed(*pieces: bytes) -> Fingerprint:
    digest = hashlib.sha256(b"\0".join(b"%d:%b" % (len(piece), piece) for piece in pieces)).digest()
    return Fingerprint((int.from_bytes(digest[:8], "big", signed=True),))


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
