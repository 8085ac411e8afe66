"""Recipients from a real Active Directory domain controller: what a sync reads, what it says when it cannot, what SMTP clients see."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from filterd.adapters.site_key import site_key
from filterd.config import Config
from filterd.directory.keys import address_key
from filterd.directory.snapshot import Found, Snapshot
from filterd.directory.values import AcceptedDomain, DomainType, Thresholds
from filterd.directory_store import snapshot_path
from filterd.directory_sync import Outcome, Sync, SyncError
from tests.support.certificate import write_certificate
from tests.support.daemon import Daemon, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver
from tests.support.relay import relay
from tests.support.samba import DomainController, domain_controller
from tests.support.samba_entries import BASE, READER, READER_PASSWORD, STAFF, accepted_domain, entry, user
from tests.support.smtpclient import SmtpClient

pytestmark = [pytest.mark.slow, pytest.mark.server("samba", "samba-tool", "ldbadd", "ldbmodify", "ldbsearch")]

MANY = 2500  # more than two pages of the 1,000 entries that a controller gives at most
SCL = -(2**31)
ELSEWHERE = f"OU=Elsewhere,{BASE}"


def _people() -> str:
    crowd = "".join(
        entry(
            f"CN=contact{number},{STAFF}",
            "contact",
            proxyAddresses=[f"SMTP:c{number}@example.org", f"smtp:contact.{number}@example.org"],
        )
        for number in range(MANY)
    )
    special = [
        user("anna", "Anna.Lang@Example.org", "anna@second.example"),
        user("limits", "limits@example.org", msExchMessageHygieneSCLJunkThreshold=SCL + 3),
        user("inside", "inside@example.org", msExchRequireAuthToSendTo=True),
        user("system", "system@example.org", msExchRecipientTypeDetails=16384),
        user("nomail", mail="nomail@example.org"),
        entry(f"CN=board,{STAFF}", "group", sAMAccountName="board", member=f"CN=anna,{STAFF}"),
    ]
    domains = [
        accepted_domain("example.org", 4),
        accepted_domain("second.example"),
        accepted_domain("*.wide.example"),
        accepted_domain("relay.example", 2),
        accepted_domain("guest.example", 1),
    ]
    return entry(ELSEWHERE, "organizationalUnit") + crowd + "".join(special) + "".join(domains)


@pytest.fixture(scope="module")
def controller() -> Iterator[DomainController]:
    with domain_controller(_people()) as running:
        yield running


@dataclass
class Site:
    """A filterd's configuration, and what it knows after syncs."""

    config: Config

    def sync(self, *, full: bool = False) -> Outcome:
        return Sync(self.config, self.config.ldap[0]).run(full=full)

    def failure(self, *, full: bool = False) -> str:
        with pytest.raises(SyncError) as caught:
            self.sync(full=full)
        text = str(caught.value)
        assert "\n" not in text
        return text

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(snapshot_path(self.config.state_dir, "ad"))

    def find(self, address: str) -> Found | None:
        return self.snapshot.find(address_key(site_key(self.config.state_dir), address))

    def knows(self, address: str) -> bool:
        return self.find(address) is not None


def table(controller: DomainController, folder: Path, **more: object) -> dict[str, object]:
    secret = folder / "ldap-password"
    secret.write_text(str(more.pop("password", READER_PASSWORD)) + "\n")
    usual: dict[str, object] = {
        "urls": [controller.urls["ldaps"]],
        "user": READER,
        "password_file": secret,
        "ca_file": controller.certificate,
        "timeout_seconds": 10.0,
    }
    return {**usual, **more}


def site(controller: DomainController, folder: Path, **more: object) -> Site:
    tables = {"server": {"state_dir": folder / "state"}, "ldap": [table(controller, folder, **more)]}
    return Site(Config.model_validate(tables))


# ---------------------------------------------------------------- everything


