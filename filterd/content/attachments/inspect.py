"""Owns the walk through one attachment: names, types, files inside files, within bounds.  Iterative; never raises.

Must not know mail, policy or processes: findings come out one by one, so that what was found before a bound or a kill stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from filterd.content.attachments import (
    documents,
    images,
    magic,
    mails,
    opened,
    pages,
    rar,
    rtf,
    sevenzip,
    tars,
    tnef,
    word_xml,
    zips,
)
from filterd.content.attachments.documents import Fact
from filterd.content.attachments.families import EXTENSIONS
from filterd.content.attachments.finding import (
    BadArchiveError,
    BombError,
    Bounds,
    Budget,
    BudgetError,
    Finding,
    Kind,
    Member,
    shown,
    shown_path,
)
from filterd.content.attachments.magic import Type, true_type
from filterd.content.attachments.outside import of_name, of_type, outside
from filterd.content.attachments.unpack import bunzip, gunzip, unxz

MAX_FINDINGS = 16  # of one kind in one attachment; more say nothing new, and must not hide other kinds
_OFFICE = 1_048_576  # octets of one part of an OOXML file that are looked at


@dataclass(slots=True)
class _Job:
    """One attachment in work."""

    bounds: Bounds
    budget: Budget
    passwords: Sequence[str]


@dataclass(slots=True)
class _File:
    """One file that waits to be looked into; `depth` counts the archives around it."""

    path: tuple[str, ...]
    depth: int
    octets: bytes
    endings: frozenset[str]  # what its names and its declared type promise


def inspect(
    given: Sequence[str], declared: str, octets: bytes, bounds: Bounds | None = None, passwords: Sequence[str] = ()
) -> Iterator[Finding]:
    """Everything that is found about one attachment and what lies inside it.

    Args:
        given: file names that the part's header gives, the one that is shown first; none is fine.
        declared: lower-case type/subtype.
        octets: the decoded attachment.
        passwords: what the text gives as password.
    """
    bounds = bounds or Bounds()
    job = _Job(bounds, Budget(bounds, len(octets)), passwords)
    seen: dict[Kind, set[Finding]] = {}
    for finding in _walk(job, given, declared, octets):
        known = seen.setdefault(finding.kind, set())
        if finding not in known and len(known) < MAX_FINDINGS:
            known.add(finding)
            yield finding


def surface(given: Sequence[str], declared: str, head: bytes) -> tuple[list[Finding], bool]:
    """(what name, declared type and first octets say, whether the inside has to be looked at); cheap."""
    kind = true_type(head)
    found = list(outside(given, declared, kind))
    endings = opened.endings(given, declared)
    # an image's type shows only behind its first 32 KB
    image = any(EXTENSIONS.get(ending) is Kind.DISK_IMAGE for ending in endings)
    return list(dict.fromkeys(found)), image or opened.is_deep(kind, head, endings)


def _walk(job: _Job, given: Sequence[str], declared: str, octets: bytes) -> Iterator[Finding]:
    top = tuple(given[:1]) or ("",)
    yield from outside(given, declared, true_type(octets))
    waiting = [_File(top, 0, octets, opened.endings(given, declared))]
    path = top
    try:
        while waiting:
            file = waiting.pop()
            path = file.path
            inside: list[_File] = []
            yield from _guarded(job, file, inside)
            waiting += reversed(inside)
    except BombError as error:
        yield Finding(Kind.BOMB, shown_path(path), str(error))
    except BudgetError as error:
        yield Finding(Kind.UNREADABLE, shown_path(path), str(error))


def _guarded(job: _Job, file: _File, inside: list[_File]) -> Iterator[Finding]:
    """One file; whatever its reader stumbles over is a finding."""
    path = shown_path(file.path)
    try:
        yield from _look(job, file, inside)
    except (BombError, BudgetError):
        raise
    except BadArchiveError as error:
        yield Finding(Kind.UNREADABLE, path, shown(str(error)))
    except MemoryError:
        inside.clear()
        yield Finding(Kind.UNFINISHED, path, "needs more memory than it may have")
    except Exception as error:  # octets of strangers: a fault of a reader is a finding about them, never a crash
        yield Finding(Kind.UNREADABLE, path, f"damaged ({type(error).__name__})")


def _look(job: _Job, file: _File, inside: list[_File]) -> Iterator[Finding]:
    kind, octets = opened.opened_as(file.octets, file.endings)
    if octets is not file.octets:
        file = replace(file, octets=octets)
    path = shown_path(file.path)
    if kind is Type.HTML:
        for found, detail in pages.look(file.octets):
            yield Finding(found, path, detail)
        return
    if kind is Type.UNKNOWN and file.octets and file.endings & opened.ARCHIVE_NAMES:
        yield Finding(Kind.UNREADABLE, path, "named as an archive, and none that is known")
    if kind in (Type.DISK, Type.UDF, Type.ACE, Type.ARJ, Type.LHA, Type.ZSTD, Type.ZLIB_Z):
        yield Finding(Kind.UNREADABLE, path, f"{kind.value}: not looked into")
        return
    if kind is Type.ISO and images.has_udf(file.octets):
        yield Finding(Kind.UNREADABLE, path, "a UDF tree beside the others, which Windows shows: not looked into")
    reader = _READERS.get(kind)
    if reader is None:
        return
    depth = file.depth + (kind in magic.ARCHIVES or kind in magic.DISKS or kind is Type.MAIL)
    job.budget.depth(depth)
    encrypted = False
    for item in reader(job, file):
        if not isinstance(item, Member):
            if item[0] is Kind.ENCRYPTED and job.passwords:
                item = (Kind.PASSWORD_IN_TEXT, item[1])
            yield Finding(item[0], path, shown(item[1]))
            continue
        if item.encrypted and not encrypted:
            encrypted = True
            what = f"{kind.value}, {'names too' if not item.name else 'names can be read'}"
            yield Finding(Kind.PASSWORD_IN_TEXT if job.passwords else Kind.ENCRYPTED, path, what)
        yield from _member(job, file, depth, item, inside, kind)


# Files lie in these as they are: what is cut out of them was counted when they were unpacked themselves.
_AS_THEY_ARE = frozenset({Type.TAR, Type.ISO, Type.OLE, Type.RTF, Type.ONENOTE, Type.TNEF, Type.UNKNOWN, Type.HTML})


def _member(
    job: _Job, file: _File, depth: int, member: Member, inside: list[_File], container: Type
) -> Iterator[Finding]:
    job.budget.member(member.size)
    where = (*file.path, member.name)
    if not member.quiet:
        for name in (member.name, *member.aliases):
            yield from of_name(where, name)
    if member.read is None:
        return
    try:
        head = member.read(magic.IMAGE_HEAD)
    except BadArchiveError as error:
        if not member.encrypted:
            yield Finding(Kind.UNREADABLE, shown_path(where), shown(str(error)))
        return
    packs = container not in _AS_THEY_ARE
    job.budget.unpacked(len(head) if packs else 0)
    kind = true_type(head)
    yield from of_type(where, member.name, "", kind)
    if container is Type.ONENOTE and kind not in (Type.IMAGE, Type.MEDIA, Type.PDF):
        yield Finding(Kind.ACTIVE, shown_path(where), f"a file in OneNote ({kind.value})")
    office = container is Type.ZIP and documents.is_office_part(member.name)
    endings = frozenset() if member.quiet else opened.endings((member.name, *member.aliases), "")
    deep = opened.is_deep(kind, head, endings)
    if not office and not deep:
        return
    octets = head
    if len(head) >= magic.IMAGE_HEAD:
        octets = member.read(_OFFICE if office else job.budget.left + 1)
        job.budget.unpacked(len(octets) - len(head) if packs else 0)
    if office:
        for found, detail in documents.office_part(member.name, octets):
            yield Finding(found, shown_path(file.path), detail)
    if deep:
        inside.append(_File(where, depth, octets, endings))


# ---------------------------------------------------------------- readers


_Reader = Callable[[_Job, _File], Iterator[Member | Fact]]


def _single(unpack: Callable[[bytes, int], bytes], job: _Job, file: _File) -> Iterator[Member | Fact]:
    """A packed file without a name of its own: the archive's without its last extension."""
    inner = file.path[-1].rpartition(".")[0] or file.path[-1]
    low = file.path[-1].lower()
    if low.endswith((".tgz", ".tbz", ".tbz2", ".txz")):
        inner += ".tar"
    yield Member(inner, read=partial(unpack, file.octets), aliases=_gzip_name(file.octets))


