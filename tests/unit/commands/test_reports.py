"""`filterd reports` as an administrator meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filterd.cli import main
from filterd.config import load_config
from filterd.ports import TerminalState
from filterd.reporting import Claim, submit
from filterd.storage import examples
from filterd.storage.database import open_database
from tests.support.storage import keep, message

ANNA = "anna@example.net"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "filterd.toml"
    path.write_text(f"[server]\nstate_dir = '{tmp_path}'\n[recipients]\naccepted_domains = ['example.net']\n")
    return path


@pytest.fixture
def held(config: Path) -> int:
    """A report that waits: the copy of its reporter is in the quarantine."""
    loaded = load_config(config)
    database = open_database(loaded)
    record = message(ANNA, subject="invoice \x1b[31m")
    keep(database, record)
    found = submit(loaded, database, Claim("ham", ANNA, "api", message_id=record.id, note="my bank"))
    database.close()
    return found.report_id


def run(config: Path, *words: str) -> int:
    return main(["reports", *words, "--config", str(config)])


def test_what_waits_for_a_review(config: Path, held: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "list", "--held") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[0] == str(held)
    assert ANNA in line
    assert "not_delivered" in line
    assert run(config, "list", "--held", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["state"], row["holds"], row["label"]) == (held, "held", ["not_delivered"], "ham")
    assert run(config, "list", "--hold", "burst") == 0
    assert "no such report" in capsys.readouterr().out


def test_one_report_with_its_message_and_why_it_waits(
    config: Path, held: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, "show", str(held)) == 0
    page = capsys.readouterr().out
    for text in ("trust 0.30", "nothing is known", "my bank", "<author@example.org>", "we know of no copy", "invoice"):
        assert text in page
    assert "\x1b" not in page
    assert run(config, "show", str(held), "--json") == 0
    assert json.loads(capsys.readouterr().out)["trust"] == 0.3
    assert run(config, "show", "99") == 1
    assert "no such report 99" in capsys.readouterr().err


def test_the_review(config: Path, held: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "accept", str(held)) == 0
    assert capsys.readouterr().out == f"Report {held} is counting (trusted).\n"
    assert run(config, "show", str(held)) == 0
    page = capsys.readouterr().out
    assert "no model may call it spam" in page
    assert "by command line" in page
    database = open_database(load_config(config))
    assert [example.report_id for example in examples.examples(database)] == [held]
    assert run(config, "reject", str(held)) == 0
    assert list(examples.examples(database)) == []
    database.close()
    assert run(config, "list", "--held") == 0
    assert "No report waits" in capsys.readouterr().out
    assert run(config, "reject", "99") == 1


def test_withdrawing_unlearns(config: Path, held: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "withdraw", str(held)) == 0
    assert "the next training leaves it out" in capsys.readouterr().out
    assert run(config, "withdraw", str(held)) == 1
    assert run(config, "accept", str(held)) == 1
    assert "withdrawn" in capsys.readouterr().err


def test_who_reports(config: Path, held: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "reject", str(held)) == 0
    capsys.readouterr()
    assert run(config, "reporters") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:3] == ["0.12", "0", "1"]
    assert line.endswith(ANNA)
    assert run(config, "reporters", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["reporter"] == ANNA
    assert run(config, "reporters", "--limit", "0") == 2
    assert "--limit: expected 1 to 1000" in capsys.readouterr().err


def test_an_empty_ledger_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "reporters") == 0
    assert run(config, "list") == 0
    assert capsys.readouterr().out == "Nobody has reported anything.\nThere is no such report.\n"


def test_what_one_person_says_alone_is_shown_to_whoever_looks_for_what_waits(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a small site nothing is held, and nothing is learned: one person said it."""
    loaded = load_config(config)
    database = open_database(loaded)
    record = message(ANNA)
    keep(database, record, state=TerminalState.FORWARDED)
    found = submit(loaded, database, Claim("spam", ANNA, "api", message_id=record.id))
    assert run(config, "list", "--held") == 0
    page = capsys.readouterr().out
    assert page.startswith("No report waits for a review.\n\n1 report counts and teaches nothing yet")
    assert page.rstrip().endswith("filterd reports list --unlearned")
    assert run(config, "list", "--unlearned") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == str(found.report_id)
    assert run(config, "accept", str(found.report_id)) == 0
    capsys.readouterr()
    assert len(list(examples.examples(database))) == 1
    database.close()
    assert run(config, "list", "--unlearned") == 0
    assert capsys.readouterr().out == "There is no such report.\n"
    assert run(config, "list", "--held") == 0
    assert capsys.readouterr().out == "No report waits for a review.\n"


def test_a_review_of_several_at_once_does_what_it_can(
    config: Path, held: int, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_config(config)
    database = open_database(loaded)
    second = submit(loaded, database, Claim("spam", ANNA, "api", internet_message_id="<unknown@example.org>")).report_id
    database.close()
    assert run(config, "reject", str(held), "99", str(second)) == 1
    said = capsys.readouterr()
    assert said.out == f"Report {held} is overruled.\nReport {second} is overruled.\n"
    assert "no such report 99" in said.err
    assert run(config, "withdraw", str(held), str(second)) == 0
    assert run(config, "accept", str(held)) == 1
    assert f"report {held}: state: " in capsys.readouterr().err


def test_a_long_message_id_pushes_nothing_out_of_the_terminal(
    config: Path, held: int, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_config(config)
    database = open_database(loaded)
    submit(loaded, database, Claim("spam", ANNA, "api", internet_message_id=f"<{'x' * 200}@example.org>"))
    database.close()
    assert run(config, "list", "--held") == 0
    for line in capsys.readouterr().out.splitlines()[1:3]:
        assert ("not_delivered" in line[:75]) or ("unknown_message" in line[:75])
        assert ANNA in line[:100]
