"""Rows that Exchange's readers and Python's csv read back, whatever stands in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.exchange.logs import EOL, FORMATS, MAX_VALUE, Kind, cell, header, line, stamp
from tests.support.exchangelogs import read_log
from tests.support.growth import assert_growth


def test_header_lines() -> None:
    assert header(Kind.SEND, 1_764_201_600_007).split(EOL) == [
        "#Software: Microsoft Exchange Server",
        "#Version: 15.0.0.0",
        "#Log-type: SMTP Send Protocol Log",
        "#Date: 2025-11-27T00:00:00.007Z",
        "#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context",
        "",
    ]
    assert stamp(999) == "1970-01-01T00:00:00.999Z"
    assert len(FORMATS[Kind.TRACKING].fields) == 30
    assert FORMATS[Kind.AGENT].fields[:16][-2:] == ("Reason", "ReasonData")


@given(st.sampled_from(list(Kind)), st.lists(st.text(max_size=60), min_size=9, max_size=9))
def test_what_is_written_is_read_back(kind: Kind, texts: list[str]) -> None:
    fields = FORMATS[kind].fields[1:10]
    written = dict(zip(fields, texts, strict=False))
    whole = header(kind, 0) + line(kind, {FORMATS[kind].fields[0]: stamp(0)} | written) * 2
    first, second = read_log(whole)
    assert first == second
    for name, text in written.items():
        if text.isprintable():  # nothing of what a person can see is changed
            assert first[name] == text
        assert len(first[name]) == len(text)
    assert len(whole.splitlines()) == 5 + 2, "no value makes a line of its own"
    assert [len(row) for row in csv.reader(io.StringIO(whole))][-1] == len(FORMATS[kind].fields)


def test_values_are_bounded_and_lists_are_not() -> None:
    (row,) = read_log(
        header(Kind.AGENT, 0) + line(Kind.AGENT, {"MessageId": "x" * 9999, "Recipient": "y" * 9999}, ["Recipient"])
    )
    assert (len(row["MessageId"]), len(row["Recipient"])) == (MAX_VALUE, 9999)


@pytest.mark.parametrize("text", ["=1+1", "+", "-", "@x", "plain", "a b"])
def test_what_a_spreadsheet_would_calculate_stays_as_it_is(text: str) -> None:
    assert cell(text) == text


def test_an_unknown_field_is_a_fault() -> None:
    with pytest.raises(KeyError, match="RECV has no field colour"):
        line(Kind.RECEIVE, {"colour": "red"})


def test_time_grows_with_the_length() -> None:
    def prepare(size: int) -> Callable[[], object]:
        text = '",\n ' * size
        return lambda: cell(text, len(text))

    assert_growth(prepare, 20_000, 200_000, 40)