def _gzip_name(octets: bytes) -> tuple[str, ...]:
    """The name that gzip's header gives, without FEXTRA before it (RFC 1952 2.3): some programs unpack to that one."""
    if octets[:3] != b"\x1f\x8b\x08" or octets[3:4] not in (b"\x08", b"\x18"):
        return ()
    name, nul, _ = octets[10:300].partition(b"\0")
    return (name.decode("cp1252", "replace"),) if nul else ()


_READERS: dict[Type, _Reader] = {
    Type.ZIP: lambda job, file: zips.members(file.octets, job.passwords),
    Type.RAR4: lambda job, file: rar.members_4(file.octets),
    Type.RAR5: lambda job, file: rar.members_5(file.octets),
    Type.SEVEN_ZIP: lambda job, file: sevenzip.members(file.octets, job.budget.left),
    Type.TAR: lambda job, file: tars.members(file.octets),
    Type.CAB: lambda job, file: images.cab_members(file.octets),
    Type.ISO: lambda job, file: images.iso_members(file.octets),
    Type.GZIP: partial(_single, gunzip),
    Type.BZIP2: partial(_single, bunzip),
    Type.XZ: partial(_single, unxz),
    Type.LZMA: partial(_single, unxz),
    Type.OLE: lambda job, file: documents.ole_members(file.octets, job.budget.left),
    Type.RTF: lambda job, file: rtf.members(file.octets),
    Type.MAIL: lambda job, file: mails.members(file.octets),
    Type.OFFICE_XML: lambda job, file: word_xml.members(file.octets),
    Type.ACTIVE_MIME: lambda job, file: word_xml.active_mime(file.octets),
    Type.ONENOTE: lambda job, file: documents.onenote_members(file.octets),
    Type.TNEF: lambda job, file: tnef.members(file.octets),
}
