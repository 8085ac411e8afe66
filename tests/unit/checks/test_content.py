"""The classifier as a check: what becomes evidence, when it abstains, what the record gets, where it works."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from filterd.checks import content
from filterd.checks.content import Content
from filterd.classifier.features import from_octets
from filterd.classifier.model import Classification, Model
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.config import SEED_MODEL
from filterd.errors import TemporaryError
from filterd.mail.evidence import Clue, Evidence, Reason, Result
from filterd.mail.message import Message
from tests.support.checks import CLIENT, ask, context
from tests.unit.classifier.mails import HAM, SPAM

ANSWER = Classification(
    log_odds=2.5,
    raw=1.0,
    probability=0.924,
    clues=(Clue("text: pills", 2.0),),
    sections=(),
    features=np.array([7, 9], np.uint32),
    seen=0.5,
    seen_here=0.9,
    familiar=True,
)


class StandIn:
    """A model that answers what it was told to, and remembers what it was asked."""

    name = "test-1"

    def __init__(self, answer: Classification = ANSWER) -> None:
        self.answer = answer
        self.facts: list[ConnectionFacts] = []
        self.threads: list[threading.Thread] = []

    def classify(self, message: Message, facts: ConnectionFacts) -> Classification:
        self.facts.append(facts)
        self.threads.append(threading.current_thread())
        return self.answer


def check(model: Any, message: Message, **more: Any) -> Evidence:
    (found,) = ask(Content(model, 1.0), context(CLIENT, message=message, **more))
    return found


@pytest.mark.parametrize(
    ("log_odds", "reason", "result", "weight"),
    [
        (2.5, Reason.LOOKS_LIKE_SPAM, Result.FAIL, 2.5),
        (-2.5, Reason.LOOKS_LIKE_HAM, Result.PASS, -2.5),
        (0.9, Reason.UNSURE, Result.NEUTRAL, 0.0),
        (-0.9, Reason.UNSURE, Result.NEUTRAL, 0.0),
        (1.0, Reason.LOOKS_LIKE_SPAM, Result.FAIL, 1.0),
    ],
)
def test_what_the_model_says_becomes_evidence(log_odds: float, reason: Reason, result: Result, weight: float) -> None:
    found = check(StandIn(replace(ANSWER, log_odds=log_odds)), Message(HAM))
    assert (found.reason, found.result, found.measured) == (reason, result, weight)
    assert found.clues == ANSWER.clues
    assert found.properties["model"] == "test-1"


@pytest.mark.parametrize(("familiar", "said"), [(True, "yes"), (False, "no")])
def test_whether_it_is_familiar_is_told(familiar: bool, said: str) -> None:
    found = check(StandIn(replace(ANSWER, familiar=familiar)), Message(HAM))
    assert (found.properties["familiar"], found.properties["seen_here"]) == (said, "0.900")


def test_the_record_gets_the_features_with_their_version() -> None:
    message = Message(HAM)
    check(StandIn(), message)
    stored = from_octets(message.views["features"])
    assert stored is not None
    assert stored.tolist() == [7, 9]


def test_the_model_hears_what_smtp_told() -> None:
    model = StandIn()
    check(model, Message(HAM), envelope=SimpleNamespace(mail_from="bert@example.net"))
    check(model, Message(HAM))
    facts = ConnectionFacts("192.0.2.7", "mail.client.example", "", "bert@example.net")
    assert model.facts == [facts, replace(facts, mail_from="")]


def test_large_messages_are_read_in_a_thread() -> None:
    model = StandIn()
    check(model, Message(b"\r\n" + b"x" * 30_000))
    check(model, Message(b"\r\n" + b"x" * 35_000))
    assert [thread is threading.main_thread() for thread in model.threads] == [True, False]


def test_without_a_model_the_content_is_unavailable() -> None:
    with pytest.raises(TemporaryError, match="no content model"):
        ask(Content(None, 1.0), context(CLIENT, message=Message(HAM)))


def test_before_the_message_there_is_nothing_to_say() -> None:
    assert ask(Content(None, 1.0), context(CLIENT)) == []


def test_the_seed_tells_obvious_mail_apart() -> None:
    model = Model.load(SEED_MODEL)
    assert check(model, Message(HAM)).reason is Reason.LOOKS_LIKE_HAM
    assert check(model, Message(SPAM)).reason is Reason.LOOKS_LIKE_SPAM


class Shadow(StandIn):
    """A model beside the one in use that answers so, or fails."""

    name = "test-2"

    def __init__(self, log_odds: float, fault: Exception | None = None) -> None:
        super().__init__()
        self.log_odds, self.fault = log_odds, fault

    def weigh(self, _stream: Any) -> tuple[float, bool]:
        if self.fault is not None:
            raise self.fault
        return self.log_odds, False


def beside(shadow: Any, octets: bytes = HAM) -> Evidence:
    model = Model.load(SEED_MODEL)
    (found,) = ask(Content(model, 1.0, shadow), context(CLIENT, message=Message(octets)))
    return found


def test_a_shadow_stands_in_the_record_and_weighs_nothing() -> None:
    alone, both = beside(None), beside(Shadow(4.25))
    assert {key: value for key, value in both.properties.items() if key.startswith("shadow_")} == {
        "shadow_model": "test-2",
        "shadow_log_odds": "4.250000",
        "shadow_familiar": "no",
    }
    said = {key: value for key, value in both.properties.items() if not key.startswith("shadow_")}
    assert replace(both, properties=said) == alone


def test_large_mail_has_a_shadow_too() -> None:
    assert beside(Shadow(4.25), HAM + b"x\r\n" * 20_000).properties["shadow_log_odds"] == "4.250000"


def test_a_shadow_that_fails_costs_no_message(caplog: pytest.LogCaptureFixture) -> None:
    assert beside(Shadow(0, RuntimeError("weights gone"))) == beside(None)
    assert "the shadow model failed" in caplog.text


def test_the_message_is_read_once_for_both_models(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Message] = []
    monkeypatch.setattr(
        content, "content_stream", lambda message, facts: read.append(message) or content_stream(message, facts)
    )
    seed = Model.load(SEED_MODEL)
    found = beside(seed)
    assert len(read) == 1
    assert float(found.properties["shadow_log_odds"]) == pytest.approx(
        seed.classify(Message(HAM), ConnectionFacts("192.0.2.7", "mail.client.example")).log_odds, abs=1e-6
    )
