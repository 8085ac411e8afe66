"""Owns the measurement of the recipient directory with a million recipients: sync over LDAPS from a real slapd, memory, RCPT.

Run: python -m benchmarks.directory [--recipients 1000000] [--folder FOLDER]
It needs Debian's slapd, 3 GB of disk below FOLDER (default: that of temporary files) and some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ldap3

from filterd.adapters.directory import build_directory
from filterd.config import load_config
from filterd.deadline import Deadline
from filterd.directory.values import RecipientStatus
from tests.conftest import server_binary
from tests.support.authority import Authority
from tests.support.daemon import Daemon
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver
from tests.support.slapd_exchange import BASE, READER, READER_PASSWORD, STAFF, ExchangeDirectory
from tests.support.smtpclient import SmtpClient

CHANGES = 100
LOOK_UPS = 100_000  # of known and as many of unknown addresses
LIVE = 4000  # questions to the directory itself, half of them about unknown addresses
AT = ("p50", "p99", "p999", "max")
RCPTS = 3000  # over SMTP, of each kind
PER_TRANSACTION = {"250": 50, "550": 5}  # by the answer: a client with ten errors is left
PARTS = ("sync", "look-ups", "smtp")
KINDS = ("snapshot", "hashed file", "plain file")


def address(number: int) -> str:
    """As many people are called: 20 to 30 characters."""
    return f"firstname.lastname{number}@example.org"


def alias(number: int) -> str:
    """The second address, which every fifth has."""
    return f"flastname{number}@example.org"


def entries(count: int) -> Iterator[str]:
    """Users in LDIF, as Exchange makes them: primary address, X500 address, some a second one and a threshold."""
    for number in range(count):
        more = f"proxyAddresses: smtp:{alias(number)}\n" if number % 5 == 0 else ""
        more += "msExchMessageHygieneSCLJunkThreshold: -2147483644\n" if number % 50 == 0 else ""
        yield (
            f"dn: cn=user{number},{STAFF}\nobjectClass: user\ncn: user{number}\ndisplayName: Lastname, Firstname {number}\n"
            f"mail: {address(number)}\nproxyAddresses: SMTP:{address(number)}\n"
            f"proxyAddresses: X500:/o=Example/ou=Exchange Administrative Group/cn=Recipients/cn=user{number}\n{more}"
            f"objectGUID: {number:016d}\nuSNChanged: {number + 1}\nmsExchRecipientTypeDetails: 1\n\n"
        )


class LargeDirectory(ExchangeDirectory):
    """A million entries: filled from a file, without the index that only small directories can afford."""

    def fill(self, count: int) -> float:
        """Seconds that slapadd took."""
        (self.folder / "data").mkdir(parents=True)
        self._write_settings(count)
        with (self.folder / "all.ldif").open("w") as file:
            file.write(self._skeleton())
            file.writelines(entries(count))
        started = time.perf_counter()
        self._offline("slapadd", "all.ldif", "-q")
        (self.folder / "all.ldif").unlink()
        return time.perf_counter() - started

    def change(self, changed: dict[str, list[str]], usn: int) -> None:
        """Give users other addresses; `usn` is the highest then.  It listens at other ports afterwards."""
        # Not by slapmodify, which leaves the index of uSNChanged as it was.
        server = ldap3.Server(f"ldap://127.0.0.1:{self.port}", get_info=ldap3.NONE)
        with ldap3.Connection(server, f"cn=admin,{BASE}", READER_PASSWORD, auto_bind=True) as link:
            for number, (name, addresses) in enumerate(changed.items()):
                values = {"proxyAddresses": addresses, "uSNChanged": [str(usn - number)]}
                link.modify(name, {key: [(ldap3.MODIFY_REPLACE, texts)] for key, texts in values.items()})
                assert link.result["result"] == 0, link.result
        self.stop()
        self._write_settings(usn)
        self.start()

    def _write_settings(self, usn: int) -> None:
        super()._write_settings(usn)
        path = self.folder / "slapd.conf"
        text = path.read_text().replace("proxyAddresses eq,sub", "proxyAddresses eq")
        text = text.replace("directory ", f"rootdn cn=admin,{BASE}\nrootpw {READER_PASSWORD}\ndirectory ")
        path.write_text(text.replace("maxsize 4294967296", "maxsize 17179869184"))

    def _offline(self, program: str, name: str, *options: str) -> None:
        binary = server_binary(program)
        assert binary is not None, f"{program} is missing: install slapd"
        command = [binary, *options, "-f", str(self.folder / "slapd.conf"), "-l", str(self.folder / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


@dataclass(frozen=True, slots=True)
class Run:
    """A command that was run: what it said, seconds on the wall and of CPU, most resident memory in MB."""

    said: str
    seconds: float
    cpu: float
    peak_mb: float


def measured(command: Sequence[str]) -> Run:
    """Run a command to its end.  Raises SystemExit with its text when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(said)
    return Run(said, time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def filterd(config: Path, *words: str) -> Run:
    """A command of filterd."""
    return measured([sys.executable, "-m", "filterd", *words, "--config", str(config)])


def private_mb(pid: int | str = "self") -> float:
    """Memory of a process that is its own: what it maps of files it shares with other workers."""
    fields = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(words[1]) for words in fields if words[0] == "Anonymous:") / 1024


