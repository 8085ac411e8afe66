"""A row is stored and comes back as it was; equal rows are one row."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from filterd.aggregate.rows import AggregateRow, Override, Signature, from_text, key_of, to_text
from tests.support.dmarc import ROW, row

TEXT = st.text(max_size=20)
ROWS = st.builds(
    AggregateRow,
    *[TEXT] * 7,
    overrides=st.lists(st.builds(Override, TEXT, TEXT), max_size=3).map(tuple),
    signatures=st.lists(st.builds(Signature, TEXT, TEXT, TEXT), max_size=3).map(tuple),
    spf_domain=TEXT,
    spf_result=TEXT,
)


@given(ROWS)
def test_a_row_comes_back_as_it_was(one: AggregateRow) -> None:
    assert from_text(to_text(one)) == one
    assert to_text(one).isascii()  # whatever a domain was made of, both databases can store it


@given(ROWS, ROWS)
def test_rows_have_one_key_exactly_when_they_are_equal(one: AggregateRow, other: AggregateRow) -> None:
    assert (key_of("a.example", to_text(one)) == key_of("a.example", to_text(other))) == (one == other)


def test_every_field_makes_a_row_of_its_own() -> None:
    changed = [
        *(row(**{name: "x"}) for name in ("source_ip", "header_from", "envelope_from", "envelope_to", "disposition")),
        *(row(**{name: "x"}) for name in ("dkim", "spf", "spf_domain", "spf_result")),
        row(overrides=(Override("other"),)),
        row(signatures=()),
    ]
    assert len({key_of("a.example", to_text(one)) for one in [ROW, *changed]}) == 12
    assert key_of("a.example", to_text(ROW)) != key_of("b.example", to_text(ROW))
    assert replace(ROW) == ROW
