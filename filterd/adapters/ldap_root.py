"""Owns what a directory server says of itself: its naming contexts, its name, its clock, how far its changes have come.

RFC 4512 section 5.1; [MS-ADTS] 3.1.1.3.2 (rootDSE).  Must not know what is read with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link

_ROOT = [
    "namingContexts",
    "defaultNamingContext",
    "configurationNamingContext",
    "schemaNamingContext",
    "highestCommittedUSN",
    "dsServiceName",
    "dnsHostName",
    "currentTime",
    "supportedControl",
    "isSynchronized",
    "isGlobalCatalogReady",
]
_DELETED = "1.2.840.113556.1.4.417"  # the control with which deleted objects are seen


@dataclass(frozen=True, slots=True)
class Root:
    """What a server says of itself.

    Attributes:
        contexts: naming contexts.
        default: the domain's; empty where the directory has none such (it is not Active Directory).
        configuration, schema: naming contexts of a forest; empty elsewhere.
        host: name of the server.
        usn: highest USN committed; None where changes are not numbered.
        now: the server's clock.
        sees_deleted: it knows the control for deleted objects.
    """

    contexts: tuple[str, ...] = ()
    default: str = ""
    configuration: str = ""
    schema: str = ""
    service: str = ""
    host: str = ""
    usn: int | None = None
    now: datetime | None = None
    sees_deleted: bool = False


def read_root(link: Link) -> Root:
    """Ask it.  Blocks; raises LdapError."""
    found = link.read("", _ROOT)
    if found is None:
        raise LdapError(
            f"{link.where}: the server does not say what it holds (no rootDSE): set ldap.bases and ldap.user", "base"
        )

    def text(name: str) -> str:
        values = found.attributes.get(name.lower())
        return values[0].decode("utf-8", "replace") if values else ""

    if (
        text("isSynchronized").upper() == "FALSE"
    ):  # a new controller, or one just restored: it does not have everybody yet
        raise LdapError(
            f"{link.where}: the controller is still copying the directory: ask another one, or wait", "refused"
        )
    if link.is_global_catalog and text("isGlobalCatalogReady").upper() == "FALSE":  # it lacks whole domains
        raise LdapError(f"{link.where}: the global catalog is still being built: ask another one, or wait", "refused")
    usn = text("highestCommittedUSN")
    return Root(
        contexts=tuple(value.decode("utf-8", "replace") for value in found.attributes.get("namingcontexts", ())),
        default=text("defaultNamingContext"),
        configuration=text("configurationNamingContext"),
        schema=text("schemaNamingContext"),
        service=text("dsServiceName"),
        host=text("dnsHostName").lower(),
        usn=int(usn) if usn.isascii() and usn.isdigit() and len(usn) < 20 else None,
        now=_time(text("currentTime")),
        sees_deleted=_DELETED.encode() in found.attributes.get("supportedcontrol", ()),
    )


def _time(text: str) -> datetime | None:
    """Generalized time as Active Directory writes it, 20261126234500.0Z."""
    try:
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
