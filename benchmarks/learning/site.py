"""Owns the simulated site: 50 people get mail and report it through the real ledger, a candidate is trained each day, the real gate judges it.

Every report goes through filterd.reporting.submit (provenance, trust, agreement, replays), every candidate through api.retrain.train.
The verdict on a message is that of the content alone.  Must not know which runs are compared.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, update

from api.retrain import train
from benchmarks.learning.mail import Mail
from filterd import modelstore, modelswitch
from filterd.classifier.features import Indices, to_octets
from filterd.classifier.manifest import INFORMATION, WEIGHTS
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.ports import TerminalState
from filterd.reporting import Claim, submit
from filterd.storage.database import Database, open_database
from filterd.storage.schema import campaign_members, evidence, ledger, messages, model_events
from training.estimator import REPORTED_STEP, TRUSTED_STEP, Learner

DAY_MS = 86_400_000
BEGIN_MS = 1_900_000_000_000
PEOPLE, ATTACKERS = 50, 3
RECIPIENTS = 4  # of each message
REPORTED = 0.25  # chance that one who got a message reports it
REVIEWED = 0.03  # chance that an administrator says what a message is
RELEASED = 0.5  # chance that good mail in the quarantine is released as false positive
TAG, QUARANTINE = 2.0, 4.0  # log-odds: policy.tag_score, policy.quarantine_score
RECORD = zlib.compress(json.dumps({"verdicts": [], "evidence": [], "extra": {}}).encode())


@dataclass(frozen=True, slots=True)
class Score:
    """One message of a day, before anything was learned of it.

    Attributes:
        at_once: log-odds by a model that learns each report at once, whoever it is from.
        attacked: it is the target's mail, or a copy of the campaign.
    """

    day: int
    spam: bool
    log_odds: float
    at_once: float
    attacked: bool


@dataclass
class Run:
    """One site over all days.

    Attributes:
        noise: share of the reports that say the opposite.
        promoted_on: the answers of the gate on which a candidate is promoted.
        target: author domain whose good mail the attackers call spam.
        attack_from: the day from which on they do; before, they are honest.
    """

    config: Config
    noise: float = 0.0
    promoted_on: tuple[str, ...] = ("passed",)
    target: str = ""
    attack_from: int = 2
    seed: int = 1
    scores: list[Score] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    stopped_by: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    promoted: int = 0

    def begin(self, root: Path) -> None:
        """Install the root model as a site's first one."""
        self._random = np.random.default_rng(self.seed)
        self._db: Database = open_database(self.config)
        modelstore.install(self.config, self._db, root.name, position=0, gate={}, actor="benchmark")
        modelswitch.promote(self.config, self._db, root.name, "benchmark", force=True, reason="the first model")
        self._at_once = Learner(np.fromfile(root / WEIGHTS, "<f4"), np.fromfile(root / INFORMATION, "<f4"))

    def end(self) -> None:
        """Close the database."""
        self._db.close()

    def day(self, number: int, mail: list[Mail], attack: list[Mail]) -> None:
        """Mail comes, is scored and reported, a candidate is trained."""
        active = modelstore.load(self.config, modelstore.active_model(self.config, self._db))
        order = [(each, False) for each in mail] + [(each, True) for each in attack]
        mixed = [order[place] for place in self._random.permutation(len(order))]
        claims: list[tuple[int, Claim, Indices, bool]] = []
        rows: dict[str, list[dict[str, Any]]] = {"messages": [], "ledger": [], "evidence": [], "members": []}
        for place, (each, copy) in enumerate(mixed):
            log_odds = active.calibrated(active.score(each.indices))
            attacked = copy or bool(self.target and each.sender == self.target and not each.spam)
            once = active.calibrated(self._at_once.score(each.indices)) if number else log_odds
            self.scores.append(Score(number, each.spam, log_odds, once, attacked))
            at = BEGIN_MS + number * DAY_MS + place * DAY_MS // (len(mixed) + 1)
            self._arrives(f"{number:02}-{place:05}", at, each, log_odds, attacked, number, rows, claims)
        with self._db.write() as connection:
            for table, name in ((messages, "messages"), (ledger, "ledger"), (evidence, "evidence")):
                connection.execute(insert(table), rows[name])
            connection.execute(insert(campaign_members), rows["members"])
        for at, claim, indices, trusted in sorted(claims, key=lambda row: row[0]):
            found = submit(self.config, self._db, claim, at)
            self.states[found.state.value] += 1
            self._at_once.learn(indices, claim.label == "spam", TRUSTED_STEP if trusted else REPORTED_STEP)
        self._train(number)

    def _arrives(
        self,
        id: str,
        at: int,
        mail: Mail,
        log_odds: float,
        attacked: bool,
        day: int,
        rows: dict[str, list[dict[str, Any]]],
        claims: list[tuple[int, Claim, Indices, bool]],
    ) -> None:
        people = {int(person) for person in self._random.choice(PEOPLE, RECIPIENTS, replace=False)}
        hostile = attacked and day >= self.attack_from
        if attacked:
            people |= set(range(ATTACKERS))
        held = log_odds >= QUARANTINE
        action = "quarantine" if held else "tag" if log_odds >= TAG else "accept"
        self._record(id, at, mail, people, action, rows)
        label, other = ("spam", "ham") if mail.spam else ("ham", "spam")

        def claim(delay: int, said: str, who: str, source: str, trusted: bool = False) -> None:
            what = Claim(said, who, source, message_id=id, trusted=trusted)
            claims.append((at + delay, what, mail.indices, trusted))

        if held and not mail.spam and self._random.random() < RELEASED:
            claim(60_000, "ham", "admin", "quarantine", trusted=True)
        for person in sorted(people):
            if hostile and person < ATTACKERS:
                claim(1000 + person, other, _name(person), "mail")  # held copies too: they try
            elif held or (hostile and bool(self.target)):
                continue  # the worst case: nobody else says anything of the target's mail
            elif self._random.random() < REPORTED:
                wrong = self._random.random() < self.noise
                claim(2000 + person, other if wrong else label, _name(person), "mail")
        if not attacked and self._random.random() < REVIEWED:
            claim(3000, label, "admin", "api", trusted=True)

    def _record(
        self, id: str, at: int, mail: Mail, people: set[int], action: str, rows: dict[str, list[dict[str, Any]]]
    ) -> None:
        state = TerminalState.QUARANTINED if action == "quarantine" else TerminalState.FORWARDED
        names = [_name(person) for person in sorted(people)]
        rows["messages"].append(
            {
                "id": id,
                "received_ms": at,
                "worker": "0:benchmark",
                "listener": "internet",
                "client_ip": "192.0.2.1",
                "helo": "client.example",
                "mail_from": "",
                "recipients": json.dumps(names),
                "size": 1,
                "header_from": mail.header_from,
                "subject": "",
                "message_id": f"<{id}@benchmark.example>",
                "closed": True,
            }
        )
        rows["ledger"] += [
            {
                "message_id": id,
                "recipient": name,
                "recipient_key": name,
                "state": state.value,
                "at_ms": at,
                "reply": "",
                "detail": "",
            }
            for name in names
        ]
        rows["evidence"].append(
            {
                "message_id": id,
                "version": 2,
                "action": action,
                "scl": 0,
                "score": 0.0,
                "probability": 0.5,
                "model": "",
                "record": RECORD,
                "features": to_octets(mail.indices),
            }
        )
        rows["members"].append({"message_id": id, "campaign": id, "at_ms": at, "like_hour": 1, "like_day": 1})

    def _train(self, day: int) -> None:
        name = f"day-{day:02}"
        now = BEGIN_MS + (day + 1) * DAY_MS
        found = train(self.config, self._db, self.config.state_dir / "models" / name, now_ms=now)
        gate = found["gate"]
        self.verdicts[gate["verdict"]] += 1
        for criterion in gate["criteria"]:
            if not criterion["passed"] and gate["verdict"] == "refused" and criterion["name"] != "evidence":
                self.stopped_by[criterion["name"]] += 1
        modelstore.install(self.config, self._db, name, position=found["position"], gate=gate, actor="benchmark")
        if gate["verdict"] in self.promoted_on:
            modelswitch.promote(self.config, self._db, name, "benchmark", force=True, reason="benchmark")
            self.promoted += 1
        with self._db.write() as connection:  # what happens to models has the machine's clock, mail has ours
            ours = model_events.c.at_ms < BEGIN_MS
            connection.execute(update(model_events).where(ours).values(at_ms=now))


def _name(person: int) -> str:
    return f"person{person}@site.example"


def root_scores(root: Path, stream: list[Mail]) -> list[float]:
    """Log-odds of messages by the model that the site begins with."""
    model = Model.load(root)
    return [model.calibrated(model.score(mail.indices)) for mail in stream]
