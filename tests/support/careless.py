"""Owns the most careless reader of a header section, for proofs that even it finds no field that only we may write.

Not part of the product.
"""

from __future__ import annotations

import re

from filterd.mail.headers import FORBIDDEN_PREFIXES
from filterd.mail.message import Message

FORBIDDEN = tuple(prefix.encode() for prefix in FORBIDDEN_PREFIXES)


def lenient(octets: bytes) -> list[bytes]:
    """The field names that the most careless reader of a header section sees, in lower case.

    Every CR, LF and NUL ends a line, or folds are taken out first; octets that cannot stand in a name count for nothing, before the
    colon and within.  Only what stands before the first colon of a line that does not begin with a blank is a name.  The section
    ends where a strict reader sees its end; whoever sees it sooner believes less.
    """
    section = Message(octets).header_section
    unfolded = re.sub(rb"\r\n(?=[ \t])", b"", section)
    lines = [*re.split(rb"[\r\n\0]+", section), *unfolded.split(b"\r\n")]
    names = [line.partition(b":")[0] for line in lines if b":" in line and line[:1] not in (b" ", b"\t")]
    return [bytes(octet for octet in name if 33 <= octet <= 126).lower() for name in names]


def sees_forged(octets: bytes) -> list[bytes]:
    """Those of them that Exchange or a transport rule would believe."""
    return [name for name in lenient(octets) if name.startswith(FORBIDDEN)]
