"""Owns a real Active Directory domain controller: Debian's Samba, LDAP only, below one folder, on a loopback address of its own.

Its schema has the attributes of Exchange that filterd reads, not all of Exchange's; accepted domains lie where Exchange keeps
them.  Ports are fixed (389, 636, 3268, 3269), hence the address.  Needs root and Debian's samba-ad-dc, samba-ad-provision, ldb-tools.
"""

from __future__ import annotations

import base64
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import server_binary
from tests.support.certificate import write_certificate
from tests.support.daemon import wait_until
from tests.support.samba_entries import NTDS, REALM, schema, schema_class, schema_use, skeleton

_ADMIN_PASSWORD = "Admin-Secret-1"
_PORTS = (389, 636, 3268, 3269)
_START_SECONDS = 60.0

_SETTINGS = """\
server services = ldap
dcerpc endpoint servers = none
interfaces = {address}/8
bind interfaces only = yes
pid directory = {folder}/run
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/log.%m
tls enabled = yes
tls certfile = {certificate}
tls keyfile = {key}
tls cafile = {certificate}
ldap server require strong auth = allow_sasl_over_tls
"""


@dataclass
class DomainController:
    """A domain controller.

    Attributes:
        certificate: the authority to trust, and what it shows for `dc1.ad.example.org` and its address.
    """

    folder: Path
    address: str
    certificate: Path
    key: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def urls(self) -> dict[str, str]:
        """How to reach it: with LDAPS, with StartTLS, and so the global catalog."""
        return {
            "ldaps": f"ldaps://{self.address}",
            "starttls": f"ldap://{self.address}",
            "gc": f"ldaps://{self.address}:3269",
            "gc_starttls": f"ldap://{self.address}:3268",
        }

    # ------------------------------------------------------------ the server

    def start(self) -> None:
        """Start it, one process, and wait until it listens."""
        assert self.process is None
        with (self.folder / "out").open("ab") as out:
            command = [_program("samba"), "-i", "-F", "-M", "single", "--debug-stdout", "-s", str(self._config)]
            # A session of its own: whatever it starts can be ended with it.  It ends by itself when its standard input, a
            # pipe, is closed: when the test process dies too.
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True
            )
        try:
            wait_until(lambda: self._gone() or all(map(self._listens, _PORTS)), _START_SECONDS, "Samba to listen")
            assert not self._gone(), (
                f"Samba does not start: {(self.folder / 'out').read_text('utf-8', 'replace')[-2000:]}"
            )
        except AssertionError:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, also when it is paused; nothing when it is gone."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for number in (signal.SIGCONT, signal.SIGTERM):
            _signal_all(process.pid, number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_all(process.pid, signal.SIGKILL)
            process.wait(10)

    def kill(self) -> None:
        """End it as a power cut does."""
        process, self.process = self.process, None
        assert process is not None
        assert process.stdin is not None
        _signal_all(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdin.close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """It is not there meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.address, port)) == 0

    # ------------------------------------------------------------ what it knows

    @property
    def _config(self) -> Path:
        return self.folder / "etc" / "smb.conf"

    def change(self, ldif: str, *options: str) -> None:
        """Apply LDIF with any change types to its database, whether it runs or not; all of it or nothing."""
        self._tool("ldbmodify", ldif, *options)

    def add(self, ldif: str, *options: str) -> None:
        """Add entries; all of them or none."""
        self._tool("ldbadd", ldif, *options)

    def delete(self, dn: str) -> None:
        """Delete an object; it stays as a tombstone."""
        self.change(f"dn: {dn}\nchangetype: delete\n")

    def move(self, dn: str, name: str, within: str) -> None:
        """Rename an object, or move it to another container."""
        self.change(f"dn: {dn}\nchangetype: moddn\nnewrdn: {name}\ndeleteoldrdn: 1\nnewsuperior: {within}\n")

    def replace(self, dn: str, **values: list[str]) -> None:
        """Give attributes other values; an empty list takes the attribute away."""
        lines = [f"dn: {dn}", "changetype: modify"]
        for name, items in values.items():
            lines += [f"replace: {name}", *(f"{name}: {item}" for item in items), "-"]
        self.change("\n".join(lines) + "\n")

    def usn(self) -> int:
        """The highest committed USN."""
        found = re.search(r"^highestCommittedUSN: (\d+)$", self._tool("ldbsearch", "", "-b", "", "-s", "base"), re.M)
        assert found is not None
        return int(found[1])

    def new_invocation(self) -> None:
        """Be another instance of the same controller, which Windows makes it after a supported restore from backup."""
        fresh = base64.b64encode(uuid.uuid4().bytes).decode()
        self.change(f"dn: {NTDS}\nchangetype: modify\nreplace: invocationId\ninvocationId:: {fresh}\n", "--relax")

    @contextmanager
    def set_back(self) -> Iterator[None]:
        """What happens in the block is forgotten after it, USNs too, as after a snapshot of a virtual machine was put back."""
        self.stop()
        private, copy = self.folder / "private", self.folder / "private.copy"
        shutil.copytree(private, copy, copy_function=_copy_file, ignore=shutil.ignore_patterns("ldapi"))
        self.start()
        try:
            yield
        finally:
            self.stop()
            shutil.rmtree(private)
            copy.rename(private)
            self.start()

    def _tool(self, name: str, ldif: str, *options: str) -> str:
        database = str(self.folder / "private" / "sam.ldb")
        command = [_program(name), "-H", database, f"--configfile={self._config}", *options]
        done = subprocess.run(command, input=ldif, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        return done.stdout


def _copy_file(source: str, target: str) -> str:
    return str(shutil.copy2(source, target))


def _program(name: str) -> str:
    found = server_binary(name)
    assert found is not None, f"{name} is missing"
    return found


def _signal_all(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _free_address() -> str:
    """An address of 127/8 on which nobody has the ports; by chance, so that runs side by side do not meet."""
    for _ in range(50):
        address = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        try:
            for port in _PORTS:
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address
    raise AssertionError("no address of 127/8 has the ports of a domain controller free")


@contextmanager
def domain_controller(ldif: str = "") -> Iterator[DomainController]:
    """A running controller with the reader, an organizational unit STAFF, and the entries of `ldif`; it takes about 7 s.

    Its folder is not below pytest's: the path of a socket in it may have 107 octets.
    """
    with tempfile.TemporaryDirectory(prefix="filterd-dc-") as name:
        folder, address = Path(name).resolve(), _free_address()
        certificate, key = write_certificate(folder / "tls", f"dc1.{REALM}", address)
        key.chmod(0o600)  # Samba takes no other
        controller = DomainController(folder, address, certificate, key)
        _provision(controller)
        controller.add(schema(), "--option=dsdb:schema update allowed=yes")
        controller.add(schema_class(), "--option=dsdb:schema update allowed=yes")
        controller.change(schema_use(), "--option=dsdb:schema update allowed=yes")
        controller.add(skeleton() + ldif)
        try:
            controller.start()
            yield controller
        finally:
            controller.stop()


def _provision(controller: DomainController) -> None:
    folder = controller.folder
    command = [
        _program("samba-tool"),
        *("domain", "provision", f"--realm={REALM.upper()}", "--domain=AD", "--server-role=dc", "--dns-backend=NONE"),
        *(f"--adminpass={_ADMIN_PASSWORD}", f"--targetdir={folder}", "--host-name=dc1"),
        f"--host-ip={controller.address}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for sub in ("run", "ncalrpc"):
        (folder / sub).mkdir()
    settings = _SETTINGS.format(
        folder=folder, address=controller.address, certificate=controller.certificate, key=controller.key
    )
    ours = [line.partition(" =")[0] for line in settings.splitlines()]
    made = (folder / "etc" / "smb.conf").read_text().partition("\n[homes]")[0]  # no shares
    kept = [line for line in made.splitlines() if line.strip().partition(" =")[0] not in ours]
    (folder / "etc" / "smb.conf").write_text("\n".join(kept) + "\n" + settings)
