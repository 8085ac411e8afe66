"""Owns a real slapd: own configuration and database below a folder, loopback only, TLS, the accounts a test names.

It also grants unauthenticated binds (RFC 4513 section 5.1.2), as careless directories do.  Needs Debian's slapd, not root.
"""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import server_binary
from tests.support.certificate import write_certificate
from tests.support.daemon import free_port, wait_until
from tests.support.process import ServerProcess

BASE = "ou=people,dc=example,dc=org"

_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
allow bind_anon_cred bind_anon_dn
threads 4
database mdb
maxsize 1048576
suffix "dc=example,dc=org"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


def _escaped(value: str) -> str:
    """A value as RFC 4514 section 2.4 writes it, with backslashes; the product writes hex pairs."""
    text = "".join(f"\\{c}" if c in '\\"+,;<>=' else c for c in value)
    return f"\\{text}" if text[0] in "# " else text


def _entry(dn: str, *lines: tuple[str, str]) -> str:
    fields = [("dn", dn), *lines]
    return "".join(f"{name}:: {base64.b64encode(value.encode()).decode()}\n" for name, value in fields) + "\n"


@dataclass
class Slapd(ServerProcess):
    """Attributes: the certificate it shows, for 127.0.0.1 and localhost; the ports of LDAP and LDAPS."""

    folder: Path
    certificate: Path
    port: int = 0
    tls_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def urls(self) -> dict[str, str]:
        """How to reach it: with StartTLS, with LDAPS."""
        return {"starttls": f"ldap://127.0.0.1:{self.port}", "ldaps": f"ldaps://127.0.0.1:{self.tls_port}"}

    def start(self) -> None:
        """Start and wait until it listens; another program may have taken a port meanwhile, then again with others."""
        binary = server_binary("slapd")
        assert binary is not None
        for _ in range(3):
            self.port, self.tls_port = free_port(), free_port()
            urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
            with (self.folder / "log").open("ab") as log:
                command = [binary, "-f", str(self.folder / "slapd.conf"), "-h", urls, "-d", "0"]
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
            wait_until(lambda: self._gone() or all(map(_listens, (self.port, self.tls_port))), 30, "slapd to listen")
            if not self._gone():
                return
        raise AssertionError(f"slapd does not start: {(self.folder / 'log').read_text('utf-8', 'replace')[-2000:]}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def slapd(folder: Path, accounts: Mapping[str, str]) -> Iterator[Slapd]:
    """A slapd with `accounts` (uid -> password) below BASE, until the block ends."""
    certificate, key = write_certificate(folder)
    (folder / "data").mkdir()
    (folder / "slapd.conf").write_text(_CONFIG.format(folder=folder, certificate=certificate, key=key))
    ldif = _entry("dc=example,dc=org", ("objectClass", "domain"), ("dc", "example"))
    ldif += _entry(BASE, ("objectClass", "organizationalUnit"), ("ou", "people"))
    for uid, password in accounts.items():
        kinds = [("objectClass", "inetOrgPerson"), ("uid", uid), ("cn", uid), ("sn", uid)]
        ldif += _entry(f"uid={_escaped(uid)},{BASE}", *kinds, ("userPassword", password))
    (folder / "accounts.ldif").write_text(ldif)
    slapadd = server_binary("slapadd")
    assert slapadd is not None
    command = [slapadd, "-q", "-f", str(folder / "slapd.conf"), "-l", str(folder / "accounts.ldif")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    server = Slapd(folder, certificate)
    server.start()
    try:
        yield server
    finally:
        server.stop()
