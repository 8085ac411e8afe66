"""Owns the true type of a file by its first octets.  Must not know names, nor what a type leads to."""

from __future__ import annotations

import re
from enum import StrEnum

HEAD = 4_096  # octets that tell every type but a disk image's
IMAGE_HEAD = 36_864  # 0x8001 + 5 for ISO 9660, 0x9001 for the first volume descriptors after it


class Type(StrEnum):
    """What the octets are."""

    UNKNOWN = "unknown"
    # programs and what runs
    PE = "Windows program"
    DOS = "DOS program"
    ELF = "ELF program"
    MACH_O = "Mach-O program"
    CLASS = "Java class"
    LINK = "Windows shortcut"
    ENCODED_SCRIPT = "encoded script"
    SHELL = "script"
    HTA = "HTML application"
    REGISTRY = "registry file"
    URL = "internet shortcut to a file"
    BOOKMARK = "internet shortcut"
    HELP = "compiled help"
    ACCESS = "Access database"
    # what is looked into
    ZIP = "zip"
    RAR4 = "rar 4"
    RAR5 = "rar 5"
    SEVEN_ZIP = "7z"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    LZMA = "lzma"
    ZLIB_Z = "compress"
    ZSTD = "zstd"
    TAR = "tar"
    CAB = "cab"
    ISO = "ISO image"
    UDF = "UDF image"
    DISK = "disk image"
    ACE = "ace"
    ARJ = "arj"
    LHA = "lha"
    OLE = "OLE document"
    RTF = "RTF"
    HTML = "HTML"
    ONENOTE = "OneNote"
    TNEF = "TNEF"
    MAIL = "mail"
    OFFICE_XML = "Office document in XML"
    ACTIVE_MIME = "ActiveMime"
    # harmless by themselves
    PDF = "PDF"
    IMAGE = "image"
    MEDIA = "sound or film"
    XML = "XML"


_FIXED: tuple[tuple[bytes, Type], ...] = (
    (b"\x7fELF", Type.ELF),
    (b"\xfe\xed\xfa\xce", Type.MACH_O),
    (b"\xfe\xed\xfa\xcf", Type.MACH_O),
    (b"\xce\xfa\xed\xfe", Type.MACH_O),
    (b"\xcf\xfa\xed\xfe", Type.MACH_O),
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", Type.LINK),  # MS-SHLLINK 2.1
    (b"#@~^", Type.ENCODED_SCRIPT),
    (b"Windows Registry Editor", Type.REGISTRY),
    (b"\xff\xfeW\0i\0n\0d\0o\0w\0s\0 \0R\0e\0g\0", Type.REGISTRY),
    (b"REGEDIT4", Type.REGISTRY),
    (b"ITSF", Type.HELP),
    (b"\0\1\0\0Standard Jet DB", Type.ACCESS),
    (b"\0\1\0\0Standard ACE DB", Type.ACCESS),
    (b"PK\3\4", Type.ZIP),
    (b"PK\5\6", Type.ZIP),
    (b"PK00PK\3\4", Type.ZIP),
    (b"PK\7\x08PK\3\4", Type.ZIP),
    (b"Rar!\x1a\x07\0", Type.RAR4),
    (b"Rar!\x1a\x07\1\0", Type.RAR5),
    (b"7z\xbc\xaf\x27\x1c", Type.SEVEN_ZIP),
    (b"\x1f\x8b\x08", Type.GZIP),
    (b"\xfd7zXZ\0", Type.XZ),
    (b"]\0\0", Type.LZMA),
    (b"\x1f\x9d", Type.ZLIB_Z),
    (b"\x28\xb5\x2f\xfd", Type.ZSTD),
    (b"MSCF\0\0\0\0", Type.CAB),
    (b"conectix", Type.DISK),
    (b"vhdxfile", Type.DISK),
    (b"MSWIM\0\0\0", Type.DISK),
    (b"\x60\xea", Type.ARJ),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Type.OLE),
    (b"{\\rt", Type.RTF),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", Type.ONENOTE),  # MS-ONESTORE 2.3.1
    (b"ActiveMime", Type.ACTIVE_MIME),  # macros of Word's XML and MHTML documents
    (b"\x78\x9f\x3e\x22", Type.TNEF),  # MS-OXTNEF 2.1.3.1
    (b"\xff\xd8\xff", Type.IMAGE),
    (b"\x89PNG\r\n\x1a\n", Type.IMAGE),
    (b"GIF87a", Type.IMAGE),
    (b"GIF89a", Type.IMAGE),
    (b"II*\0", Type.IMAGE),
    (b"MM\0*", Type.IMAGE),
    (b"\0\0\1\0", Type.IMAGE),
    (b"ID3", Type.MEDIA),
    (b"\xff\xfb", Type.MEDIA),
    (b"OggS", Type.MEDIA),
    (b"fLaC", Type.MEDIA),
    (b"RIFF", Type.MEDIA),
    (b"\x1aE\xdf\xa3", Type.MEDIA),
)
_PAGE = re.compile(rb"<(?:!doctype\s{1,8}html|html|head|body|script|title|meta|iframe|svg|table|div)[\s>]", re.I)
_HTA = re.compile(rb"<hta:application|<script[^>]{1,80}vbscript|<job[\s>]|<\?xml[^>]{1,80}><package>", re.I)
_OFFICE_XML = re.compile(rb"progid=[\"']word\.|/office/word/2003/wordml|/office/2006/xmlpackage", re.I)
_TO_A_FILE = re.compile(
    rb"^[a-z]{3,20}[ \t]{0,8}=[ \t]{0,8}(?:file:|\\\\)", re.I | re.M
)  # a share, WebDAV, a local program
_TO_A_PAGE = re.compile(rb"^url[ \t]{0,8}=[ \t]{0,8}https?://", re.I | re.M)