@pytest.mark.parametrize("way", ["ldaps", "starttls"])
def test_an_ordinary_user_reads_everything(controller: DomainController, tmp_path: Path, way: str) -> None:
    here = site(controller, tmp_path, urls=[controller.urls[way]], protected_groups=[f"CN=board,{STAFF}"])
    outcome = here.sync()
    assert outcome.kind == "full"
    assert outcome.objects >= MANY
    assert outcome.addresses >= 2 * MANY
    for address in ("anna.lang@example.org", "anna@second.example", f"c{MANY - 1}@example.org"):
        assert here.knows(address)
    for address in ("system@example.org", "nomail@example.org", "nobody@example.org"):
        assert not here.knows(address)
    limits, inside = here.find("limits@example.org"), here.find("inside@example.org")
    assert limits is not None
    assert limits.thresholds == Thresholds(junk=3)
    assert inside is not None
    assert inside.internal_only
    header = here.snapshot.header
    assert header.domains is not None
    assert set(header.domains) == {
        AcceptedDomain("example.org"),
        AcceptedDomain("second.example"),
        AcceptedDomain("wide.example", subdomains=True),
        AcceptedDomain("relay.example", DomainType.INTERNAL_RELAY),
        AcceptedDomain("guest.example", DomainType.EXTERNAL_RELAY),
    }
    (person,) = header.people
    assert person.name == "Anna"
    assert "anna.lang@example.org" in person.addresses


@pytest.mark.parametrize("way", ["gc", "gc_starttls"])
def test_a_global_catalog_says_what_it_does_not_hold(controller: DomainController, tmp_path: Path, way: str) -> None:
    here = site(controller, tmp_path, urls=[controller.urls[way]])
    outcome = here.sync()
    (note,) = [note for note in outcome.notes if "global catalog" in note]
    assert "msExchMessageHygieneSCLJunkThreshold" in note
    assert "msExchRequireAuthToSendTo" not in note
    assert here.knows("anna.lang@example.org")


# ---------------------------------------------------------------- what changed


def test_changes_are_read_alone(controller: DomainController, tmp_path: Path) -> None:
    names = [f"change{number}" for number in range(6)]
    controller.add("".join(user(name, f"{name}@example.org") for name in names))
    here = site(controller, tmp_path)
    assert here.sync().kind == "full"
    controller.replace(f"CN={names[0]},{STAFF}", proxyAddresses=["SMTP:married@example.org"])
    controller.move(f"CN={names[1]},{STAFF}", "CN=renamed", STAFF)
    controller.move(f"CN={names[2]},{STAFF}", f"CN={names[2]}", ELSEWHERE)
    controller.replace(f"CN={names[3]},{STAFF}", proxyAddresses=[])  # Disable-Mailbox
    controller.replace(f"CN={names[4]},{STAFF}", msExchRequireAuthToSendTo=["TRUE"])
    controller.add(user("fresh", "fresh@example.org"))
    outcome = here.sync()
    assert outcome.kind == "incremental"
    assert (outcome.added, outcome.dropped) == (2, 2)
    assert here.knows("married@example.org")
    assert here.knows("fresh@example.org")
    assert not here.knows(f"{names[0]}@example.org")
    assert here.knows(f"{names[1]}@example.org")
    assert here.knows(f"{names[2]}@example.org")
    assert not here.knows(f"{names[3]}@example.org")
    found = here.find(f"{names[4]}@example.org")
    assert found is not None
    assert found.internal_only
    again = here.sync()
    assert (again.kind, again.added, again.dropped) == ("incremental", 0, 0)
    controller.delete(f"CN=renamed,{STAFF}")
    here.sync(full=True)  # as every night
    assert not here.knows(f"{names[1]}@example.org")


def test_what_leaves_the_base_is_gone_after_the_nightly_sync(controller: DomainController, tmp_path: Path) -> None:
    controller.add(user("leaver", "leaver@example.org"))
    here = site(controller, tmp_path, bases=[STAFF])
    here.sync()
    controller.move(f"CN=leaver,{STAFF}", "CN=leaver", ELSEWHERE)
    here.sync()
    here.sync(full=True)
    assert not here.knows("leaver@example.org")
    assert here.knows("anna.lang@example.org")


def test_whoever_comes_with_a_whole_container_is_known_at_once(controller: DomainController, tmp_path: Path) -> None:
    """The people of a branch that joins: their OU was moved, they were not, and have no new USN."""
    branch = f"OU=branch,{ELSEWHERE}"
    controller.add(entry(branch, "organizationalUnit") + user("joiner", "joiner@example.org", within=branch))
    here = site(controller, tmp_path, bases=[STAFF])
    here.sync()
    assert not here.knows("joiner@example.org")
    controller.move(branch, "OU=branch", STAFF)
    outcome = here.sync()
    assert (outcome.kind, "a container below ldap.bases" in outcome.why) == ("full", True)
    assert here.knows("joiner@example.org")
    assert here.sync().kind == "incremental"
    controller.move(f"OU=branch,{STAFF}", "OU=branch", ELSEWHERE)
    controller.delete(f"CN=joiner,{branch}")


