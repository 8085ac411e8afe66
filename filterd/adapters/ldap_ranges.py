"""Owns putting together what a server gives in parts: Active Directory has at most 1,500 values of an attribute in one answer.

[MS-ADTS] 3.1.1.3.1.3.3 (range retrieval); RFC 4512 section 2.5 (attribute options).  Must not know what the attributes mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from filterd.adapters.ldap_errors import LdapError, printable
from filterd.wire.ldap_answer import Entry

MAX_PARTS = 100  # of one attribute of one object: 150,000 values; addresses are at most some thousands
_RANGE = re.compile(r"range=(\d{1,9})-(\d{1,9}|\*)")

Read = Callable[[str, Sequence[str]], Entry | None]  # one object by its DN, as the server gives it


def whole(entry: Entry, read: Read, where: str) -> Entry:
    """The entry with all values under the plain names of their attributes.

    Args:
        read: asks for further parts; only when there are some.
    Raises LdapError: as `read`, and for a server whose parts do not go on.
    """
    if not any(";" in name for name in entry.attributes):
        return entry
    found: dict[str, list[bytes]] = {}
    for described, values in entry.attributes.items():
        name, _, options = described.partition(";")
        found.setdefault(name, []).extend(values)
        begin = _RANGE.fullmatch(options)
        if begin is not None and begin[2] != "*":
            found[name].extend(_rest(entry.dn, name, int(begin[2]) + 1, read, where))
    return Entry(entry.dn, found)


def _rest(dn: bytes, name: str, at: int, read: Read, where: str) -> list[bytes]:
    values: list[bytes] = []
    for _ in range(MAX_PARTS):
        part = read(dn.decode("utf-8", "replace"), [f"{name};range={at}-*"])
        if part is None:
            return values  # gone meanwhile: that is a change of its own
        for described, more in part.attributes.items():
            base, _, options = described.partition(";")
            span = _RANGE.fullmatch(options)
            if base != name or span is None or int(span[1]) != at:
                continue
            values += more
            if span[2] == "*":
                return values
            at = int(span[2]) + 1
            break
        else:
            return values  # fewer than there were: a change of its own, too
    text = f"{name} of {printable(dn.decode('utf-8', 'replace'))} does not come to an end: see the directory's own log"
    raise LdapError(f"{where}: {text}", "broken")
