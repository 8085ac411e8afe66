"""What `filterd models` prints fits a terminal and says the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from filterd.commands import modeltext

ID = "06H0KA497Z54F66G"
FIGURES = {
    "ham": 40,
    "spam": 31,
    "false_positives": 1,
    "false_positive_limits": [0.0006, 0.1316],
    "caught": 30,
    "caught_limits": [0.833, 0.9992],
    "log_loss": 0.08211,
}


def model(**changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": "candidate-0123456789ab",
        "active": False,
        "shadow": False,
        "state": "refused",
        "model": "local-0123456789ab",
        "parent": "seed",
        "position": 120,
        "created_ms": 1_800_000_000_000,
        "created_by": "anna",
        "gate": "refused",
        "stopped_by": ["senders", "caught"],
        "signed": "own",
        "error": "",
        "training": {"learned": {"ham": 34, "spam": 56}, "base": "seed-1", "mode": "warm"},
        "lineage": [{"name": "candidate-0", "state": "rolled_back"}, {"name": "seed", "state": "shipped"}],
        "gate_report": {},
        "shadow_report": {},
        "flips": [],
        "events": [],
    }
    return item | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "refused: sender blocked +1"),
        ({"stopped_by": ["pins"]}, "refused: pinned mail"),
        ({"stopped_by": ["evidence"]}, "refused"),
        ({"gate": "passed", "stopped_by": []}, "passed"),
        ({"gate": "not_enough_evidence", "stopped_by": ["evidence"]}, "too few messages"),
        ({"gate": "", "stopped_by": []}, "not judged here"),
        ({"name": "seed"}, ""),
        ({"stopped_by": ["something_new"]}, "refused: something_new"),
    ],
)
def test_the_gate_in_a_few_words(changes: dict[str, Any], words: str) -> None:
    assert modeltext.gate_words(model(**changes)) == words


def test_why_one_cannot_be_used_stands_in_full_under_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    why = "SHA-256 of the manifest is another one: " + "restore the folder from a backup " * 4
    broken = model(name="candidate-ba9876543210", error=why, stopped_by=["pins", "caught"], state="rolled_back")
    lines = modeltext.all_models([model(active=True), broken]).splitlines()
    assert max(map(len, lines)) <= 100
    assert "local-0123" in lines[2], "enough of it to find it in a record"
    told = " ".join(" ".join(lines).split())
    assert f"candidate-ba9876543210 cannot be used: {why}".strip() in told
    assert lines[-1].startswith("* in use")


def test_every_kind_of_event_stands_apart_from_what_follows() -> None:
    event = {"at_ms": 0, "kind": "training_failed", "name": "candidate-1", "actor": "anna", "detail": {}}
    assert "training_failed  candidate-1: by anna" in modeltext.history([event])


def test_where_it_comes_from() -> None:
    told = modeltext.one_model(model())
    assert told.startswith("candidate-0123456789ab: refused\n")
    assert "2027-01-15 08:00:00Z by anna, of the reports up to 120" in told
    assert "34 good, 56 spam on top of seed-1" in told
    assert "candidate-0 (rolled back), seed" in told
    scratch = model(training={"learned": {"ham": 1, "spam": 2}, "mode": "scratch"}, active=True, error="broken\x1b[31m")
    told = modeltext.one_model(scratch)
    assert ": in use\n" in told
    assert "1 good, 2 spam from scratch" in told
    assert "CANNOT BE USED" in told
    assert "\x1b" not in told


def test_the_gate_with_numbers_and_limits() -> None:
    report = {
        "verdict": "refused",
        "criteria": [
            {"name": "pins", "passed": True, "text": "none of 3 pinned good messages would be called spam again", "messages": []},
            {"name": "senders", "passed": False, "text": "mail of school.example " * 9, "messages": [ID] * 20},
            {"name": "evidence", "passed": False, "text": "3 good and 4 spam", "messages": []},
        ],
        "candidate": FIGURES,
        "active": FIGURES | {"false_positives": 2, "ham": 0},
    }  # fmt: skip
    told = modeltext.one_model(model(gate_report=report))
    assert "  ok   pins " in told
    assert "  STOP senders " in told
    assert "  few  evidence " in told
    assert told.count(ID) == 20
    assert "1 of 40 (0.1 to 13.2 %)" in told
    assert "30 of 31 (83.3 to 99.9 %)" in told
    assert "none" in told
    assert "0.0821" in told
    assert max(len(line) for line in told.splitlines()) <= 100


def test_shadow_and_events() -> None:
    shadow = {
        "started_ms": 1_800_000_000_000,
        "messages": 512,
        "stricter": 3,
        "milder": 1,
        "changes": {"accept -> tag": 3, "tag -> accept": 1},
        "text": "3 of 512 messages would be judged stricter",
    }
    flip = {
        "message_id": ID,
        "at_ms": 1_800_000_000_000,
        "action": "accept",
        "would": "tag",
        "log_odds": -0.34,
        "would_log_odds": 2.51,
    }
    detail = {
        "before": "seed",
        "forced": True,
        "reason": "why not\x07",
        "messages": [ID],
        "alarms": [{"text": "moved"}],
    }
    event = {"id": 1, "at_ms": 1_800_000_000_000, "kind": "promoted", "name": "a", "actor": "anna", "detail": detail}
    told = modeltext.one_model(model(shadow_report=shadow, flips=[flip], events=[event], shadow=True))
    assert "512 messages, 3 judged stricter, 1 milder" in told
    assert "     3  accept -> tag" in told
    assert f"{ID}  2027-01-15 08:00:00Z  accept -> tag  -0.3 -> +2.5" in told
    line = "promoted by anna; before seed; reason why not\N{REPLACEMENT CHARACTER}; forced; messages " + ID
    assert line in " ".join(told.split())
    assert "moved" in told
    assert modeltext.history([]) == "nothing happened yet"


@pytest.mark.parametrize("psi", [None, 0.021])
def test_drift_of_a_quiet_day(psi: float | None) -> None:
    figures = {"messages": 900, "unknown": 0.04, "log_loss": 0.2, "reports": 31}
    found = {"model": "local-1", "at_ms": 0, "reference": figures, "now": figures, "psi": psi, "alarms": []}
    told = modeltext.drift(found)
    assert "no alarm" in told
    assert ("too few messages" if psi is None else "0.021") in told
    assert "first look: 900 messages" in modeltext.drift({**found, "now": None})
