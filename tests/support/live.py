"""Owns live mail for the watch over models: messages as the engine records them, models of one number.  Not part of the product."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from filterd import modelstore
from filterd.classifier.features import BUCKETS, to_octets
from filterd.classifier.finding import said
from filterd.config import Config
from filterd.engine.policy import Policy, decide
from filterd.engine.record import evidence_record
from filterd.mail.evidence import Evidence, Stage
from filterd.mail.verdict import Action
from filterd.ports import EvidenceRecord, TerminalState
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.sideservice import make_config
from tests.support.storage import held, message, outcomes
from training.publish import publish

ANNA = "Anna@example.net"
_numbers = itertools.count()


def content(
    log_odds: float, model: str = "one", shadow: str = "", would: float = 0.0, familiar: bool = True, **more: Any
) -> Evidence:
    """What the content check finds; with `shadow` that model said `would` beside it."""
    reason, result, weight = said(log_odds, 1.0)
    yes = "yes" if familiar else "no"
    properties = {"model": model, "familiar": yes}
    if shadow:
        properties |= {"shadow_model": shadow, "shadow_log_odds": f"{would:.6f}", "shadow_familiar": yes}
    return Evidence("content", Stage.DATA, result, reason, measured=weight, properties=properties, **more)


def record_of(
    *evidence: Evidence, recipients: tuple[str, ...] = (ANNA,), model: str = "one", policy: Policy | None = None
) -> EvidenceRecord:
    """The record of a message with these findings."""
    policy = policy or Policy()
    verdicts = [(name, decide(evidence, policy, Stage.DATA, name.lower())) for name in recipients]
    features = to_octets(np.arange(next(_numbers) % 50, 60, dtype=np.uint32))
    return evidence_record(evidence, verdicts, features, model, policy=policy)


def came(
    db: Database, *records: EvidenceRecord, at_ms: int | None = None, recipients: tuple[str, ...] = (ANNA,)
) -> list[str]:
    """Messages with these records came and ended; our ids.  Held when the record's action says so."""
    custody = SqlCustody(db)
    ids = []

    async def run() -> None:
        for record in records:
            came = message(*recipients, received_ms=at_ms)
            kept = record.action in (Action.QUARANTINE.value, Action.REJECT.value)
            state = TerminalState.QUARANTINED if kept else TerminalState.FORWARDED
            await custody.finish(came, outcomes(came, state), record, held(came) if kept else None)
            ids.append(came.id)

    try:
        asyncio.run(run())
    finally:
        custody.close()
    return ids


def judged(db: Database, count: int, log_odds: float, *, model: str = "one", at_ms: int | None = None) -> list[str]:
    """So many messages whose content that model judged so; our ids."""
    return came(db, *(record_of(content(log_odds, model), model=model) for _ in range(count)), at_ms=at_ms)


def installed(
    config: Config, db: Database, name: str, log_odds: float = 0.0, verdict: str = "passed", **more: Any
) -> str:
    """A model that gives every message the same log-odds, signed and registered; its id in records."""
    nothing = np.zeros(BUCKETS, np.float32)
    folder = config.state_dir / "models" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    publish(nothing, nothing, folder, prefix=name, intercept=log_odds, **more)
    return modelstore.install(config, db, name, position=0, gate={"verdict": verdict}, actor="test").model


def with_trust(record: EvidenceRecord, trust: str) -> EvidenceRecord:
    """The record as of a client of another class."""
    return replace(record, extra={**record.extra, "trust": trust})


def configuration(folder: Path, **learning: Any) -> Config:
    """A configuration with short times."""
    return make_config(folder, learning={"shadow_hours": 0, "shadow_messages": 10, "shadow_stricter": 0.1, **learning})
