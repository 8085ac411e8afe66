"""`filterd trace ID` as an administrator reads it: the ends, the sum, and who was behind the message."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from filterd.cli import main
from filterd.config import parse_config
from filterd.engine.policy import Policy, decide
from filterd.engine.record import evidence_record
from filterd.lookups import Lookups
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.ports import DnsAnswer, DnsStatus, EvidenceRecord, TerminalState
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.custody import SqlCustody
from filterd.storage.database import open_database
from filterd.storage.quarantine import release
from filterd.storage.schema import outbox
from tests.support.campaigns import HOUR, NOW, sighting
from tests.support.storage import held, message, outcomes

FOUND = [
    Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK, properties={"smtp.mailfrom": "example.org"}),
    Evidence("dkim", Stage.DATA, Result.FAIL, Reason.SIGNATURE_INVALID, properties={"header.d": "example.org"},
             log_text="body has changed since it was signed\x1b[31m"),
    Evidence("dmarc", Stage.DATA, Result.PASS, Reason.OK, properties={"header.from": "example.org", "record": "v=DMARC1"}),
]  # fmt: skip


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A configuration whose ledger has one message, and its id."""
    monkeypatch.setenv("COLUMNS", "200")  # tables are cut at the terminal's width
    lookups = Lookups()
    lookups.note(("example.org", "TXT"), DnsAnswer(DnsStatus.NOERROR, ("v=spf1 -all",), 60))
    return kept(tmp_path, evidence_record(FOUND, [("anna@example.net", decide(FOUND, Policy()))], dns=lookups.record()))


def kept(tmp_path: Path, evidence: EvidenceRecord) -> tuple[Path, str]:
    """The same with that evidence."""
    path = tmp_path / "filterd.toml"
    path.write_text("[storage]\nmin_free_bytes = 0\n")
    database = open_database(parse_config({"storage": {"min_free_bytes": 0}}, tmp_path))
    record = message()
    custody = SqlCustody(database)
    asyncio.run(custody.finish(record, outcomes(record, TerminalState.FORWARDED), evidence, None))
    custody.close()
    return path, record.id


def test_how_many_were_like_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, message_id = kept(tmp_path, evidence_record(FOUND, [("anna@example.net", decide(FOUND, Policy()))]))
    assert main(["trace", message_id, "--config", str(path)]) == 0
    assert "campaign" not in capsys.readouterr().out
    config = parse_config({"storage": {"min_free_bytes": 0}}, tmp_path)
    index = SqlCampaigns(open_database(config), config.campaigns)
    index.add([sighting("FIRST", 1, at_ms=NOW - 2 * HOUR), sighting("SECOND", 1), sighting(message_id, 1)])
    assert main(["trace", message_id, "--config", str(path)]) == 0
    line = "campaign FIRST: 1 like it in the hour before, 2 in the day before, 3 by now"
    assert line in capsys.readouterr().out.splitlines()
    assert main(["trace", message_id, "--config", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["campaign"]
    assert found == {"campaign": "FIRST", "like_hour": 1, "like_day": 2, "messages": 3}


def test_for_people(traced: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, message_id = traced
    assert main(["trace", message_id, "--config", str(path)]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["spf=pass", "smtp.mailfrom=example.org"] in lines
    assert ["dmarc=pass", "header.from=example.org"] in lines
    assert any(line[:5] == ["dkim=fail", "header.d=example.org", "(body", "has", "changed"] for line in lines)
    assert "\x1b" not in out
    assert [line for line in lines if line[-1:] == ["score"]] == [["-0.600", "score"]]


def test_it_says_what_decided_and_what_would_have_changed_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spam = Evidence("content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=3.0)
    forged = Evidence(
        "dmarc", Stage.DATA, Result.FAIL, Reason.NOT_ALIGNED_QUARANTINE, properties={"header.from": "example.org"}
    )
    verdicts = [(name, decide([spam, forged], Policy())) for name in ("anna@example.net", "berta@example.net")]
    path, message_id = kept(tmp_path, evidence_record([spam, forged], verdicts, policy=Policy()))
    assert main(["trace", message_id, "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "anna@example.net, berta@example.net: QUARANTINE  score +5.500" in out
    assert "Nearest change: with a DKIM pass of example.org: tag" in out
    assert "Decided by:     DMARC failed, and the author's domain asks to quarantine or refuse" in out


def test_a_record_of_version_1_reads_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = evidence_record(FOUND, [("anna@example.net", decide(FOUND, Policy()))])
    (verdict,) = old.verdicts
    for key in ("stage", "decided_by", "missing", "nearest_change"):
        del verdict[key]
    verdict["contributions"] = [{k: v for k, v in item.items() if k != "clues"} for item in verdict["contributions"]]
    path, message_id = kept(tmp_path, replace(old, version=1))
    assert main(["trace", message_id, "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Decided by:     below thresholds" in out
    assert "-0.600" in out


def test_a_finding_of_another_version_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = evidence_record(FOUND, [("anna@example.net", decide(FOUND, Policy()))])
    strange = [{**record.evidence[1], "reason": "not_thought_of_yet"}, {"check": "spf"}, record.evidence[2]]
    path, message_id = kept(tmp_path, replace(record, evidence=strange))
    assert main(["trace", message_id, "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "dmarc=pass" in out
    assert "dkim=" not in out


def test_for_programs_the_answers_of_dns_stand_there(
    traced: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, message_id = traced
    assert main(["trace", message_id, "--config", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["evidence"]
    assert [(entry["name"], entry["records"]) for entry in record["extra"]["dns"]] == [("example.org", ["v=spf1 -all"])]


def test_what_the_next_server_said_cannot_write_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "filterd.toml").write_text("[storage]\nmin_free_bytes = 0\n")
    database = open_database(parse_config({"storage": {"min_free_bytes": 0}}, tmp_path))
    record = message()
    custody = SqlCustody(database)
    explained = evidence_record(FOUND, [("anna@example.net", decide(FOUND, Policy()))])
    asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), explained, held(record)))
    custody.close()
    release(database, record.id, None, "carl")
    with database.write() as connection:
        connection.execute(update(outbox).values(last_error="550 no\x1b[2J\u202e"))
    assert main(["trace", record.id, "--config", str(tmp_path / "filterd.toml")]) == 0
    said = capsys.readouterr().out
    assert "delivery to anna@example.net: Ready, 0 attempts 550 no" in said
    assert "\x1b" not in said
    assert "\u202e" not in said
