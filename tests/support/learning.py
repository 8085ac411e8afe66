"""Owns short ways to a corpus ledger, to recent mail and to features that a model can tell apart.  Not part of the product."""

from __future__ import annotations

import json
import zlib
from itertools import count

import numpy as np
import numpy.typing as npt
from sqlalchemy import insert

from filterd.classifier.features import BUCKETS, to_octets
from filterd.ports import TerminalState
from filterd.storage.database import Database
from filterd.storage.schema import campaign_members, evidence, ledger, messages, reports

NOW = 1_900_000_000_000
Indices = npt.NDArray[np.uint32]
_clock = count(NOW)


def features(kind: int, number: int, own: int = 60, shared: int = 60) -> Indices:
    """Message `number` of a kind: it shares half of its features with the others of that kind, drawn from 200."""
    generator = np.random.default_rng([kind, number])
    common = 1000 * kind + generator.choice(200, shared, replace=False)
    rare = 200_000 + generator.choice(BUCKETS - 200_000, own, replace=False)
    return np.unique(np.concatenate([common, rare])).astype(np.uint32)


def tell(
    db: Database,
    label: str,
    indices: Indices,
    *,
    at_ms: int | None = None,
    trusted: bool = True,
    reporter: str = "anna@example.net",
    message_id: str | None = None,
    campaign: str | None = None,
) -> int:
    """A report that counts; returns its id."""
    values = {
        "message_id": message_id,
        "label": label,
        "reporter": reporter,
        "source": "api",
        "features": to_octets(indices),
        "note": "",
        "created_ms": next(_clock) if at_ms is None else at_ms,
        "withdrawn_ms": None,
        "withdrawn_by": "",
        "campaign": campaign,
        "state": "counting",
        "trusted": trusted,
        "name": "",
    }
    with db.write() as connection:
        key = connection.execute(insert(reports), values).inserted_primary_key
    assert key is not None
    return int(key[0])


def came(
    db: Database,
    id: str,
    header_from: str,
    indices: Indices,
    *,
    at_ms: int = NOW,
    state: TerminalState = TerminalState.FORWARDED,
    campaign: str | None = None,
    recipient: str = "anna@example.net",
    action: str = "accept",
) -> None:
    """A message with its end, its evidence and perhaps its campaign."""
    message = {
        "id": id,
        "received_ms": at_ms,
        "worker": "0:test",
        "listener": "internet",
        "client_ip": "192.0.2.1",
        "helo": "client.example.org",
        "mail_from": "sender@example.org",
        "recipients": f'["{recipient}"]',
        "size": 1000,
        "header_from": header_from,
        "subject": "offer",
        "message_id": f"<{id}@example.org>",
        "closed": True,
    }
    end = {
        "message_id": id,
        "recipient": recipient,
        "recipient_key": recipient.lower(),
        "state": state.value,
        "at_ms": at_ms,
        "reply": "250 2.0.0 OK",
        "detail": "",
    }
    record = {
        "message_id": id,
        "version": 2,
        "action": action,
        "scl": 1,
        "score": 0.0,
        "probability": 0.5,
        "model": "",
        "record": zlib.compress(json.dumps({"verdicts": [], "evidence": [], "extra": {}}).encode()),
        "features": to_octets(indices),
    }
    member = {"message_id": id, "campaign": campaign, "at_ms": at_ms, "like_hour": 1, "like_day": 1}
    with db.write() as connection:
        connection.execute(insert(messages), message)
        connection.execute(insert(ledger), end)
        connection.execute(insert(evidence), record)
        if campaign is not None:
            connection.execute(insert(campaign_members), member)
