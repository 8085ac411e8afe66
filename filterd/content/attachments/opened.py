"""Owns the question as what a file is opened: programs go by its name and look for their own beginning in the octets.

The true type of the first octets (attachments/magic.py) says what nobody has tampered with; a stray octet before an archive
or a page stops no program from opening it.  Must not know what is inside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from filterd.content.attachments import magic, mails, names, tars
from filterd.content.attachments.families import DOCUMENTS, PAGES
from filterd.content.attachments.magic import HEAD, Type, true_type

ARCHIVE_NAMES = frozenset(("zip", "rar", "7z", "tar", "cab", "gz", "tgz", "bz2", "xz", "r00", "001"))
_OFFICE = (
    "docx docm dotx dotm xlsx xlsm xlsb xltx xltm xlam pptx pptm potx potm ppsx ppsm ppam odt ods odp jar xps epub"
)
_SEARCHED = ARCHIVE_NAMES | frozenset(_OFFICE.split())
# What archive programs search for behind octets that are not theirs (self-extracting archives begin with a program).
_BEGINNINGS = re.compile(rb"PK\x03\x04|Rar!\x1a\x07[\x00\x01]|7z\xbc\xaf\x27\x1c|MSCF\x00\x00\x00\x00")
# Octets that a program of that name takes for no file of its own kind, so that it searches on.
_NOT_THEIRS = frozenset({Type.UNKNOWN, Type.IMAGE, Type.MEDIA, Type.PDF, Type.XML, Type.PE, Type.DOS, Type.SHELL})
_WORD_XML = re.compile(rb"<(?:[a-z0-9]{1,16}:)?bin(?:ary)?data[\s>]", re.I)
_WORD_NAMES = DOCUMENTS | {"dot", "dotx", "dotm", "docm", "wbk", "xml"}
# Parts without a name get one from their declared type, in Exchange as in mail programs.
_ENDING_OF = {
    "message/rfc822": "eml",
    "message/global": "eml",
    "message/news": "eml",
    "text/html": "html",
    "application/xhtml+xml": "xhtml",
    "image/svg+xml": "svg",
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
}


def endings(given: Sequence[str], declared: str) -> frozenset[str]:
    """The extensions of all names, in lower case, and the one that stands for the declared type."""
    found = {(names.extensions(name) or ("",))[0] for name in given}
    found.add(_ENDING_OF.get(declared, ""))
    return frozenset(found - {""})


def is_deep(kind: Type, head: bytes, promised: frozenset[str]) -> bool:
    """Whether a file of that true type, with these extensions, has to be looked into; `head` are its first octets."""
    if kind in magic.DEEP:
        return True
    if kind in _NOT_THEIRS and promised & _SEARCHED:
        return True
    if kind is Type.XML and len(head) >= HEAD and promised & _WORD_NAMES:
        return True
    return _is_page(kind, promised) or _is_mail(kind, promised)


def opened_as(octets: bytes, promised: frozenset[str]) -> tuple[Type, bytes]:
    """(what the octets are to the program that the name starts, the octets from where it reads).  Never raises."""
    kind = true_type(octets)
    if _is_mail(kind, promised):  # before pages: a mail in a file may begin with one
        return Type.MAIL, octets
    if _is_page(kind, promised):
        return Type.HTML, octets
    if kind is Type.XML and promised & _WORD_NAMES and _WORD_XML.search(octets):
        return Type.OFFICE_XML, octets
    if kind in _NOT_THEIRS and promised & _SEARCHED:
        if kind is Type.UNKNOWN and "tar" in promised and tars.is_header(octets[:512]):
            return Type.TAR, octets
        match = _BEGINNINGS.search(octets)
        if match is not None:
            rest = octets[match.start() :]
            return true_type(rest), rest
    return kind, octets


def _is_page(kind: Type, promised: frozenset[str]) -> bool:
    """Browsers take what is named as a page for one, whatever stands before its first tag."""
    return kind in (Type.UNKNOWN, Type.XML) and bool(promised & PAGES)


def _is_mail(kind: Type, promised: frozenset[str]) -> bool:
    """Whether it is mail in a file: only the name says so, its octets are text."""
    return kind in (Type.UNKNOWN, Type.HTML) and bool(promised & mails.EXTENSIONS)