# ---------------------------------------------------------------- restored, dying


def test_a_restored_controller_is_read_anew(controller: DomainController, tmp_path: Path) -> None:
    """Windows gives it a new invocation id: its USNs say nothing about what was read before."""
    here = site(controller, tmp_path)
    here.sync()
    controller.new_invocation()
    outcome = here.sync()
    assert outcome.kind == "full"
    assert "restored" in outcome.why
    assert here.sync().kind == "incremental"


def test_a_controller_whose_disk_was_set_back_is_read_anew(controller: DomainController, tmp_path: Path) -> None:
    here = site(controller, tmp_path)
    with controller.set_back():
        controller.add(user("forgotten", "forgotten@example.org"))
        here.sync()
        assert here.knows("forgotten@example.org")
    outcome = here.sync()
    assert outcome.kind == "full"
    assert here.knows("forgotten@example.org")  # other controllers have it still, and Exchange asks those
    assert any("does not have stay for now" in note for note in outcome.notes)
    here.sync(full=True)
    assert not here.knows("forgotten@example.org")


def test_a_controller_that_dies_in_the_middle_changes_nothing(controller: DomainController, tmp_path: Path) -> None:
    here = site(controller, tmp_path)
    here.sync()
    path = snapshot_path(here.config.state_dir, "ad")
    before = path.read_bytes()
    with relay(controller.address, controller.address, 200_000, controller.kill) as url:
        text = site(controller, tmp_path, urls=[url], page_size=500).failure(full=True)
        assert url in text
    try:
        assert path.read_bytes() == before
        assert here.knows("anna.lang@example.org")
        assert "cannot be reached" in here.failure()
    finally:
        controller.start()
    assert here.sync().addresses >= 2 * MANY


def test_the_next_controller_takes_over(controller: DomainController, tmp_path: Path) -> None:
    gone = f"ldaps://{controller.address}:{free_port()}"
    here = site(controller, tmp_path, urls=[gone, controller.urls["ldaps"]])
    assert here.sync().server == controller.urls["ldaps"]


# ---------------------------------------------------------------- one line that says what to do


def test_a_wrong_password_is_said(controller: DomainController, tmp_path: Path) -> None:
    text = site(controller, tmp_path, password="wrong").failure()
    assert "wrong user or password" in text
    assert READER in text
    assert "wrong-" not in text


def test_accounts_that_cannot_log_on_are_told_apart(controller: DomainController, tmp_path: Path) -> None:
    password = "Some-Secret-1"
    states = {"off": "disabled", "expired": "expired", "mustchange": "change", "lockedout": "locked"}
    controller.add("".join(user(name, password=password) for name in states))
    controller.replace(f"CN=off,{STAFF}", userAccountControl=["514"])
    controller.replace(f"CN=expired,{STAFF}", accountExpires=["116444736000000000"])  # 1970
    controller.replace(f"CN=mustchange,{STAFF}", pwdLastSet=["0"])
    controller.replace(BASE, lockoutThreshold=["2"])
    try:
        for _ in range(2):
            site(controller, tmp_path, user="lockedout@ad.example.org", password="guessed").failure()
        for name, word in states.items():
            text = site(controller, tmp_path, user=f"{name}@ad.example.org", password=password).failure()
            assert word in text, name
    finally:
        controller.replace(BASE, lockoutThreshold=["0"])


def test_an_untrusted_certificate_and_a_wrong_name_are_said(controller: DomainController, tmp_path: Path) -> None:
    stranger, _ = write_certificate(tmp_path / "other")
    text = site(controller, tmp_path, ca_file=stranger).failure()
    assert "ldap.ca_file" in text
    with relay(controller.address, "127.0.0.1") as url:
        text = site(controller, tmp_path, urls=[url]).failure()
        assert "dc1.ad.example.org" in text


def test_a_base_of_another_domain_is_a_referral(controller: DomainController, tmp_path: Path) -> None:
    text = site(controller, tmp_path, bases=["DC=elsewhere,DC=example,DC=net"]).failure()
    assert "ldap.bases" in text


