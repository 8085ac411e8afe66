"""A reply cannot contradict itself, nor carry anything but one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.reply import BadReplyError, Reply, printable


@pytest.mark.parametrize(
    ("code", "enhanced", "text"),
    [(550, "4.1.1", "x"), (250, "2.1", "x"), (99, "", "x"), (600, "", "x"), (250, "2.0.0", "a\r\nb"), (250, "", "ä")],
)
def test_contradictions_are_found_when_built(code: int, enhanced: str, text: str) -> None:
    with pytest.raises(BadReplyError):
        Reply(code, enhanced, text)


def test_the_reference_stands_at_the_end() -> None:
    assert str(Reply(550, "5.1.1", "User unknown").with_reference("ID1")) == "550 5.1.1 User unknown [ID1]"


@given(st.text())
def test_any_foreign_text_can_be_made_a_reply(text: str) -> None:
    line = str(Reply(550, "5.0.0", printable(text) or "Refused"))
    assert line.isascii()
    assert line.isprintable()
