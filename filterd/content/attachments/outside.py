"""Owns what is told about a file from outside: its names, its declared type, its first octets.

Must not know what lies inside (attachments/inspect.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filterd.content.attachments import magic, names
from filterd.content.attachments.families import DECLARED, DOCUMENTS
from filterd.content.attachments.finding import Finding, Kind, shown, shown_path
from filterd.content.attachments.magic import Type


def of_name(path: tuple[str, ...], name: str) -> Iterator[Finding]:
    """What a name says about the file at `path`."""
    for kind, detail in names.look(name):
        yield Finding(kind, shown_path(path), shown(detail))


def outside(given: Sequence[str], declared: str, kind: Type) -> Iterator[Finding]:
    """What names, declared type and true type of the attachment itself say."""
    top = tuple(given[:1]) or ("",)
    for name in given:
        for found in of_name(top, name):
            if found.detail != ".com" or kind in _NOT_KNOWN:  # "news from example.com" is the name of many a PDF
                yield found
    if declared in DECLARED:
        family, detail = DECLARED[declared]
        yield Finding(family, shown_path(top), detail)
    yield from of_type(top, top[0], declared, kind)


def last_extension(given: Sequence[str]) -> str:
    """The extension of the name that is shown, in lower case."""
    return (names.extensions(given[0]) or ("",))[0] if given else ""


_FAMILY_OF: dict[Type, Kind] = {
    **dict.fromkeys(magic.PROGRAMS, Kind.EXECUTABLE),
    **dict.fromkeys(magic.SCRIPTS, Kind.SCRIPT),
    **dict.fromkeys(magic.SHORTCUTS, Kind.SHORTCUT),
    **dict.fromkeys(magic.SYSTEM, Kind.SYSTEM),
    **dict.fromkeys(magic.DISKS, Kind.DISK_IMAGE),
    Type.ACCESS: Kind.DATABASE,
    Type.SHELL: Kind.UNCOMMON,
}
_NOT_KNOWN = frozenset({Type.UNKNOWN, Type.PE, Type.DOS, Type.ELF})  # what a .com file may be
_RUNS = frozenset({Kind.EXECUTABLE, Kind.SCRIPT, Kind.SHORTCUT, Kind.SYSTEM})
# Names and types that promise something to look at or listen to; an archive or a disk image behind them is a trick.
_PICTURE_NAMES = "pdf jpg jpeg png gif bmp tif tiff webp mp3 mp4 wav avi mov"
_PICTURES = frozenset(_PICTURE_NAMES.split())
_DOCUMENT = DOCUMENTS | _PICTURES | {"txt", "csv"}


def of_type(path: tuple[str, ...], name: str, declared: str, kind: Type) -> Iterator[Finding]:
    """What the octets say, and whether name or declared type say otherwise."""
    family = _FAMILY_OF.get(kind)
    last = last_extension((name,))
    if family is not None:
        yield Finding(family, shown_path(path), kind.value)
    promises = last in _DOCUMENT or declared.startswith(("image/", "audio/", "video/", "application/pdf"))
    if family in _RUNS and promises:
        yield Finding(Kind.DISGUISED, shown_path(path), f"a {kind.value} named or declared as something else")
    elif last in _PICTURES and (kind in magic.ARCHIVES or kind in magic.DISKS):
        yield Finding(Kind.DISGUISED, shown_path(path), f"a {kind.value} named .{last}")
