"""A value in a script is that value and nothing else, whatever characters it has."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filterd.exchange.powershell import QUOTES, UnsafeValueError, array, literal, table, value_of
from tests.support.powershell import commands, errors, read_literal, strings

ANYTHING = st.text(st.one_of(st.sampled_from(f'{QUOTES}"`$();{{}}|&#@\u2013\u201c'), st.characters()), max_size=40)


@given(ANYTHING)
@example("'; Remove-Mailbox *; '")
@example("\u2019; Remove-Mailbox *; \u2019")
@example("$(Remove-Mailbox *)")
@example("a\nRemove-Mailbox *")
def test_a_literal_reads_back_as_the_value(value: str) -> None:
    try:
        written = literal(value)
    except UnsafeValueError:
        assert not value.isprintable()
        return
    assert read_literal(written) == value
    assert "\n" not in written
    assert "\r" not in written


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), max_size=4))
def test_no_value_becomes_a_command(values: list[str]) -> None:
    script = f"$a = {array(values)}\nGet-Date\n"
    assert errors(script) == []
    assert commands(script) == ["Get-Date"]
    assert strings(script) == values


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\0", "a\u2028b", "\x1b[31m", "x" * 1025])
def test_what_could_leave_its_line_is_refused(value: str) -> None:
    with pytest.raises(UnsafeValueError, match="expected"):
        literal(value)


def test_numbers_truth_and_tables() -> None:
    assert [value_of(v) for v in (True, False, 3, "x", ("a", "b"))] == ["$true", "$false", "3", "'x'", "@('a', 'b')"]
    assert table("t", {"A": "x", "B": False}) == ["$t = @{", "    A = 'x'", "    B = $false", "}"]
