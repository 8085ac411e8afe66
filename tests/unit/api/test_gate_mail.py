"""The gate's mail: who wrote it, what people said against its fate, and the set that is shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.gate_mail import DAY_MS, REGRESSION, Scores, author, pinned, regression, streams
from filterd.classifier.features import Indices, to_octets
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL
from filterd.ports import TerminalState
from filterd.storage import pins
from filterd.storage.database import Database
from tests.support.learning import NOW, came, features, tell
from tests.support.storage import make_database
from training.judged import ABSTAIN


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def _size(indices: Indices) -> float:
    return float(len(indices))


NOTHING = Scores(_size, lambda indices: -1.0, lambda indices: -2.0)


def test_forwarded_mail_by_sender_and_stopped_mail_by_campaign(db: Database) -> None:
    came(db, "A", "Shop <news@shop.example>", features(1, 1))
    came(db, "B", '"Shop, Inc." <order@SHOP.example>', features(1, 2))
    came(db, "C", "x@spam.example", features(1, 3), state=TerminalState.QUARANTINED, campaign="K")
    came(db, "D", "y@other.example", features(1, 4), state=TerminalState.REJECTED, campaign="K")
    came(db, "E", "z@other.example", features(1, 5), state=TerminalState.REJECTED)
    came(db, "F", "nobody", features(1, 6))
    came(db, "G", "old@shop.example", features(1, 7), at_ms=NOW - 15 * DAY_MS)
    senders, campaigns = streams(db, NOW, NOTHING, 1)
    assert [(stream.name, [item.message for item in stream.messages]) for stream in senders] == [
        ("shop.example", ["B", "A"])
    ]
    assert [(stream.name, [item.message for item in stream.messages]) for stream in campaigns] == [("K", ["D", "C"])]
    item = campaigns[0].messages[0]
    assert (item.spam, item.candidate, item.active, item.root) == (True, len(features(1, 4)), -1.0, -2.0)
    assert senders[0].messages[0].spam is False


def test_who_reported_a_senders_mail_is_counted(db: Database) -> None:
    for number in range(5):
        came(db, f"A{number}", "news@shop.example", features(1, number), campaign="N")
    for reporter in ("mallory", "mallory", "trudy"):
        tell(db, "spam", features(1, 1), message_id="A1", reporter=reporter, trusted=False, at_ms=NOW)
    tell(db, "ham", features(1, 2), message_id="A2", at_ms=NOW)
    (shop,), _ = streams(db, NOW, NOTHING, 1)
    assert [item.message for item in shop.messages] == ["A4", "A3", "A2", "A1", "A0"], "a report hides nothing"
    assert (shop.witnesses, shop.trusted) == (2, False)


def test_a_trusted_word_on_a_stopped_campaign_is_known(db: Database) -> None:
    for number in range(3):
        came(db, f"A{number}", "a@x.example", features(1, number), state=TerminalState.QUARANTINED, campaign="N")
    tell(db, "ham", features(1, 0), message_id="A0", at_ms=NOW)
    _, (campaign,) = streams(db, NOW, NOTHING, 1)
    assert len(campaign.messages) == 3
    assert (campaign.witnesses, campaign.trusted) == (1, True)


def test_who_says_the_same_as_the_fate_is_no_witness_against_it(db: Database) -> None:
    came(db, "A", "a@x.example", features(1, 0), state=TerminalState.QUARANTINED, campaign="N")
    came(db, "B", "b@y.example", features(1, 1))
    tell(db, "spam", features(1, 0), message_id="A", at_ms=NOW)
    tell(db, "ham", features(1, 1), message_id="B", at_ms=NOW)
    (sender,), (campaign,) = streams(db, NOW, NOTHING, 1)
    assert (sender.witnesses, sender.trusted) == (campaign.witnesses, campaign.trusted) == (0, False)


@pytest.mark.parametrize(
    ("header_from", "expected"),
    [
        ("a@shop.example", "shop.example"),
        ("Anna <Anna.Web@GMAIL.com>", "anna.web@gmail.com"),
        ("", ""),
        ("undisclosed", ""),
        ("a@one.example, b@two.example", "one.example"),
    ],
)
def test_everybodys_domains_are_told_apart_by_address(header_from: str, expected: str) -> None:
    assert author(header_from) == expected


def test_a_senders_name_cannot_play_with_the_terminal(db: Database) -> None:
    came(db, "A", '"\x1b[2J\u202ex"@gmail.com', features(1, 1))
    (stream,), _ = streams(db, NOW, NOTHING, 1)
    assert stream.name == "?[2j?x@gmail.com"


def test_pins_of_another_program_are_left_out(db: Database) -> None:
    pins.add(db, to_octets(features(1, 1)), "anna", message_id="A")
    pins.add(db, b"\1\0\0\0", "anna", message_id="B")
    pin = pins.add(db, to_octets(features(1, 2)), "anna")
    assert [item.message for item in pinned(db, NOTHING)] == ["A", f"pin {pin}"]


def test_the_shipped_set_is_what_its_readme_says() -> None:
    seed = Model.load(SEED_MODEL)
    items = regression(lambda indices: seed.calibrated(seed.score(indices)), lambda indices: 0.0)
    ham, spam = [item for item in items if not item.spam], [item for item in items if item.spam]
    readme = (REGRESSION / "README.md").read_text(encoding="utf-8")
    assert f"{len(ham)} good messages and {len(spam)} spam" in readme
    assert min(len(ham), len(spam)) >= 60
    known = re.findall(r"^- `(ham/[a-z0-9-]+\.eml)`$", readme, re.M)
    assert known == sorted(item.message for item in ham if item.candidate > ABSTAIN), (
        "the README lists what the seed gets wrong"
    )
    assert [item.message for item in spam if item.candidate <= ABSTAIN] == []