def resident_mb(pid: int | str = "self") -> float:
    """Resident memory of a process, mapped files too."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def unchanged(chance: random.Random, count: int) -> int:
    """A user who has the address of the beginning."""
    return chance.randrange(count // 2) * 2  # those with odd numbers may have got another


# ---------------------------------------------------------------- look-ups, each kind in a process of its own


async def look_ups(config: Path, count: int) -> dict[str, float]:
    """Time to build, memory, and microseconds of a look-up, through the chain as in a worker."""
    settings = load_config(config)
    before = private_mb(), resident_mb()
    started = time.perf_counter()
    directory = build_directory(settings)
    await directory.refresh()
    first = await directory.look_up(address(0).partition("@")[0], "example.org", Deadline.after(60))
    ready = time.perf_counter() - started
    gc.collect()
    memory = {"private_mb": private_mb() - before[0], "resident_mb": resident_mb() - before[1]}
    assert first.status is RecipientStatus.KNOWN
    chance = random.Random(7)
    numbers = [unchanged(chance, count) for _ in range(LOOK_UPS)]
    wanted = [(address(n).partition("@")[0], RecipientStatus.KNOWN) for n in numbers]
    wanted += [(f"nobody{n}", RecipientStatus.UNKNOWN) for n in numbers]
    chance.shuffle(wanted)
    gc.freeze()  # these lists are no part of a worker
    took, cpu = list[float](), list[float]()
    deadline = Deadline.after(600)
    for local, status in wanted:
        begun, used = time.perf_counter(), time.thread_time()
        answer = await directory.look_up(local, "example.org", deadline)
        cpu.append(time.thread_time() - used)
        took.append(time.perf_counter() - begun)
        assert answer.status is status
    await directory.refresh()
    await directory.close()
    return {"ready_s": ready, **memory, **cuts("wall", took), **cuts("cpu", cpu)}


def cuts(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Median, 99th and 99.9th percentile and the largest, in microseconds."""
    found = statistics.quantiles(seconds, n=1000)
    return {
        f"{name}_{at}": value * 1e6
        for at, value in zip(AT, (found[499], found[989], found[998], max(seconds)), strict=True)
    }


def asked_live(server: LargeDirectory, count: int) -> list[float]:
    """Seconds of a question to the directory itself, over one LDAPS connection that is open already (ldap3)."""
    chance = random.Random(5)
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(server.certificate))
    address_of = ldap3.Server(server.urls["ldaps"], get_info=ldap3.NONE, tls=tls)
    took = []
    with ldap3.Connection(address_of, READER, READER_PASSWORD, auto_bind=True) as link:
        for number in range(LIVE):
            known = number % 2 == 0
            local = address(unchanged(chance, count)) if known else f"nobody{number}@example.org"
            begun = time.perf_counter()
            link.search(BASE, f"(proxyAddresses=smtp:{local})", attributes=["objectGUID"])
            took.append(time.perf_counter() - begun)
            assert len(link.entries) == known
    return took


