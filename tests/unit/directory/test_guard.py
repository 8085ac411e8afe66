"""The guard: how many recipients may go at once, and that no accepted domain goes unnoticed."""

from __future__ import annotations

import pytest

from filterd.directory.guard import FREE, fewer, gone_domains, newly_looked_up, refusal, with_old
from filterd.directory.keys import address_key
from filterd.directory.table import Builder, Entry, Table
from filterd.directory.values import AcceptedDomain, DomainType

KEY = bytes(32)


def people(*numbers: int) -> Table:
    builder = Builder()
    for number in numbers:
        builder.add(Entry(number.to_bytes(16, "big"), (address_key(KEY, f"u{number}@example.org"),)))
    return builder.table()


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (range(0), range(0), False),
        (range(0), range(10), False),
        (range(100), range(100), False),
        (range(100), range(50, 250), True),  # more than before, and yet half of the old ones are gone
        (range(100), range(10, 100), False),  # just ten percent
        (range(100), range(11, 100), True),
        (range(20), range(FREE, 20), False),  # five may always go
        (range(20), range(FREE + 1, 20), True),
        (range(3), range(0), True),  # but never all of them
        (range(1), range(1, 2), False),
        (range(3), range(2), False),
        (range(3), range(1), True),  # most of a few are no everyday change
        (range(4), range(2), False),
        (range(9), range(4), True),
    ],
)
def test_how_many_may_go(before: range, after: range, refused: bool) -> None:
    said = refusal(people(*before), people(*after), 10)
    assert bool(said) is refused


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (0, 0, False),
        (0, 9, False),
        (100, 90, False),
        (100, 89, True),
        (20, 15, False),
        (20, 14, True),
        (9, 100, False),
        (5, 3, False),
        (5, 2, True),
    ],
)
def test_how_many_fewer_there_may_be(before: int, after: int, refused: bool) -> None:
    assert bool(fewer(before, after, 10)) is refused


def test_the_text_says_how_many() -> None:
    assert refusal(people(*range(100)), people(*range(50)), 10) == (
        "50 of 100 recipients would be dropped (50.0 %, allowed are 10 %)"
    )
    assert refusal(people(1), people(), 100) == "all 1 recipients would be dropped"


def test_a_guard_of_a_hundred_percent_lets_everything_through_but_all() -> None:
    assert not refusal(people(*range(100)), people(99), 100)
    assert refusal(people(*range(100)), people(), 100)


ONE, TWO, BELOW = (
    AcceptedDomain("one.example"),
    AcceptedDomain("two.example"),
    AcceptedDomain("one.example", subdomains=True),
)


def test_accepted_domains_do_not_vanish() -> None:
    assert not gone_domains(None, None)
    assert not gone_domains((), (ONE,))
    assert not gone_domains((ONE,), (ONE, TWO))
    assert gone_domains((ONE, TWO), (ONE,)) == "the accepted domain two.example is gone"
    assert "one.example, two.example" in gone_domains((ONE, TWO), None)
    assert gone_domains((ONE, BELOW), (ONE,)) == "the accepted subdomains of one.example are gone"
    many = tuple(AcceptedDomain(f"d{number}.example") for number in range(9))
    assert gone_domains(many, ()).endswith("and 4 more are gone")


def test_whose_recipients_are_looked_up_from_now_on() -> None:
    relay = AcceptedDomain("one.example", DomainType.INTERNAL_RELAY)
    assert newly_looked_up((relay,), (ONE, TWO)) == ("one.example",)
    assert newly_looked_up(None, (ONE,)) == ()
    assert newly_looked_up((ONE,), (relay,)) == ()


def test_domains_that_are_gone_stay_beside_the_new_ones() -> None:
    relay = AcceptedDomain("one.example", DomainType.INTERNAL_RELAY)
    assert with_old((ONE, TWO), (ONE,)) == (ONE, TWO)
    assert with_old((ONE,), None) == (ONE,)
    assert with_old((ONE, BELOW), (relay,)) == (
        relay,
        AcceptedDomain("one.example", DomainType.INTERNAL_RELAY, subdomains=True),
    )
