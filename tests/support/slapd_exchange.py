"""Owns a real slapd that says what Active Directory with Exchange says, as far as filterd asks: rootDSE, GUIDs, USNs, mail attributes.

What it holds is given anew as a whole (`publish`); attributes have OIDs of our own.  Needs Debian's slapd, not root.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import server_binary
from tests.support.authority import Authority
from tests.support.slapd import Slapd

BASE = "dc=example,dc=org"
STAFF = f"ou=staff,{BASE}"
CONFIGURATION = f"cn=configuration,{BASE}"
NTDS = f"cn=ntds settings,{CONFIGURATION}"
READER, READER_PASSWORD = f"cn=filterd,{BASE}", "Reader-Secret-1"
HOST = "dc1.example.org"
INVOCATION = bytes(range(16))

_OID = "1.2.840.113556.1.8000.2554.88888"
_TEXTS = (  # compared without case
    "proxyAddresses defaultNamingContext configurationNamingContext schemaNamingContext dsServiceName dnsHostName "
    "currentTime msExchAcceptedDomainName"
)
_NUMBERS = (
    "uSNChanged highestCommittedUSN msExchRecipientTypeDetails msExchAcceptedDomainFlags "
    "msExchMessageHygieneSCLDeleteThreshold msExchMessageHygieneSCLRejectThreshold "
    "msExchMessageHygieneSCLQuarantineThreshold msExchMessageHygieneSCLJunkThreshold"
)
_OCTETS = "objectGUID invocationId msExchSafeSendersHash msExchBlockedSendersHash"
_FLAGS = "msExchRequireAuthToSendTo"
_CLASSES = {
    "user": "proxyAddresses $ mail $ displayName $ objectGUID $ uSNChanged $ msExchRecipientTypeDetails $ "
    "msExchRequireAuthToSendTo $ msExchSafeSendersHash $ msExchBlockedSendersHash $ "
    "msExchMessageHygieneSCLDeleteThreshold $ msExchMessageHygieneSCLRejectThreshold $ "
    "msExchMessageHygieneSCLQuarantineThreshold $ msExchMessageHygieneSCLJunkThreshold $ userPassword",
    "group": "member $ displayName $ proxyAddresses $ mail $ objectGUID $ uSNChanged $ msExchRequireAuthToSendTo",
    "msExchAcceptedDomain": "msExchAcceptedDomainName $ msExchAcceptedDomainFlags $ uSNChanged $ objectGUID",
    "nTDSDSA": "invocationId",
}
_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {folder}/exchange.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
{tls}
{root_dse}
threads 4
referral ldap://dc1.other.example
database mdb
maxsize 4294967296
suffix "{base}"
directory {folder}/data
index objectClass,uSNChanged eq
index proxyAddresses eq,sub
sizelimit {size_limit}
limits dn.exact="{reader}" size=500 size.prtotal={paged_limit}
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="{hidden}" by * disclose
access to * by dn.exact="{reader}" read by anonymous {anonymous}
"""


def _schema() -> str:
    lines, number = [], 0
    kinds = (
        (_TEXTS, "EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15"),
        (
            _NUMBERS,
            "EQUALITY integerMatch ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE",
        ),
        (_OCTETS, "EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE"),
        (_FLAGS, "EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE"),
    )
    for names, rest in kinds:
        for name in names.split():
            number += 1
            lines.append(f"attributetype ( {_OID}.1.{number} NAME '{name}' {rest} )")
    for place, (name, may) in enumerate(_CLASSES.items(), 1):
        lines.append(f"objectclass ( {_OID}.2.{place} NAME '{name}' SUP top STRUCTURAL MUST cn MAY ( {may} ) )")
    return "\n".join(lines) + "\n"


Value = str | bytes | int | bool