# ---------------------------------------------------------------- over SMTP


async def rcpts(port: int, locals_: Sequence[str], code: str) -> list[float]:
    """Milliseconds of each RCPT, one after the other; the first of each transaction does not count (it starts checks)."""
    took: list[float] = []
    each = PER_TRANSACTION[code]
    for start in range(0, len(locals_), each):
        client = await SmtpClient.greeted(port)
        await client.command("MAIL FROM:<sender@elsewhere.example>")
        for place, local in enumerate(locals_[start : start + each]):
            begun = time.perf_counter()
            answer = await client.command(f"RCPT TO:<{local}@example.org>")
            if place:
                took.append((time.perf_counter() - begun) * 1000)
            assert answer.startswith(code), answer
        await client.command("QUIT")
        client.writer.close()
    return took


def over_smtp(daemon: Daemon, count: int, *, unknown: bool) -> dict[str, list[float] | float]:
    """RCPT for known and unknown recipients, and the memory of the worker afterwards."""
    chance = random.Random(11)
    known = [address(unchanged(chance, count)).partition("@")[0] for _ in range(RCPTS)]
    found: dict[str, list[float] | float] = {"known": asyncio.run(rcpts(daemon.smtp_port, known, "250"))}
    if unknown:
        found["unknown"] = asyncio.run(rcpts(daemon.smtp_port, [f"nobody{n}" for n in range(RCPTS)], "550"))
    (worker,) = daemon.smtp_workers()
    found["private_mb"], found["resident_mb"] = private_mb(worker), resident_mb(worker)
    return found


def _limits() -> str:
    zero = ("connections_per_minute", "messages_per_minute", "sender_messages_per_minute", "harvest_unknown")
    return "[clients]\n" + "".join(f"{name} = 0\n" for name in zero)


# ---------------------------------------------------------------- all of it


def write_configs(folder: Path, server: LargeDirectory) -> dict[str, Path]:
    """A configuration for each kind; they share the state folder, and so the site's key."""
    (folder / "secret").write_text(READER_PASSWORD)
    head = f'[server]\nhostname = "filter.example.net"\nstate_dir = "{folder / "state"}"\n[recipients]\naccepted_domains = ["example.org"]\n'
    lists = {"hashed file": f'hashed_file = "{folder / "hashed"}"\n', "plain file": f'file = "{folder / "plain"}"\n'}
    found = {}
    for kind in KINDS:
        found[kind] = folder / f"{kind.split()[0]}.toml"
        found[kind].write_text(head + lists.get(kind, ldap_table(folder, server)))
    return found


def ldap_table(folder: Path, server: LargeDirectory) -> str:
    """The [[ldap]] table for the server."""
    return (
        f'[[ldap]]\nurls = ["{server.urls["ldaps"]}"]\nuser = "{READER}"\npassword_file = "{folder / "secret"}"\n'
        f'ca_file = "{server.certificate}"\nread_domains = false\n'
    )


def changes(count: int) -> dict[str, list[str]]:
    """A hundred users whose address changes."""
    step = count // CHANGES
    return {f"cn=user{n * step // 2 * 2 + 1},{STAFF}": [f"SMTP:married{n}@example.org"] for n in range(CHANGES)}


def sync_part(folder: Path, server: LargeDirectory, count: int) -> None:
    """Full, full again, incremental, nothing."""
    print("\n| sync | seconds | CPU s | peak MB | said |\n|---|---|---|---|---|")

    def row(name: str, run: Run) -> None:
        said = run.said.splitlines()[0].partition(": ")[2].rpartition("; ")[0][:120]
        print(f"| {name} | {run.seconds:.1f} | {run.cpu:.1f} | {run.peak_mb:.0f} | {said} |", flush=True)

    row("none: `print-config`", measured([sys.executable, "-m", "filterd", "print-config"]))
    row("full", filterd(write_configs(folder, server)["snapshot"], "directory", "sync"))
    row("full, beside a snapshot", filterd(write_configs(folder, server)["snapshot"], "directory", "sync", "--full"))
    server.change(changes(count), count + CHANGES)
    row(f"{CHANGES} changes", filterd(write_configs(folder, server)["snapshot"], "directory", "sync"))
    row("nothing changed", filterd(write_configs(folder, server)["snapshot"], "directory", "sync"))


