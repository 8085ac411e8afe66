"""Reports by the one door: what we saw is learned, and what is doubtful waits for a review."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filterd.classifier.features import features, to_octets
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.config import CampaignsConfig, Config
from filterd.content.fingerprint import fingerprint
from filterd.directory.values import AcceptedDomain, DomainType
from filterd.errors import PermanentError
from filterd.learning.trust import State
from filterd.mail.message import Message
from filterd.ports import CampaignSighting, EvidenceRecord, MessageRecord, TerminalState
from filterd.reporting import Claim, Submitted, UnknownMessageError, submit
from filterd.storage import examples, ledger, pins, quarantine, reports
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.directory import entry, put_snapshot
from tests.support.sideservice import make_config
from tests.support.storage import evidence, held, make_database, message, outcomes

ANNA, BOB, CARL = "anna@example.net", "bob@example.net", "carl@example.net"
NOW = 1_900_000_000_000
TEXT = b"your parcel is waiting at our depot because the customs fee was not paid please confirm your address and pay "
MAIL = (
    b"From: Depot <depot@example.org>\r\nTo: anna@example.net\r\nSubject: your parcel\r\n"
    b"Message-ID: <1@example.org>\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\n\r\n" + TEXT * 2 + b"\r\n"
)
OTHER = (
    b"From: Carla <carla@example.com>\r\nTo: anna@example.net\r\nSubject: minutes of the meeting\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nPlease find the minutes below. We agreed to move the summer party to August and\r\n"
    b"to ask the caterer for a vegetarian menu. Next time we meet in room 12, as the projector there works again.\r\n"
)


def features_of(octets: bytes) -> bytes:
    return to_octets(features(content_stream(Message(octets), ConnectionFacts())))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path, recipients={"accepted_domains": ["example.net"]}, learning={"reports_per_hour": 3})


def keep(
    db: Database,
    record: MessageRecord,
    state: TerminalState = TerminalState.FORWARDED,
    action: str = "tag",
    **more: Any,
) -> str:
    """Our id of a message that ended like this, with the features of MAIL."""
    values: dict[str, Any] = {"features": features_of(MAIL), "action": action, **more}
    found = replace(evidence(), **values)
    _finish(db, record, state, found)
    return record.id


def _finish(db: Database, record: MessageRecord, state: TerminalState, found: EvidenceRecord) -> None:
    custody = SqlCustody(db)
    kept = held(record) if state is TerminalState.QUARANTINED else None
    asyncio.run(custody.finish(record, outcomes(record, state), found, kept))
    custody.close()


def say(config: Config, db: Database, label: str = "spam", reporter: str = ANNA, **more: Any) -> Submitted:
    at_ms = more.pop("at_ms", NOW)
    return submit(config, db, Claim(label, reporter, "api", **more), at_ms)


def test_two_recipients_make_an_example_of_what_we_saw(config: Config, db: Database) -> None:
    id = keep(db, message(ANNA, BOB))
    rewritten = MAIL.replace(
        b"Subject: your parcel\r\n", b"Subject: your parcel\r\nMIME-Version: 1.0\r\nX-Mailer: x\r\n"
    )
    first = say(config, db, message_id=id)
    second = say(config, db, reporter="Bob@Example.NET", octets=rewritten)
    assert (first.state, second.state, second.message_id) == (State.COUNTING, State.COUNTING, id)
    (example,) = examples.examples(db)
    assert example.features == features_of(MAIL), "of our own record, not of what was forwarded"
    assert example.reporters == (ANNA, BOB)


@pytest.mark.parametrize(
    ("reporter", "recipient", "hold"),
    [
        ("mallory@example.com", "mallory@example.com", "outsider"),
        ("console", ANNA, "outsider"),
        (BOB, ANNA, "not_delivered"),
        ("sender@example.net", "sender@example.net", "own_mail"),
    ],
)
def test_who_may_not_say_it_waits(config: Config, db: Database, reporter: str, recipient: str, hold: str) -> None:
    id = keep(db, message(recipient, mail_from="sender@example.net"))
    found = say(config, db, reporter=reporter, message_id=id)
    assert (found.state, hold in found.holds) == (State.HELD, True)
    assert list(examples.examples(db, agreement=0)) == []


def test_who_is_of_a_domain_that_a_directory_accepts_is_of_the_house(tmp_path: Path, db: Database) -> None:
    config = make_config(tmp_path, push={"enabled": True})
    snapshot = config.state_dir / "directory" / "push.snapshot"
    held_before = say(config, db, message_id=keep(db, message(ANNA))).holds
    put_snapshot(snapshot, [entry(ANNA)], domains=[AcceptedDomain("example.net")])
    assert "outsider" in held_before
    assert say(config, db, message_id=keep(db, message(ANNA))).holds == ()
    partner = AcceptedDomain("example.net", DomainType.EXTERNAL_RELAY)
    put_snapshot(snapshot, [entry(ANNA)], domains=[partner])
    assert "outsider" in say(config, db, message_id=keep(db, message(ANNA))).holds, "passed on for others, not ours"


def test_the_author_of_a_message_may_not_judge_it(config: Config, db: Database) -> None:
    record = replace(message(ANNA), header_from='"Depot, west" <Anna@example.net>')
    assert say(config, db, message_id=keep(db, record)).holds == ("own_mail",)
    named = replace(message(ANNA), header_from='"anna@example.net" <depot@example.org>')
    assert say(config, db, "ham", message_id=keep(db, named)).holds == (), "a display name is anybody's"


def test_a_forged_author_is_not_the_reporter(config: Config, db: Database) -> None:
    record = replace(message(ANNA), header_from=ANNA)
    spoofed = [{"check": "spoof", "reason": "own_domain", "result": "fail"}]
    assert say(config, db, message_id=keep(db, record, evidence=spoofed)).holds == ()


@pytest.mark.parametrize("login", ["anna", "EXAMPLE\\anna", ANNA])
def test_what_the_reporter_sent_under_another_name_is_their_own(config: Config, db: Database, login: str) -> None:
    """Whoever is logged in may put any author into a message to himself, and have his own text judged."""
    spoofed = [{"check": "spoof", "reason": "own_domain", "result": "fail"}]
    id = keep(db, message(ANNA, BOB), evidence=spoofed, extra={"user": login})
    assert say(config, db, message_id=id).holds == ("own_mail",)
    assert say(config, db, reporter=BOB, message_id=id).holds == ()


def test_a_copy_that_is_held_was_not_delivered_one_that_was_released_is(config: Config, db: Database) -> None:
    id = keep(db, message(ANNA, BOB), TerminalState.QUARANTINED)
    assert say(config, db, message_id=id).holds == ("not_delivered",)
    quarantine.release(db, id, [BOB], "ops")
    assert say(config, db, reporter=BOB, message_id=id).holds == ()


def test_a_message_that_we_never_had_waits_and_keeps_what_was_sent(config: Config, db: Database) -> None:
    found = say(config, db, octets=MAIL.replace(b"\r\n", b"\n"))
    assert (found.holds, found.message_id) == (("unknown_message",), None)
    reports.decide(db, found.report_id, True, "ops")
    (example,) = examples.examples(db)
    assert example.features == features_of(MAIL)
    (report,) = reports.list_reports(db)
    assert report.name == "<1@example.org>"


def test_a_message_whose_content_we_forgot_waits_when_its_text_is_only_claimed(config: Config, db: Database) -> None:
    id = keep(db, message(ANNA))
    ledger.expire_evidence(db, 2**60)
    assert say(config, db, "ham", octets=OTHER).holds == ("unknown_message",)
    found = say(config, db, message_id=id)
    assert found.holds == (), "nothing to learn, and nothing to hold"
    assert not reports.list_reports(db, label="spam")[0].has_features


def test_another_message_under_our_message_id_waits(config: Config, db: Database) -> None:
    keep(db, message(ANNA))
    found = say(config, db, octets=OTHER)
    assert found.holds == ("altered",)
    assert say(config, db, "ham", octets=MAIL).holds == ()


def test_of_several_messages_with_one_message_id_the_reporters_own_is_meant(config: Config, db: Database) -> None:
    own = keep(db, message(ANNA))
    keep(db, message(BOB))
    assert say(config, db, internet_message_id="<1@example.org>").message_id == own
    assert say(config, db, "ham", internet_message_id="1@example.org").message_id == own


def test_of_several_of_the_reporters_the_one_that_looks_like_it_is_meant(config: Config, db: Database) -> None:
    own = keep(db, message(ANNA))
    newer = keep(db, message(ANNA), features=features_of(OTHER))
    assert say(config, db, octets=MAIL).message_id == own
    assert say(config, db, "ham", octets=OTHER).message_id == newer


def test_more_than_learning_reports_per_hour_waits(config: Config, db: Database) -> None:
    ids = [keep(db, message(ANNA, message_id=f"<{number}@example.org>")) for number in range(5)]
    held_for = [say(config, db, message_id=id).holds for id in ids[:4]]
    assert held_for == [(), (), (), ("burst",)]
    assert say(config, db, message_id=ids[4], at_ms=NOW + 3_600_001).holds == ()


def test_who_was_wrong_twice_waits(config: Config, db: Database) -> None:
    for number in range(2):
        id = keep(db, message(ANNA, message_id=f"<{number}@example.org>"))
        reports.decide(db, say(config, db, message_id=id).report_id, False, "ops")
    id = keep(db, message(ANNA, message_id="<9@example.org>"))
    assert say(config, db, message_id=id, at_ms=NOW + 9_000_000).holds == ("low_trust",)


def test_a_contradiction_waits_and_stops_what_it_contradicts(config: Config, db: Database) -> None:
    id = keep(db, message(ANNA, BOB, CARL))
    say(config, db, message_id=id)
    say(config, db, reporter=BOB, message_id=id)
    assert len(list(examples.examples(db))) == 1
    assert say(config, db, "ham", CARL, message_id=id).holds == ("contradiction",)
    assert list(examples.examples(db)) == []
    say(config, db, "spam", "ops", message_id=id, trusted=True)
    assert [example.label for example in examples.examples(db)] == ["spam"]


def test_a_trusted_word_is_never_held(config: Config, db: Database) -> None:
    found = say(config, db, "ham", "ops", octets=MAIL, trusted=True)
    assert (found.state, found.holds) == (State.COUNTING, ())


@pytest.mark.parametrize(
    ("action", "pinned"), [("tag", True), ("quarantine", True), ("reject", True), ("accept", False)]
)
def test_trusted_ham_is_pinned_when_it_was_a_false_positive(
    config: Config, db: Database, action: str, pinned: bool
) -> None:
    id = keep(db, message(ANNA), action=action)
    say(config, db, "ham", "ops", message_id=id, trusted=True)
    assert [pin.message_id for pin in pins.list_pins(db)] == ([id] if pinned else [])


def test_saying_it_twice_at_once_is_saying_it_once(config: Config, db: Database) -> None:
    id = keep(db, message(ANNA))
    found: list[Submitted] = []
    threads = [threading.Thread(target=lambda: found.append(say(config, db, message_id=id))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({item.report_id for item in found}) == 1
    assert sorted(item.already for item in found) == [False] + [True] * 5


def test_what_came_by_another_way_finds_its_campaign(config: Config, db: Database) -> None:
    like = fingerprint(Message(MAIL))
    assert like is not None
    SqlCampaigns(db, CampaignsConfig()).add(
        [CampaignSighting("FIRST", 1, TerminalState.FORWARDED, like.keys, like.sketch)]
    )
    say(config, db, octets=MAIL)
    assert reports.list_reports(db)[0].campaign == "FIRST"


@pytest.mark.parametrize(
    ("claim", "field"),
    [
        (Claim("good", ANNA, "api", message_id="A"), "label"),
        (Claim("spam", "", "api", message_id="A"), "reporter"),
        (Claim("spam", "x" * 321, "api", message_id="A"), "reporter"),
        (Claim("spam", ANNA, "", message_id="A"), "source"),
        (Claim("spam", ANNA, "api", message_id="A", note="x" * 2001), "note"),
        (Claim("spam", ANNA, "api", internet_message_id=" "), "message_id"),
        (Claim("spam", ANNA, "api", message_id="NONE"), "message_id"),
    ],
)
def test_a_claim_that_cannot_be_used_is_named_and_not_kept(
    config: Config, db: Database, claim: Claim, field: str
) -> None:
    with pytest.raises(PermanentError, match=f"^{field}: "):
        submit(config, db, claim)
    assert reports.list_reports(db) == ()


def test_an_unknown_id_can_be_told_from_other_mistakes(config: Config, db: Database) -> None:
    with pytest.raises(UnknownMessageError):
        say(config, db, message_id="NONE")


_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates too


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(octets=st.binary(min_size=1, max_size=300), name=_TEXT, reporter=_TEXT)
def test_any_octets_and_names_make_a_report_and_twice_the_same_makes_one(
    config: Config, db: Database, octets: bytes, name: str, reporter: str
) -> None:
    claim = Claim("spam", f"{reporter}.", "mail", internet_message_id=name, octets=octets)
    first = submit(config, db, claim, NOW)
    again = submit(config, db, claim, NOW)
    assert first.state is State.HELD
    if reports.get(db, first.report_id).name:  # type: ignore[union-attr]
        assert (again.report_id, again.already) == (first.report_id, True)


def test_who_was_wrong_too_often_contradicts_nobody(config: Config, db: Database) -> None:
    """Else one person could keep every campaign that reaches him from being learned, by being first."""
    id = keep(db, message(ANNA, BOB, CARL))
    first = say(config, db, "ham", reporter=CARL, message_id=id)
    assert say(config, db, message_id=id).holds == ("contradiction",)
    for _ in range(2):
        other = keep(db, message(CARL))
        reports.decide(db, say(config, db, "ham", reporter=CARL, message_id=other, at_ms=1).report_id, False, "ops")
    assert first.state is State.COUNTING
    assert say(config, db, reporter=BOB, message_id=id).state is State.COUNTING


def test_who_agrees_with_an_administrator_contradicts_nobody(config: Config, db: Database) -> None:
    id = keep(db, message(ANNA, BOB, CARL))
    say(config, db, "ham", message_id=id)
    say(config, db, "spam", "ops", message_id=id, trusted=True)
    assert say(config, db, "spam", BOB, message_id=id).holds == ()
    assert say(config, db, "ham", CARL, message_id=id).holds == ("contradiction",)


def test_whoever_borrows_a_message_id_does_not_choose_what_a_button_means(config: Config, db: Database) -> None:
    """A button sends the Message-ID alone; whoever is on the same mailing list can send spam under that of a good mail."""
    spam = keep(db, message(ANNA, BOB))
    good = keep(db, message(ANNA), features=features_of(OTHER))
    pressed = say(config, db, internet_message_id="<1@example.org>")
    assert (pressed.state, pressed.holds) == (State.HELD, ("ambiguous",))
    assert say(config, db, "spam", BOB, internet_message_id="<1@example.org>").holds == (), "he got but one"
    assert say(config, db, "ham", octets=OTHER).message_id == good
    assert say(config, db, "phish", octets=MAIL).message_id == spam, "the text says which"


def test_one_message_that_came_twice_is_one(config: Config, db: Database) -> None:
    keep(db, message(ANNA))
    again = MAIL.replace(b"10:00:00", b"10:05:00")
    newest = keep(db, message(ANNA), features=features_of(again))
    found = say(config, db, internet_message_id="<1@example.org>")
    assert (found.message_id, found.holds) == (newest, ())


def test_an_administrator_names_the_newest_of_several(config: Config, db: Database) -> None:
    keep(db, message(ANNA))
    newest = keep(db, message(BOB), features=features_of(OTHER))
    found = say(config, db, reporter="ops", internet_message_id="<1@example.org>", trusted=True)
    assert (found.message_id, found.state) == (newest, State.COUNTING)


def test_of_many_who_say_the_opposite_one_is_heard_even_if_nobody_asks_for_their_trust(
    config: Config, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.reporting._MAX_ASKED", 1)
    id = keep(db, message(ANNA, BOB, CARL))
    for name in (BOB, CARL):
        say(config, db, "ham", reporter=name, message_id=id)
        for _ in range(2):
            other = keep(db, message(name))
            reports.decide(db, say(config, db, "ham", reporter=name, message_id=other, at_ms=1).report_id, False, "ops")
    assert say(config, db, message_id=id).holds == ("contradiction",)