def guid(name: str) -> bytes:
    """The objectGUID of the object that was made with this name."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, name).bytes


def entry(dn: str, kind: str, **values: Value | Sequence[Value]) -> str:
    """One entry as LDIF."""
    lines = [f"dn:: {base64.b64encode(dn.encode()).decode()}", f"objectClass: {kind}"]
    for name, value in values.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            text = (
                item if isinstance(item, bytes) else str(str(item).upper() if isinstance(item, bool) else item).encode()
            )
            lines.append(f"{name}:: {base64.b64encode(text).decode()}")
    return "\n".join(lines) + "\n\n"


def user(name: str, *addresses: str, usn: int = 1, within: str = STAFF, **more: Value | Sequence[Value]) -> str:
    """A user with a mailbox: the first address is the primary one."""
    proxies = [f"{'smtp' if number else 'SMTP'}:{address}" for number, address in enumerate(addresses)]
    values = {"objectGUID": guid(name), "uSNChanged": usn, "displayName": name.title(), **more}
    return entry(f"cn={name},{within}", "user", cn=name, **values, **({"proxyAddresses": proxies} if proxies else {}))


def group(name: str, *members: str, **more: Value | Sequence[Value]) -> str:
    """A group of users or groups, given by DN."""
    return entry(f"cn={name},{BASE}", "group", cn=name, objectGUID=guid(name), member=members, **more)


def domain(name: str, flags: int = 0) -> str:
    """An accepted domain: flags 0 authoritative, 1 external relay, 2 internal relay, 4 default."""
    dn = f"cn={name.replace('*', 'all')},{CONFIGURATION}"
    return entry(
        dn,
        "msExchAcceptedDomain",
        cn=name.replace("*", "all"),
        msExchAcceptedDomainName=name,
        msExchAcceptedDomainFlags=flags,
    )


@dataclass
class ExchangeDirectory(Slapd):
    """A directory whose contents, USN and certificate can be given anew.

    Attributes:
        authority: who issued the certificate; None: it has no TLS.
        active_directory: it says of itself what Active Directory says; else it is any LDAP server.
        clock: currentTime in rootDSE; empty: none.
        root_user: mail attributes are read by READER; whatever is below `hidden` by nobody.
    """

    authority: Authority | None = None
    active_directory: bool = True
    clock: str = ""
    invocation: bytes = INVOCATION
    host: str = HOST
    size_limit: str = "500"
    paged_limit: str = "unlimited"
    anonymous: str = "auth"
    hidden: str = f"ou=hidden,{BASE}"
    names: Sequence[str] = field(default=("localhost", "127.0.0.1"))

    def publish(self, ldif: Iterable[str] = (), usn: int = 1) -> None:
        """Hold these entries besides its own, with this as the highest USN; it is started anew, at other ports."""
        self.stop()
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        (self.folder / "data").mkdir(parents=True)
        self._write_settings(usn)
        (self.folder / "all.ldif").write_text(self._skeleton() + "".join(ldif))
        slapadd = server_binary("slapadd")
        assert slapadd is not None
        command = [slapadd, "-q", "-f", str(self.folder / "slapd.conf"), "-l", str(self.folder / "all.ldif")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        self.start()

    def restart(self) -> None:
        """With settings that were changed; its entries stay."""
        self.stop()
        self._write_settings(self._usn)
        self.start()

    def kill(self) -> None:
        """End it as a power cut does."""
        process, self.process = self.process, None
        assert process is not None
        process.kill()
        process.wait(10)

    def _write_settings(self, usn: int) -> None:
        self._usn = usn
        says = ""
        if self.active_directory:
            says = (
                f"defaultNamingContext: {BASE}\nconfigurationNamingContext: {CONFIGURATION}\n"
                f"dsServiceName: {NTDS}\ndnsHostName: {self.host}\nhighestCommittedUSN: {usn}\n"
            )
        says += f"currentTime: {self.clock}\n" if self.clock else ""
        (self.folder / "root.ldif").write_text(f"dn:\n{says}")
        (self.folder / "exchange.schema").write_text(_schema())
        tls = ""
        if self.authority is not None:
            certificate, key = self.folder / "server.pem", self.folder / "server-key.pem"
            if not certificate.exists():
                self.authority.issue(self.folder, self.names)
            tls = f"TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}"
        settings = _CONFIG.format(
            folder=self.folder,
            tls=tls,
            base=BASE,
            reader=READER,
            size_limit=self.size_limit,
            paged_limit=self.paged_limit,
            anonymous=self.anonymous,
            hidden=self.hidden,
            root_dse=f"rootDSE {self.folder}/root.ldif" if says else "",
        )
        (self.folder / "slapd.conf").write_text(settings)

    def _skeleton(self) -> str:
        parts = [
            entry(BASE, "domain", dc="example"),
            entry(STAFF, "organizationalUnit", ou="staff"),
            entry(self.hidden, "organizationalUnit", ou="hidden"),
            entry(READER, "user", cn="filterd", userPassword=READER_PASSWORD, objectGUID=guid("filterd"), uSNChanged=1),
            entry(CONFIGURATION, "nTDSDSA", cn="configuration"),
            entry(NTDS, "nTDSDSA", cn="ntds settings", invocationId=self.invocation),
        ]
        return "".join(parts)


@contextmanager
def exchange_directory(
    folder: Path, ldif: Iterable[str] = (), usn: int = 1, **more: object
) -> Iterator[ExchangeDirectory]:
    """A running directory with these entries, and LDAPS with a certificate of an authority of its own, until the block ends.

    `more`: attributes of ExchangeDirectory; authority=None for one without TLS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder / "authority")
    given: dict[str, object] = {"authority": authority, **more}
    server = ExchangeDirectory(folder, authority.certificate, **given)  # type: ignore[arg-type]  # by name, for tests
    try:
        server.publish(ldif, usn)
        yield server
    finally:
        server.stop()
