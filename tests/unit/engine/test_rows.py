"""The table of rows: an order, names for programs, words for people.  What each row decides: test_policy.py."""

from __future__ import annotations

from filterd.config import PolicyConfig
from filterd.engine.policy import Policy, decide
from filterd.engine.rows import ROWS, row_words
from filterd.mail.evidence import Evidence, Reason, Result, Stage


def test_every_row_has_words_that_are_no_jargon() -> None:
    for row in ROWS:
        words = row_words(row.name, PolicyConfig())
        assert words
        assert "_" not in words.replace("tag_score", "").replace("quarantine_score", "").replace("reject_score", "")
        assert "{" not in words
        assert not words.endswith(".")


def test_rows_of_one_name_say_the_same() -> None:
    words: dict[str, str] = {}
    for row in ROWS:
        assert words.setdefault(row.name, row.words) == row.words


def test_thresholds_stand_there_with_their_numbers() -> None:
    config = PolicyConfig(tag_score=1.5)
    assert row_words("tag_score", config) == "the score reaches tag_score (1.5)"
    assert row_words("below_thresholds", None) == "the score stays below tag_score"


def test_the_last_row_always_applies() -> None:
    assert ROWS[-1].name == decide((), Policy()).row == "below_thresholds"


def test_postmaster_is_reachable_from_outside_whatever_the_directory_says() -> None:
    internal = Evidence("recipient", Stage.RCPT, Result.FAIL, Reason.RECIPIENT_INTERNAL)
    assert decide([internal], Policy(), Stage.RCPT, "postmaster@example.org").reply is None
    assert decide([internal], Policy(), Stage.RCPT, "anna@example.org").row == "recipient_internal"


def test_what_must_hold_while_observing_is_marked() -> None:
    always = {row.name for row in ROWS if row.always}
    assert {"relay_denied", "recipient_unknown", "recipient_internal", "unavailable"} <= always
    unknown = Evidence("recipient", Stage.RCPT, Result.FAIL, Reason.RECIPIENT_UNKNOWN)
    assert decide([unknown], Policy(PolicyConfig(observe=True))).reply is not None


def test_a_score_with_a_failed_dmarc_policy_is_refused_with_what_a_postmaster_can_act_on() -> None:
    evidence = [
        Evidence("dmarc", Stage.DATA, Result.FAIL, Reason.NOT_ALIGNED_REJECT, detail="bank.example"),
        Evidence("spf", Stage.MAIL, Result.FAIL, Reason.SPF_FAIL),
        Evidence("helo", Stage.HELO, Result.FAIL, Reason.HELO_UNQUALIFIED),
        Evidence(
            "content", Stage.DATA, Result.FAIL, Reason.LOOKS_LIKE_SPAM, measured=9.0, properties={"familiar": "no"}
        ),
    ]
    verdict = decide(evidence, Policy())
    assert verdict.row == "reject_score"
    assert verdict.reply is not None
    assert (verdict.reply.code, verdict.reply.enhanced) == (550, "5.7.26")
