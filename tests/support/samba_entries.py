"""Owns what tests put into a real Active Directory, as LDIF: those attributes of Exchange that filterd reads, and entries.

Must not know the server (samba.py).
"""

from __future__ import annotations

import base64
import uuid

REALM = "ad.example.org"
BASE = "DC=ad,DC=example,DC=org"
CONFIGURATION = f"CN=Configuration,{BASE}"
SCHEMA = f"CN=Schema,{CONFIGURATION}"
STAFF = f"OU=Staff,{BASE}"
ACCEPTED = (
    f"CN=Accepted Domains,CN=Transport Settings,CN=First Organization,CN=Microsoft Exchange,CN=Services,{CONFIGURATION}"
)
NTDS = f"CN=NTDS Settings,CN=DC1,CN=Servers,CN=Default-First-Site-Name,CN=Sites,{CONFIGURATION}"
READER, READER_PASSWORD = (
    "filterd@ad.example.org",
    "Reader-Secret-1",
)  # an ordinary user: it may read, as everybody in AD

# Name, attributeSyntax, oMSyntax ([MS-ADTS] 3.1.1.2.2.2), whether a global catalog has it.  Our own OIDs: which attribute is
# in the global catalog of a forest is for its schema to say (facts: exchange.md 3.2), here one of each kind.
_ATTRIBUTES = (
    ("msExchRequireAuthToSendTo", "2.5.5.8", 1, True),
    ("msExchRecipientTypeDetails", "2.5.5.16", 65, True),
    ("msExchMessageHygieneSCLJunkThreshold", "2.5.5.9", 2, False),
    ("msExchMessageHygieneSCLQuarantineThreshold", "2.5.5.9", 2, False),
    ("msExchMessageHygieneSCLRejectThreshold", "2.5.5.9", 2, False),
    ("msExchMessageHygieneSCLDeleteThreshold", "2.5.5.9", 2, False),
    ("msExchSafeSendersHash", "2.5.5.10", 4, False),
    ("msExchBlockedSendersHash", "2.5.5.10", 4, False),
    ("msExchAcceptedDomainName", "2.5.5.12", 64, False),
    ("msExchAcceptedDomainFlags", "2.5.5.9", 2, False),
)
_OID = "1.2.840.113556.1.8000.2554.99999"  # the branch below which Microsoft's script makes OIDs for own schemas
_READABLE = (
    "D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)(A;;RPLCLORC;;;AU)"  # a container's
)


def entry(dn: str, kind: str, **values: str | bytes | int | bool | list[str]) -> str:
    """One entry as LDIF; octets are written in base64."""
    lines = [f"dn: {dn}", f"objectClass: {kind}"]
    for name, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bytes):
                lines.append(f"{name}:: {base64.b64encode(item).decode()}")
            else:
                lines.append(f"{name}: {str(item).upper() if isinstance(item, bool) else item}")
    return "\n".join(lines) + "\n\n"


def user(name: str, *addresses: str, password: str = "", within: str = STAFF, **more: str | bytes | int | bool) -> str:
    """A user with a mailbox, as LDIF: the first address is the primary one.  Without a password the account is disabled."""
    proxies = [f"{'smtp' if number else 'SMTP'}:{address}" for number, address in enumerate(addresses)]
    secret: dict[str, str | bytes | int] = {"userAccountControl": 514}
    if password:
        secret = {"userAccountControl": 512, "unicodePwd": f'"{password}"'.encode("utf-16-le")}
    return entry(
        f"CN={name},{within}",
        "user",
        sAMAccountName=name,
        userPrincipalName=f"{name}@{REALM}",
        displayName=name.capitalize(),
        **({"proxyAddresses": proxies} if proxies else {}),
        **secret,
        **more,
    )


def accepted_domain(name: str, flags: int = 0) -> str:
    """An accepted domain of Exchange, as LDIF: flags 0 authoritative, 1 external relay, 2 internal relay, 4 default."""
    label = name.replace("*.", "all.")
    return entry(
        f"CN={label},{ACCEPTED}",
        "msExchAcceptedDomain",
        msExchAcceptedDomainName=name,
        msExchAcceptedDomainFlags=flags,
    )


def _guid(name: str) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.schema.{REALM}").bytes


def schema() -> str:
    """The attributes of Exchange that are read."""
    return "".join(
        entry(
            f"CN={name},{SCHEMA}",
            "attributeSchema",
            lDAPDisplayName=name,
            attributeID=f"{_OID}.1.{number}",
            attributeSyntax=syntax,
            oMSyntax=kind,
            isSingleValued=True,
            isMemberOfPartialAttributeSet=catalog,
            schemaIDGUID=_guid(name),
        )
        for number, (name, syntax, kind, catalog) in enumerate(_ATTRIBUTES)
    )


def schema_class() -> str:
    """The class of accepted domains; it needs the attributes."""
    return entry(
        f"CN=msExchAcceptedDomain,{SCHEMA}",
        "classSchema",
        lDAPDisplayName="msExchAcceptedDomain",
        governsID=f"{_OID}.2.1",
        objectClassCategory=1,
        subClassOf="top",
        rDNAttID="cn",
        possSuperiors="container",
        mayContain=["msExchAcceptedDomainName", "msExchAcceptedDomainFlags"],
        defaultSecurityDescriptor=_READABLE,
        schemaIDGUID=_guid("msExchAcceptedDomain"),
    )


def schema_use() -> str:
    """Recipients may have the attributes, since Mail-Recipient is an auxiliary class of users, groups and contacts; and the
    global catalog has their addresses, as Exchange's schema makes it (facts: exchange.md 3.2)."""
    names = [name for name, *_ in _ATTRIBUTES if "AcceptedDomain" not in name]
    lines = [f"dn: CN=Mail-Recipient,{SCHEMA}", "changetype: modify", "add: mayContain"]
    catalog = [f"dn: CN=Proxy-Addresses,{SCHEMA}", "changetype: modify", "replace: isMemberOfPartialAttributeSet"]
    lines += [*(f"mayContain: {name}" for name in names), "", *catalog, "isMemberOfPartialAttributeSet: TRUE"]
    return "\n".join(lines) + "\n"


def skeleton() -> str:
    """STAFF, the containers above accepted domains, and the reader."""
    parts = ACCEPTED.removesuffix(f",CN=Services,{CONFIGURATION}").split(",")
    above = [",".join([*parts[number:], "CN=Services", CONFIGURATION]) for number in range(len(parts))]
    containers = "".join(entry(dn, "container") for dn in reversed(above))
    reader = user("filterd", password=READER_PASSWORD)
    return entry(STAFF, "organizationalUnit") + containers + reader
