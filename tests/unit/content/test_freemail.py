"""Providers for everybody."""

from __future__ import annotations

from filterd.content.freemail import FREEMAIL
from filterd.content.host import read_name
from filterd.content.suffixes import organizational


def test_names_are_in_the_form_in_which_they_are_compared() -> None:
    for name in FREEMAIL:
        host = read_name(name)
        assert host is not None
        assert (host.name, organizational(name)) == (name, name)
