"""What a report says: the address, and Microsoft's prefixes, which outrank it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.reportmail.labels import LABELS, label_of_address, label_of_subject


@pytest.mark.parametrize(
    ("address", "label"),
    [("spam@r.example", "spam"), ("PHISH@r.example", "phish"), ("notspam@r.example", "ham"), ("x@r.example", None)],
)
def test_the_address_says_what_it_is(address: str, label: str | None) -> None:
    assert label_of_address(address) == label


@pytest.mark.parametrize(
    ("subject", "label"),
    [
        *(("1|Offer", "spam"), ("2|Offer", "ham"), ("3|Offer", "phish")),
        *(
            ("Junk: Offer", "spam"),
            ("Not junk: Offer", "ham"),
            ("NOT JUNK: Offer", "ham"),
            ("Phishing: Offer", "phish"),
        ),
        *(("Offer", None), ("", None), ("FW: Not junk: Offer", None), ("12|Offer", None), ("Junk", None)),
    ],
)
def test_a_prefix_of_the_subject_says_what_it_is(subject: str, label: str | None) -> None:
    assert label_of_subject(subject) == label


def test_the_author_of_the_reported_mail_does_not_say_what_it_is() -> None:
    assert label_of_subject("Not junk: cheap pills", ["Not junk:  Cheap pills"]) is None
    assert label_of_subject("3|Not junk: cheap pills", ["Not junk: cheap pills"]) == "phish"
    cut, whole = "Not junk: " + "x" * 245, "NOT JUNK: " + "x" * 300
    assert label_of_subject(cut, ["Offer", whole]) is None, "Exchange cuts subjects off at 255 characters"


@given(st.text(max_size=200), st.lists(st.text(max_size=50), max_size=3))
def test_every_text_has_a_label_or_none(subject: str, attached: list[str]) -> None:
    assert label_of_subject(subject, attached) in {None, *LABELS.values()}
    assert label_of_address(subject) in {None, *LABELS.values()}
