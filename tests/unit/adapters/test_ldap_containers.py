"""Whether a container has changed: what is asked, and below which bases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from filterd.adapters.ldap_containers import container_changed
from filterd.adapters.ldap_link import Link
from filterd.wire.ldap_answer import Entry


class Answering:
    """Has one changed container below `base`."""

    def __init__(self, base: str = "") -> None:
        self.base = base
        self.asked: list[tuple[str, str]] = []

    def pages(self, base: str, query: str, wanted: Sequence[str]) -> Iterator[list[Entry]]:
        self.asked.append((base, query))
        yield []
        yield [Entry(b"ou=x", {})] if base == self.base else []


@pytest.mark.parametrize(("base", "changed"), [("ou=a", True), ("ou=b", True), ("ou=c", False)])
def test_one_below_any_base_is_enough(base: str, changed: bool) -> None:
    link = Answering(base)
    assert container_changed(cast(Link, link), ("ou=a", "ou=b"), 41) is changed
    assert all("(uSNChanged>=42)" in query for _, query in link.asked)
    assert all("(objectClass=organizationalUnit)" in query for _, query in link.asked)