def test_a_base_that_is_not_there_is_said(controller: DomainController, tmp_path: Path) -> None:
    text = site(controller, tmp_path, bases=[f"OU=Gone,{BASE}"]).failure()
    assert "ldap.bases" in text


# ---------------------------------------------------------------- what an SMTP client sees


def rcpt(port: int, *addresses: str) -> list[str]:
    """The answers to RCPT in one transaction."""

    async def ask() -> list[str]:
        client = await SmtpClient.greeted(port)
        try:
            await client.command("MAIL FROM:<sender@elsewhere.example>")
            return [await client.command(f"RCPT TO:<{address}>") for address in addresses]
        finally:
            client.writer.close()

    return asyncio.run(ask())


def toml(values: dict[str, object]) -> str:
    def text(value: object) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(text, value)) + "]"
        return str(value) if isinstance(value, float) else f'"{value}"'

    return "[[ldap]]\n" + "".join(f"{name} = {text(value)}\n" for name, value in values.items())


@pytest.fixture
def next_hops(tmp_path: Path) -> Iterator[tuple[int, int]]:
    with running_exchange(tmp_path / "maildir") as exchange, running_nameserver() as dns_port:
        yield exchange.port, dns_port


def test_from_the_controller_to_rcpt(controller: DomainController, tmp_path: Path, next_hops: tuple[int, int]) -> None:
    extra = toml(table(controller, tmp_path))
    daemon = Daemon(tmp_path / "f", *next_hops, workers=1, extra=extra)
    daemon.write_config()
    done = daemon.command("directory", "sync")
    assert done.returncode == 0, done.stderr
    assert re.match(r"ad: full \(first sync\): \d+ addresses", done.stdout)
    daemon.start()
    try:
        known, other, sub, relayed, unknown, foreign, inside = rcpt(
            daemon.smtp_port,
            "ANNA.Lang@example.org",
            "anna@second.example",
            "nobody@a.wide.example",
            "whoever@relay.example",
            "nobody@example.org",
            "anna@elsewhere.example",
            "inside@example.org",
        )
        assert known.startswith("250 ")
        assert other.startswith("250 ")
        assert sub.startswith("550 5.1.1 ")  # its domain is accepted, it is not there
        assert relayed.startswith("250 ")
        assert unknown.startswith("550 5.1.1 ")
        assert foreign.startswith("550 5.7.1 ")
        assert inside.startswith("550 ")
        assert "directory" not in unknown.lower()

        controller.add(user("newcomer", "newcomer@example.org"))
        assert rcpt(daemon.smtp_port, "newcomer@example.org")[0].startswith("550 ")
        assert daemon.command("directory", "sync").returncode == 0
        wait_until(
            lambda: rcpt(daemon.smtp_port, "newcomer@example.org")[0].startswith("250 "), 10, "the new user's mail"
        )
        with controller.down():
            failed = daemon.command("directory", "sync")
            assert failed.returncode == 1
            assert len(failed.stderr.strip().splitlines()) == 1
            answers = rcpt(daemon.smtp_port, "newcomer@example.org", "nobody@example.org")
            assert [answer[:4] for answer in answers] == ["250 ", "550 "]
    finally:
        daemon.stop()


def test_without_a_snapshot_nobody_is_refused_for_good(
    controller: DomainController, tmp_path: Path, next_hops: tuple[int, int]
) -> None:
    extra = toml(table(controller, tmp_path, urls=[f"ldaps://{controller.address}:{free_port()}"]))
    daemon = Daemon(tmp_path / "f", *next_hops, workers=1, extra=extra).start()
    try:
        answers = rcpt(daemon.smtp_port, "anna.lang@example.org", "nobody@example.org", "anna@elsewhere.example")
        assert [answer[:9] for answer in answers] == ["451 4.4.3"] * 3
        assert rcpt(daemon.smtp_port, "postmaster@example.org")[0].startswith("250 ")
    finally:
        daemon.stop()


def test_the_controller_leaves_nothing_running() -> None:
    """Also when the test process is killed: it ends with the pipe to it."""
    code = (
        "import os, signal\n"
        "from tests.support.samba import domain_controller\n"
        "with domain_controller() as controller:\n"
        "    print(controller.process.pid, controller.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    pid, folder = done.stdout.split()
    wait_until(lambda: not _runs(int(pid)), 20, "Samba to end")
    subprocess.run(["rm", "-rf", folder], check=True)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
