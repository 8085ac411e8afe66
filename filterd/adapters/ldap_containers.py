"""Owns whether a container below the bases has changed: what lies in one that was moved there comes with it, without a new USN.

[MS-ADTS] 3.1.1.5.4 (a move changes the object that is moved, not those below it).  Must not know what becomes of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from filterd.adapters.ldap_link import Link

_CONTAINERS = ("organizationalUnit", "container", "builtinDomain", "msExchSystemObjectsContainer")


def container_changed(link: Link, bases: Iterable[str], since: int) -> bool:
    """Whether any has, after USN `since`; also when it was not moved, which nobody can tell.  Blocks; raises LdapError."""
    classes = "".join(f"(objectClass={name})" for name in _CONTAINERS)
    query = f"(&(uSNChanged>={since + 1})(|{classes}))"
    return any(page for base in bases for page in link.pages(base, query, ["objectGUID"]))
