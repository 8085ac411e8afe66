"""Owns a fixed selection of real messages for functional tests; they stay outside the repository."""

from __future__ import annotations

import functools
import tarfile

from tests.support.material import corpus_archive


@functools.cache
def real_messages(count: int) -> tuple[tuple[str, bytes], ...]:
    """`count` (path, octets with CRLF, mbox line stripped), spread evenly over the corpus; skips when it is not here."""
    archive = corpus_archive()
    with tarfile.open(archive) as tar:
        members = [m for m in tar if m.isfile() and not m.name.endswith((".tsv", ".md"))]
        members.sort(key=lambda m: m.name)
        chosen = {members[index * len(members) // count].name for index in range(count)}
        found = []
        for member in members:
            if member.name in chosen:
                file = tar.extractfile(member)
                assert file is not None
                found.append((member.name, as_smtp(file.read())))
    return tuple(found)


def as_smtp(octets: bytes) -> bytes:
    """A file of the corpus as a client would send it: CRLF line ends, no mbox line; odd octets stay as they are."""
    if octets.startswith(b"From "):
        octets = octets.partition(b"\n")[2]
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"
