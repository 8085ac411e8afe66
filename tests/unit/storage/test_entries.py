"""Owns the tests of what a message writes: texts that any database takes, and ends that leave nobody out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.errors import StorageError
from filterd.ports import Outcome, TerminalState
from filterd.storage.bodies import StoredBody
from filterd.storage.entries import Into, clean, ending, pack_list, rows_ended, unpack_list
from tests.support.storage import evidence, held, message

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
MAILBOXES = st.sampled_from(["a@x.example", "b@x.example", "c@x.example", ""])


@given(ANY_TEXT)
def test_clean_text_can_be_stored(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert "\0" not in cleaned
    assert clean(cleaned) == cleaned
    assert len(cleaned) == len(text)


@given(st.lists(ANY_TEXT))
def test_lists_come_back(texts: list[str]) -> None:
    assert unpack_list(pack_list(texts)) == tuple(map(clean, texts))


@given(
    st.lists(MAILBOXES, max_size=4),
    st.lists(st.tuples(MAILBOXES, st.sampled_from(TerminalState)), max_size=4),
    st.one_of(st.none(), st.lists(MAILBOXES, max_size=3)),
)
def test_an_accepted_end_leaves_nobody_out(
    asked: list[str], ends: list[tuple[str, TerminalState]], copies: list[str] | None
) -> None:
    record = replace(message(), recipients=tuple(asked))
    kept = replace(held(record), recipients=dict.fromkeys(copies, ())) if copies is not None else None
    outcomes = [Outcome(recipient, state, "250 OK") for recipient, state in ends]
    try:
        ending(record, outcomes, evidence(), kept)
    except StorageError:
        return
    by_recipient = dict(ends)
    assert len(by_recipient) == len(ends)
    assert set(by_recipient) == (set(asked) or {""})
    quarantined = {recipient for recipient, state in ends if state is TerminalState.QUARANTINED}
    assert quarantined == set(copies or ())


def test_the_error_names_who_is_left_out() -> None:
    record = message("a@x.example", "b@x.example")
    with pytest.raises(StorageError, match=r"b@x\.example"):
        ending(record, [Outcome("a@x.example", TerminalState.FORWARDED, "250 OK")], evidence(), None)


def test_a_copy_that_is_held_for_another_reason_says_so() -> None:
    record = message("a@x.example", "spam@r.example")
    kept = replace(held(record), reason="looks_like_spam", reasons={"spam@r.example": "user_report"})
    ends = [Outcome(name, TerminalState.QUARANTINED, "250 OK") for name in record.recipients]
    rows = rows_ended(ending(record, ends, evidence(), kept), StoredBody(1, "", b"", None), 1)
    assert [row["reason"] for row in rows[Into.QUARANTINE]] == ["looks_like_spam"]
    assert {row["recipient"]: row["reason"] for row in rows[Into.COPIES]} == {
        "a@x.example": "looks_like_spam",
        "spam@r.example": "user_report",
    }