def look_up_part(folder: Path, server: LargeDirectory, count: int) -> None:
    """The three kinds beside one another."""
    with (folder / "plain").open("w") as file:
        for number in range(count):
            file.write(f"{address(number)}\n" + (f"{alias(number)}\n" if number % 5 == 0 else ""))
    configs = write_configs(folder, server)
    filterd(configs["hashed file"], "directory", "hash", str(folder / "plain"), "--output", str(folder / "hashed"))
    files = {
        "snapshot": folder / "state" / "directory" / "ldap-ad.snapshot",
        "hashed file": folder / "hashed",
        "plain file": folder / "plain",
    }
    print("\n| kind | file MB | ready s | own MB | resident MB | p50 µs | p99 µs | p99.9 µs | max µs | of CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        command = [sys.executable, "-m", "benchmarks.directory", "--look-ups", str(configs[kind])]
        found = json.loads(measured([*command, "--recipients", str(count)]).said.splitlines()[-1])
        wall, cpu = (tuple(f"{found[f'{name}_{at}']:.0f}" for at in AT) for name in ("wall", "cpu"))
        sizes = f"{files[kind].stat().st_size / 1e6:.1f} | {found['ready_s']:.2f} | {found['private_mb']:.0f} | {found['resident_mb']:.0f}"
        print(f"| {kind} | {sizes} | {' | '.join(wall)} | {', '.join(cpu)} |", flush=True)
    live = cuts("wall", asked_live(server, count))
    print(f"| asked live | | | | | {' | '.join(f'{value:.0f}' for value in live.values())} | |", flush=True)


def smtp_part(folder: Path, server: LargeDirectory, count: int) -> None:
    """A worker with the snapshot beside one that takes everybody."""
    print("\n| worker | RCPT | p50 ms | p99 ms | max ms | own MB | resident MB |\n|---|---|---|---|---|---|---|")
    with running_exchange(folder / "mail") as exchange, running_nameserver() as dns:
        for name, extra in (("takes everybody", ""), ("snapshot", ldap_table(folder, server))):
            where = folder / name.split()[0]
            daemon = Daemon(where, exchange.port, dns, workers=1, extra=_limits() + extra)
            if extra:
                shutil.copytree(folder / "state" / "directory", where / "state" / "directory")
            daemon.start()
            try:
                found = over_smtp(daemon, count, unknown=bool(extra))
            finally:
                daemon.stop()
            for kind in ("known", "unknown"):
                took = found.get(kind)
                if isinstance(took, list):
                    found_at = statistics.quantiles(took, n=100)
                    print(
                        f"| {name} | {kind} | {found_at[49]:.2f} | {found_at[98]:.2f} | {max(took):.2f} "
                        f"| {found['private_mb']:.0f} | {found['resident_mb']:.0f} |",
                        flush=True,
                    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts; the first sync is always made")
    parser.add_argument("--look-ups", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look_ups is not None:
        print(json.dumps(asyncio.run(look_ups(options.look_ups, options.recipients))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="filterd-directory-") as name:
        folder = Path(name)
        authority = Authority(folder / "authority")
        server = LargeDirectory(folder, authority.certificate, authority=authority)
        seconds = server.fill(options.recipients)
        print(f"{options.recipients} recipients; slapadd took {seconds:.0f} s", flush=True)
        server.start()
        try:
            if "sync" not in options.only:
                filterd(write_configs(folder, server)["snapshot"], "directory", "sync")
            for name in options.only:
                {"sync": sync_part, "look-ups": look_up_part, "smtp": smtp_part}[name](
                    folder, server, options.recipients
                )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
