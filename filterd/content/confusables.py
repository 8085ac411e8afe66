"""Owns which characters look like a letter or digit of ASCII, and the folding of a text to those.  UTS #39 section 4, NFKC.

Must not know what a text is compared with, nor what it means that somebody writes so.
"""

from __future__ import annotations

import unicodedata

import numpy as np

# Letters that Unicode's security data (confusables.txt of UTS #39, Unicode License v3) shows beside one letter of ASCII: the letter, then
# what looks like it; without letters that look like digits, which real words are full of.  Last the small capitals of
# phonetic alphabets, which that data leaves out and which are written to get past filters.
_LOOK_LIKE = """
    BꞴ FꞘ JꞲ RƦ XꞳ aɑ bƄ cᴄ eꬲ fẝꞙꬵ gƍɡᶃ iıɩɪ lƖǀ oᴏᴑꬽ rꭇꭈ sƽꜱ uʋᴜꞟꭎꭒ vᴠ wɯᴡ yɣʏᶌỿꭚ zᴢ
    AΑ BΒ EΕ FϜ HΗ IΙ JͿ KΚ MΜϺ NΝ OΟ PΡ TΤ XΧ YΥ ZΖ aα iι jϳ oοσ pρ rᴦ uυ vν yγ
    AА BВ CС EЕ GԌ HН IІӀ JЈ KК MМ OО PР SЅ TТ VѴ WԜ XХ YУҮ aа bЬ cс dԁ eеҽ hһ iіӏꙇ jј oо pр qԛ rг sѕ vѵ wѡԝ xх yуү
    CⲤ HⲎ IⲒ KⲔ LⳐ MⲘ NⲚ OⲞ PⲢ TⲦ XⲬ YⲨ cⲥ oⲟ pⲣ rⲅ
    OՕ SՏ UՍ fք gց hհ nոռ oօ qգզ uս wա
    AᎪ BᏴ CᏟ DᎠ EᎬ GᏀᏳ HᎻ JᎫ KᏦ LᏞ MᎷ PᏢ RᎡᏒ SᏕᏚ TᎢ VᏙ WᎳᏔ YᎩᎽ ZᏃ bᏏ cꮯ dᏧ hᏂ iᎥꭵ rꮁ sꮪ vꮩ wꮃ zꮓ
    Aꓮ Bꓐ Cꓚ Dꓓ Eꓰ Fꓝ Gꓖ Hꓧ Jꓙ Kꓗ Lꓡ Mꓟ Nꓠ Oꓳ Pꓑ Rꓣ Sꓢ Tꓔ Uꓴ Vꓦ Wꓪ Xꓫ Yꓬ Zꓜ dꓒ lꓲ
    aᴀ bʙ dᴅ eᴇ gɢ hʜ jᴊ kᴋ lʟ mᴍ nɴ pᴘ rʀ tᴛ
"""
# Letters in a frame, of which NFKC makes none or three characters: (code point of the first, letter), 26 of each.
_FRAMED = ((0x249C, "a"), (0x1F110, "A"), (0x1F150, "A"), (0x1F170, "A"))
# Where characters stand of which NFKC makes one of ASCII: letters of mathematics, full width, raised, circled; blanks.
_COMPATIBLE = ((0xA0, 0x250), (0x1D2C, 0x1DC0), (0x2000, 0x2500), (0x3000, 0x3001), (0xFE30, 0x10000))
_COMPATIBLE_BEYOND = ((0x1D400, 0x1D800), (0x1F100, 0x1F200))
_SIZE = 0x20000  # code points of the table: the two planes in which letters stand
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}


def _letters() -> dict[int, int]:
    """Code point -> that of the letter of ASCII that it looks like."""
    found: dict[int, int] = {}
    for group in _LOOK_LIKE.split():
        for char in group[1:]:
            found[ord(char)] = ord(group[0])
    # Text may be in lower case already, and its letters were chosen before: what has no likeness has that of its capital.
    for code, letter in list(found.items()):
        lower = chr(code).lower()
        if len(lower) == 1:
            found.setdefault(ord(lower), ord(chr(letter).lower()))
    for first, capital in _FRAMED:
        for number in range(26):
            found[first + number] = ord(capital) + number
    for begin, end in _COMPATIBLE + _COMPATIBLE_BEYOND:
        for code in range(begin, end):
            normal = unicodedata.normalize("NFKC", chr(code))
            if len(normal) == 1 and ord(normal) != code:
                like = found.get(ord(normal), ord(normal))
                if like < 128:
                    found.setdefault(code, like)
    return found


def _table() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    table = np.arange(_SIZE, dtype="<u4")
    letters = _letters()
    table[list(letters)] = list(letters.values())
    return table


_TABLE = _table()


def fold(text: str) -> str:
    """`text` with every character that looks like a letter, digit or blank of ASCII as that one.  Never raises.

    Accents stay (ü is no u), and so does what looks like nothing in ASCII.  The length may change by ligatures alone.
    A table of numbers instead of str.translate: 22 µs for 4 KB of Russian where that needs 150 (dict) or 100 (str).
    """
    if text.isascii():
        return text
    for ligature, letters in _LIGATURES.items():
        text = text.replace(ligature, letters)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if codes.max() < _SIZE:
        folded = _TABLE[codes]
    else:
        folded = np.where(codes < _SIZE, _TABLE[np.minimum(codes, _SIZE - 1)], codes)
    octets: bytes = folded.tobytes()
    return octets.decode("utf-32-le", "surrogatepass")


def fold_bytes(data: bytes) -> bytes:
    """The same for UTF-8; octets that are none become U+FFFD where anything had to be looked at."""
    if data.isascii():
        return data
    return fold(data.decode("utf-8", "replace")).encode("utf-8", "replace")