def true_type(octets: bytes) -> Type:
    """The type of what begins with `octets`; IMAGE_HEAD of them are looked at.  Never raises."""
    if octets.startswith(b"MZ") and (program := _program(octets)) is not Type.UNKNOWN:
        return program
    if octets.startswith(b"\xca\xfe\xba\xbe") and len(octets) >= 8:  # Java counts from 45, Mach-O has few architectures
        return Type.CLASS if int.from_bytes(octets[4:8], "big") >= 45 else Type.MACH_O
    for magic, kind in _FIXED:
        if octets.startswith(magic):
            return kind
    if octets.startswith(b"BZh") and octets[4:10] == b"1AY&SY":
        return Type.BZIP2
    if octets[257:262] == b"ustar":
        return Type.TAR
    if octets[7:14] == b"**ACE**":
        return Type.ACE
    if octets[2:5] == b"-lh" and octets[6:7] == b"-":
        return Type.LHA
    if octets[4:8] == b"ftyp":
        return Type.MEDIA
    if octets.startswith(b"BM") and octets[6:10] == b"\0\0\0\0":
        return Type.IMAGE
    if octets[0x8001:0x8006] == b"CD001":
        return Type.ISO
    if octets[0x8001:0x8006] in (b"BEA01", b"NSR02", b"NSR03"):
        return Type.UDF
    if b"%PDF-" in octets[:1024]:
        return Type.PDF
    return _text_type(octets[:HEAD])


def _program(octets: bytes) -> Type:
    new_header = int.from_bytes(octets[60:64], "little")
    if octets[new_header : new_header + 2] in (b"PE", b"NE", b"LE", b"LX"):
        return Type.PE
    if new_header + 2 > len(octets) >= HEAD and new_header < 1 << 20:
        return Type.PE  # a header beyond what was looked at: it is no text
    last_page = int.from_bytes(octets[2:4], "little")
    return Type.DOS if last_page < 512 and len(octets) > 64 and b"\0" in octets[:64] else Type.UNKNOWN


def _text_type(head: bytes) -> Type:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\0", b"")[2:]
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"#!"):
        return Type.SHELL
    if head[:18].lower() == b"[internetshortcut]" or head.startswith(b"[{000214A0-0000-0000-C000-000000000046}]"):
        return Type.URL if _TO_A_FILE.search(head) or not _TO_A_PAGE.search(head) else Type.BOOKMARK
    if head.startswith(b"{\\rt"):
        return Type.RTF
    if head.startswith(b"<"):
        if _HTA.search(head):
            return Type.HTA
        if _PAGE.search(head):
            return Type.HTML
        return Type.OFFICE_XML if _OFFICE_XML.search(head) else Type.XML
    if head[:13].lower() == b"mime-version:":  # Word opens such files by any of its names
        return Type.MAIL
    return Type.UNKNOWN


# Types that are what their family says, whatever the name.
PROGRAMS = frozenset({Type.PE, Type.DOS, Type.ELF, Type.MACH_O})
SCRIPTS = frozenset({Type.ENCODED_SCRIPT, Type.HTA})
SHORTCUTS = frozenset({Type.LINK, Type.URL})
SYSTEM = frozenset({Type.REGISTRY, Type.HELP})
DISKS = frozenset({Type.ISO, Type.UDF, Type.DISK})
ARCHIVES = frozenset(
    {
        *(Type.ZIP, Type.RAR4, Type.RAR5, Type.SEVEN_ZIP, Type.GZIP, Type.BZIP2, Type.XZ, Type.LZMA, Type.ZLIB_Z),
        *(Type.ZSTD, Type.TAR, Type.CAB, Type.ACE, Type.ARJ, Type.LHA),
    }
)
# What only a look inside can judge.
DEEP = (
    ARCHIVES
    | DISKS
    | {Type.OLE, Type.RTF, Type.HTML, Type.ONENOTE, Type.TNEF, Type.MAIL, Type.OFFICE_XML, Type.ACTIVE_MIME}
)
