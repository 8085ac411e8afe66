"""Owns what Office documents carry: macros, embedded programs, remote templates, encryption.  MS-DOC, MS-XLS, MS-OLEDS, ECMA-376.

Must not know archives; what lies inside is given back as members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments import macros
from filterd.content.attachments.finding import Kind, Member
from filterd.content.attachments.ole import Entry, Ole
from filterd.content.entities import unescape

Fact = tuple[Kind, str]
_MAX_STREAM = 33_554_432  # octets of one stream that are looked at
_MAX_IDENTIFIERS = 1_048_576  # octets of compiled identifiers
_INSTALLER = {  # class ids of the root: MSI database, patch, transform
    bytes.fromhex("84100c0000000000c000000000000046"): "Windows Installer package",
    bytes.fromhex("86100c0000000000c000000000000046"): "Windows Installer patch",
    bytes.fromhex("82100c0000000000c000000000000046"): "Windows Installer transform",
}
_MSG_NAMES = ("__substg1.0_3707001f", "__substg1.0_3707001e", "__substg1.0_3704001f", "__substg1.0_3704001e")
_MSG_DATA = "__substg1.0_37010102"


def ole_members(octets: bytes, limit: int) -> Iterator[Member | Fact]:
    """What a compound file says about itself, and the files in it.  Raises BadArchiveError."""
    ole = Ole(octets)
    names = {entry.name.lower() for entry in ole.entries}
    installer = _INSTALLER.get(next((e.class_id for e in ole.entries if e.kind == 5), b""))
    if installer:
        yield Kind.EXECUTABLE, installer
        return
    if "encryptedpackage" in names or "encryptedsummary" in names:
        yield Kind.ENCRYPTED, "a document with a password"
    found = macros.look(ole, limit)
    if found is None and "_vba_project" in names and (automatic := _automatic_without_source(ole)):
        found = ("auto", f"VBA without readable source, {automatic}")
    if found is None and "_vba_project" in names and "vba" in names and "dir" in names:
        has_code = any(e.size > 4_096 for e in ole.entries if e.name.lower() in ("thisdocument", "module1"))
        found = ("plain", "VBA without readable source") if has_code else None
    if found is not None:
        yield (Kind.AUTO_MACRO if found[0] == "auto" else Kind.MACRO), found[1]
    for entry in ole.entries:
        if entry.kind == 2:
            yield from _stream(ole, entry)


def _automatic_without_source(ole: Ole) -> str:
    """The name of an automatic procedure among the identifiers of compiled code (MS-OVBA 2.3.4.1): "stomped" source is gone, this is not."""
    for entry in ole.entries:
        if entry.kind == 2 and entry.name.lower() == "_vba_project":
            found = macros.automatic_name(ole.read(entry, _MAX_IDENTIFIERS))
            if found:
                return found
    return ""


def _stream(ole: Ole, entry: Entry) -> Iterator[Member | Fact]:
    name = entry.name.lower()
    if name in ("workbook", "book"):
        workbook = ole.read(entry, _MAX_STREAM)
        sheet = macros.excel_4(workbook)
        if sheet:
            yield (Kind.AUTO_MACRO if sheet == "auto" else Kind.MACRO), "Excel 4 macro sheet"
        at = 4 + int.from_bytes(workbook[2:4], "little")
        if workbook[at : at + 2] == b"\x2f\0":  # FilePass stands right behind BOF
            yield Kind.ENCRYPTED, "a workbook with a password"
    elif name == "worddocument":
        if ole.read(entry, 12)[11:12] and ole.read(entry, 12)[11] & 1:  # FibBase.fEncrypted
            yield Kind.ENCRYPTED, "a document with a password"
    elif name == "\1ole10native":
        member = package(ole.read(entry, _MAX_STREAM))
        if member is not None:
            yield Kind.ACTIVE, "a file embedded as a package"
            yield member
    elif name == "equation native":
        yield Kind.ACTIVE, "an Equation Editor object"
    elif name == "\1ole":
        link = ole.read(entry, 4_096).replace(b"\0", b"").lower()
        if b"http://" in link or b"https://" in link:
            yield Kind.ACTIVE, "a link to a document elsewhere"
    elif name in _MSG_NAMES:
        raw = ole.read(entry, 1_000)
        yield Member(raw.decode("utf-16-le" if name.endswith("f") else "cp1252", "replace"), entry.size)
    elif name == _MSG_DATA:
        yield Member("", entry.size, read=partial(ole.read, entry))


def package(native: bytes) -> Member | None:
    """The file in an Ole10Native stream (MS-OLEDS 2.3.6): label, path, temporary path, octets."""
    position = 6
    label_end = native.find(b"\0", position, position + 1_000)
    if label_end < 0:
        return None
    path_end = native.find(b"\0", label_end + 1, label_end + 1_001)
    if path_end < 0:
        return None
    label, path = native[position:label_end], native[label_end + 1 : path_end]
    at = path_end + 1 + 4
    temporary = int.from_bytes(native[at : at + 4], "little")
    at += 4 + temporary
    size = int.from_bytes(native[at : at + 4], "little")
    at += 4
    if at > len(native) or not (label or path):
        return None
    names = [_base(label), _base(path)]
    return Member(names[0] or names[1], size, read=partial(cut, native, at, size), aliases=(names[1],))


def _base(raw: bytes) -> str:
    return re.split(r"[\\/]", raw.decode("cp1252", "replace"))[-1]


def cut(octets: bytes, begin: int, size: int, limit: int) -> bytes:
    """At most `limit` of the `size` octets from `begin` on: the reader of a file that lies there as it is."""
    return octets[begin : begin + min(size, limit)]


# ---------------------------------------------------------------- OOXML and ODF, file by file

_MAX_RELATION = 2_000  # octets of one relationship
_REMOTE = re.compile(rb"/(attachedTemplate|oleObject|frame|subDocument|externalLinkPath)[\"']", re.I)
# Any scheme but a drive's letter and file: to a path without a host (mhtml: and ms-msdt: were used, CVE-2021-40444).
_WEB = re.compile(
    rb"Target\s{0,4}=\s{0,4}[\"']\s{0,4}(?:(?!file:)[a-z][a-z0-9+.-]{1,20}:|\\\\|//|file:[/\\]{0,8}[a-z0-9.-]{1,80}\.[a-z])",
    re.I,
)


def is_office_part(name: str) -> bool:
    """Whether `office_part` has something to say about a file of that name in a zip."""
    low = name.lower()
    return (
        low.endswith(".rels") or low == "xl/workbook.xml" or low.startswith(("xl/macrosheets/", "basic/", "scripts/"))
    )


def office_part(name: str, octets: bytes) -> Iterator[Fact]:
    """What one part of an OOXML or ODF file says."""
    low = name.lower()
    if low.endswith(".rels"):
        if octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
            octets = octets.decode("utf-16", "replace").encode("utf-8", "replace")
        for piece in octets.split(b"Relationship")[
            1:
        ]:  # any prefix; a regular expression would try each one to its end
            if not piece[:1].isspace():
                continue
            relation = unescape(piece[:_MAX_RELATION].partition(b">")[0])
            kind = _REMOTE.search(relation)
            if kind and b"external" in relation.lower() and _WEB.search(relation):
                yield Kind.ACTIVE, f"{kind[1].decode('ascii')} from elsewhere"
    elif low == "xl/workbook.xml":
        if b"auto_open" in octets.lower() or b"auto_close" in octets.lower():
            yield Kind.AUTO_MACRO, "Excel 4 macro sheet, auto_open"
    elif low.startswith("xl/macrosheets/"):
        yield Kind.MACRO, "Excel 4 macro sheet"
    elif low.startswith(("basic/", "scripts/")) and not low.endswith(("script-lc.xml", "script-lb.xml", "/")):
        yield Kind.MACRO, "OpenDocument macro"


# ---------------------------------------------------------------- OneNote

_FILE_DATA = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")  # MS-ONESTORE 2.6.13 FileDataStoreObject


def onenote_members(octets: bytes) -> Iterator[Member | Fact]:
    """Files embedded in a OneNote section; pictures are among them."""
    position, count = octets.find(_FILE_DATA), 0
    while position >= 0 and count < 256:
        size = int.from_bytes(octets[position + 16 : position + 24], "little")
        yield Member("", size, read=partial(cut, octets, position + 36, size))
        position = octets.find(_FILE_DATA, position + 36)
        count += 1
