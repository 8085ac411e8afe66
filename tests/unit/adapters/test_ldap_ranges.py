"""Attributes that a server gives in parts are put together: ranges as Active Directory has them, options, parts without end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_ranges import MAX_PARTS, whole
from filterd.wire.ldap_answer import Entry

VALUES = [b"smtp:a%d@example.org" % number for number in range(3700)]
PART = 1500


def active_directory(base: str, attributes: Sequence[str]) -> Entry:
    """As [MS-ADTS] has it: the plain name without values, and the part."""
    (wanted,) = attributes
    name, _, span = wanted.partition(";")
    at = int(span.removeprefix("range=").partition("-")[0]) if span else 0
    last = at + PART - 1
    shown = "*" if last + 1 >= len(VALUES) else str(last)
    return Entry(base.encode(), {name: [], f"{name};range={at}-{shown}": VALUES[at : last + 1]})


def test_all_values_of_an_attribute_that_comes_in_parts() -> None:
    first = active_directory("cn=a", ["proxyaddresses"])
    first.attributes["objectguid"] = [b"x"]
    assert whole(first, active_directory, "dc1").attributes == {"proxyaddresses": VALUES, "objectguid": [b"x"]}


def test_an_entry_without_parts_is_left_as_it_is() -> None:
    entry = Entry(b"cn=a", {"mail": [b"a@example.org"]})
    assert whole(entry, lambda base, wanted: pytest.fail("asked"), "dc1") is entry


def test_values_with_options_count_as_those_of_the_attribute() -> None:
    entry = Entry(b"cn=a", {"mail": [b"1"], "mail;lang-de": [b"2"], "mail;range=0-*": [b"3"]})
    found = whole(entry, lambda base, wanted: pytest.fail("asked"), "dc1")
    assert found.attributes == {"mail": [b"1", b"2", b"3"]}


@pytest.mark.parametrize(
    "answer",
    [None, Entry(b"cn=a", {}), Entry(b"cn=a", {"m": []}), Entry(b"cn=a", {"m;range=0-1": [b"1"]})],
)
def test_an_object_that_changes_meanwhile_has_what_was_read(answer: Entry | None) -> None:
    first = Entry(b"cn=a", {"m;range=0-1": [b"1", b"2"]})
    assert whole(first, lambda base, wanted: answer, "dc1").attributes == {"m": [b"1", b"2"]}


@pytest.mark.parametrize("step", [0, 1])
def test_parts_without_end_are_an_error_with_a_name(step: int) -> None:
    asked = []

    def endless(base: str, wanted: Sequence[str]) -> Entry:
        asked.append(base)
        at = int(wanted[0].partition("range=")[2].removesuffix("-*"))
        return Entry(base.encode(), {f"m;range={at}-{at - 1 + step}": [b"x"]})

    with pytest.raises(LdapError, match="dc1: m of cn=a does not come to an end") as caught:
        whole(Entry(b"cn=a", {"m;range=0-1": [b"1"]}), endless, "dc1")
    assert caught.value.kind == "broken"
    assert len(asked) == MAX_PARTS
