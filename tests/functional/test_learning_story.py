"""Learning from people, safely, through the real doors: mail comes, users report it by mail, a candidate is trained, judged, shadowed,
promoted; a poisoned batch is stopped; a bad promotion goes back by itself; a report that is withdrawn leaves no trace."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest

from filterd.config import load_config
from filterd.engine.policy import Policy
from filterd.engine.replay import findings, replay, trust_of
from filterd.storage import shadow
from filterd.storage.database import open_database
from sandbox.exchange import StandInExchange
from tests.support.daemon import Daemon, free_port, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver
from tests.support.site import ATTACKERS, HAM, USERS, Bag, Letter, letters, made_up, real, reports

pytestmark = pytest.mark.slow

# One new reporter is enough, and a model shows itself quickly: the story is short.
SETTINGS = """
[lists]
refresh_seconds = 0.2
[greylist]
enabled = false
[clients]
connections_per_minute = 0
messages_per_minute = 0
sender_messages_per_minute = 0
greet_seconds = 0.0
[learning]
train_hours = 0
agreement = 0.3
reports_per_hour = 1000
gate_messages = 8
promote = "automatic"
shadow_hours = 0
shadow_messages = {shadow}
shadow_stricter = 0.15
[reports]
domain = "reports.example.org"
[[listeners]]
name = "reports"
trust = "report"
port = {port}
"""
WATCH_SECONDS = 120.0  # filterd looks every 20 s; a busy machine is slower
BUSY_SECONDS = 60.0  # for what takes one or two where nothing else runs


@dataclass
class Site:
    """The running filter with its doors: two SMTP listeners, the API, the command line.

    Attributes:
        one, bad: the candidates of the story, once they are there.
        honest: how many reports there were before anybody lied.
    """

    daemon: Daemon
    exchange: StandInExchange
    api: httpx.Client
    report_port: int
    one: str = ""
    bad: str = ""
    honest: int = 0

    def send(self, said: Sequence[Letter]) -> list[str]:
        """Mail comes from outside; our ids, in the order of the letters."""
        mails = [item.mail for item in said]
        asyncio.run(send_all(self.daemon.smtp_port, mails, 8))
        return [_reference(mail) for mail in mails]

    def delivered(self, said: Sequence[Letter]) -> list[Letter]:
        """The same; those that reach their recipient, who alone can report them."""
        ids = self.send(said)
        actions = [self.verdict(id)[1] for id in ids]
        print(Counter(actions))
        return [item for item, action in zip(said, actions, strict=True) if action in ("accept", "tag")]

    def report(self, said: Sequence[Letter], address: str, forms: Sequence[str]) -> None:
        """Everybody who got one of these reports it by mail."""
        self.deliver([mail for mail, _ in reports(said, address, forms)], len(said))

    def deliver(self, mails: Sequence[Mail], count: int) -> None:
        """Report mails come, and filterd has read them."""
        before = len(self.reported())
        asyncio.run(send_all(self.report_port, mails, 1))  # in this order
        assert {mail.code for mail in mails} == {250}, [mail.answer for mail in mails]
        wait_until(lambda: len(self.reported()) >= before + count, 180, f"{count} reports more than {before}")

    def reported(self) -> list[dict[str, Any]]:
        """Every report, newest first."""
        found: list[dict[str, Any]] = self.api.get("/v1/reports?limit=1000").json()["items"]
        assert len(found) < 1000
        return found

    def train(self) -> str:
        """Name of the candidate, judged."""
        job = self.api.post("/v1/models/retrain").json()["id"]
        wait_until(lambda: self.api.get(f"/v1/jobs/{job}").json()["state"] != "running", 300, "the training")
        assert self.api.get(f"/v1/jobs/{job}").json()["state"] == "done", self.api.get(f"/v1/jobs/{job}").text
        return f"candidate-{job}"

    def model(self, name: str) -> dict[str, Any]:
        """All about a model."""
        found: dict[str, Any] = self.api.get(f"/v1/models/{name}").json()
        return found

    def show(self, name: str) -> str:
        """`filterd models show`, as a person reads it."""
        done = self.daemon.command("models", "show", name)
        assert done.returncode == 0, done.stderr
        print(f"\n$ filterd models show {name}\n{done.stdout}")
        return done.stdout

    def command(self, *arguments: str) -> str:
        """Another command that goes well."""
        done = self.daemon.command("models", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def verdict(self, id: str) -> tuple[str, str]:
        """(model, action) of a message."""
        record = self.api.get(f"/v1/trace/{id}").json()["evidence"]
        return record["model"], record["action"]

    def actions(self, ids: Sequence[str]) -> Counter[str]:
        """How many of the messages had which action."""
        return Counter(self.verdict(id)[1] for id in ids)

    def wait_for(self, name: str) -> None:
        """Until both workers use a model."""
        model = self.model(name)["model"]

        def all_do() -> bool:
            return {self.verdict(id)[0] for id in self.send(letters(HAM, 6, False, 77))} == {model}

        wait_until(all_do, BUSY_SECONDS, f"the workers to use {name}")


def _reference(mail: Mail) -> str:
    found = re.search(r"^250 .*\[(\w{16})\]$", mail.answer)
    assert found is not None, mail.answer
    return found[1]


@contextmanager
def running_site(folder: Path, shadow: int) -> Iterator[Site]:
    """A new one, where a shadow must have scored so many messages."""
    with running_exchange(folder / "maildir") as exchange, running_nameserver() as dns_port:
        port = free_port()
        extra = SETTINGS.format(port=port, shadow=shadow)
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=2, extra=extra, api=True).start()
        try:
            made = daemon.command("token", "create", "--name", "admin", "--scope", "admin", "--json")
            token = json.loads(made.stdout)["token"]
            base = f"http://127.0.0.1:{daemon.api_port}"
            with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
                wait_until(lambda: _answers(client), BUSY_SECONDS, "the API to answer")
                yield Site(daemon, exchange, client, port)
        finally:
            daemon.stop()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("mail", [made_up, pytest.param(real, marks=pytest.mark.corpus)], ids=["made up", "real"])
def test_the_story(tmp_path: Path, mail: Callable[[], Bag]) -> None:
    bag = mail()
    with running_site(tmp_path, len(bag.live)) as site:
        people_report_and_a_candidate_is_judged_shadowed_and_promoted(site, bag)
        poison_is_stopped(site, bag)
        a_bad_promotion_goes_back_by_itself(site, bag)
        a_report_that_is_withdrawn_leaves_no_trace(site)
        every_record_decided_again_is_the_verdict_that_was_given(site)
        assert site.daemon.audit()["clean"]


def people_report_and_a_candidate_is_judged_shadowed_and_promoted(site: Site, bag: Bag) -> None:
    site.send(bag.known)
    got = {spam: site.delivered(letters) for spam, letters in ((True, bag.spam), (False, bag.ham))}
    spam, ham = reports(got[True], "spam", bag.forms), reports(got[False], "notspam", bag.forms)
    mixed = [mail for pair in zip_longest(spam, ham) for mail, _ in filter(None, pair)]
    used = {form for _, forms in (*spam, *ham) for form in forms}
    assert used == set(bag.forms)
    site.deliver(mixed, len(got[True]) + len(got[False]))
    rows = site.reported()
    assert Counter((row["label"], row["source"], row["state"]) for row in rows) == {
        ("ham", "mail", "counting"): len(got[False]),
        ("spam", "mail", "counting"): len(got[True]),
    }, Counter(str(row["holds"]) for row in rows)
    site.honest = len(rows)
    wait_until(lambda: len(_answered(site)) == len(USERS), BUSY_SECONDS, "an answer to everybody")

    site.one = site.train()
    loaded = '"logger": "filterd.app", "event": "model in shadow"'
    wait_until(lambda: site.daemon.log_text().count(loaded) >= 2, BUSY_SECONDS, "both workers to load the shadow")
    before = site.actions(site.send(bag.live))
    wait_until(lambda: site.model(site.one)["active"], WATCH_SECONDS, "the promotion by itself")
    site.wait_for(site.one)
    shown = site.show(site.one)
    assert f"{site.one}: in use" in shown
    assert "GATE: passed" in shown
    assert re.search(rf"SHADOW: since .* {len(bag.live)} messages, \d+ judged stricter, \d+ milder", shown)
    assert "within 15 %" in shown
    flips = site.api.get(f"/v1/models/{site.one}/shadow?limit=1000").json()["flips"]
    after = site.actions(site.send(bag.live))
    print("live mail under the seed", dict(before), "and under the candidate", dict(after))
    expected = Counter(before)
    for flip in flips:
        expected[flip["action"]] -= 1
        expected[flip["would"]] += 1
    assert after == +expected, flips


def _answered(site: Site) -> set[str]:
    """Who got an answer to a report mail."""
    answers = [mail for mail in site.exchange.received if mail.mail_from == ""]
    return {mail.recipients[0][0] for mail in answers if b"Auto-Submitted: auto-replied" in mail.octets}


def poison_is_stopped(site: Site, bag: Bag) -> None:
    site.send(bag.poisoned)
    assert {letter.recipient for letter in bag.poisoned} == set(ATTACKERS)
    site.report(bag.poisoned, "spam", ["rfc822"])
    site.bad = site.train()
    shown = site.show(site.bad)
    assert "GATE: refused" in shown
    assert re.search(r"(?m)^  STOP (senders|regression) ", shown)
    refused = site.api.post(f"/v1/models/{site.bad}/promote")
    assert refused.status_code == 409, refused.text
    assert site.daemon.command("models", "shadow", site.bad).returncode != 0


def a_bad_promotion_goes_back_by_itself(site: Site, bag: Bag) -> None:
    site.command("promote", site.bad, "--force", "--reason", "the partner is not that important")
    site.wait_for(site.bad)
    ids = site.send(bag.later)
    harm = {id: (letter, site.verdict(id)[1]) for letter, id in zip(bag.later, ids, strict=True)}
    tagged = [letter for letter, action in harm.values() if action == "tag"]
    held = [id for id, (_, action) in harm.items() if action == "quarantine"]
    assert len(tagged) + len(held) >= 10, "the bad model does harm"
    print("good mail under the bad model:", len(tagged), "tagged,", len(held), "held, of", len(ids))
    if tagged:
        site.report(tagged, "notspam", ["eml"])
    for id in held:
        assert site.api.post(f"/v1/quarantine/{id}/release").status_code == 202
    wait_until(lambda: not site.model(site.bad)["active"], WATCH_SECONDS, "the rollback")
    site.wait_for(site.one)
    shown = site.show(site.bad)
    assert f"{site.bad}: rolled back" in shown
    (event, *_) = site.model(site.bad)["events"]
    assert (event["kind"], event["actor"], event["detail"]["to"]) == ("rolled_back", "filterd", site.one)
    assert event["detail"]["p"] < 0.001
    assert set(event["detail"]["messages"]) <= set(ids)
    assert re.search(r"(?m)^filterd_model_rollbacks_total 1\.0$", site.api.get("/metrics").text)


def a_report_that_is_withdrawn_leaves_no_trace(site: Site) -> None:
    for row in site.reported():
        if row["label"] == "spam" and row["reporter"] in ATTACKERS and row["id"] > site.honest:
            assert site.api.delete(f"/v1/reports/{row['id']}").status_code == 200
    clean = site.train()
    assert "STOP" not in site.show(clean)
    said = letters(HAM, 1, False, 99)
    site.send(said)
    site.report(said, "spam", ["rfc822"])
    stained = site.train()
    assert files(site, stained) != files(site, clean)
    assert site.api.delete(f"/v1/reports/{site.reported()[0]['id']}").status_code == 200
    again = site.train()
    assert files(site, again) == files(site, clean)
    print(site.command("list"))


def files(site: Site, name: str) -> dict[str, bytes]:
    """Everything in the folder of a model."""
    folder = load_config(site.daemon.config).state_dir / "models" / name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def every_record_decided_again_is_the_verdict_that_was_given(site: Site) -> None:
    config = load_config(site.daemon.config)
    database = open_database(config)
    policy = Policy.of(config)
    seen = cursor = 0
    while found := shadow.finished(database, cursor, 500):
        for message in found:
            record = message.evidence
            assert record is not None
            for again in replay(record, findings(record), policy, trust_of(record)):
                assert (again.verdict.would.value, again.verdict.score, again.verdict.row) == (
                    again.recorded["would"],
                    again.recorded["score"],
                    again.recorded["row"],
                ), message.message_id
                seen += 1
        cursor = found[-1].seq
    print(seen, "verdicts decided again")
    assert seen > 200
    database.close()
