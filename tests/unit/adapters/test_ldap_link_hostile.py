"""A directory server that lies: parts of attributes, pages without end, answers that are too large or no numbers, impossible names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from filterd.adapters import ldap_link
from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link, trust
from filterd.config import LdapConfig
from filterd.deadline import Deadline
from tests.support.ldap_liar import Answers, LdapLiar, Search, done, entry

DN = "cn=list,dc=example,dc=org"


@contextmanager
def talking(answers: Answers, **keys: object) -> Iterator[tuple[Link, LdapLiar]]:
    with LdapLiar(answers) as server:
        config = LdapConfig.model_validate({"allow_clear_text": True, "timeout_seconds": 10.0, **keys})
        link = Link(config, server.url, trust(None, "ca_file", verify=True), b"", Deadline.after(30))
        link.open()
        try:
            yield link, server
        finally:
            link.close()


def test_more_values_than_one_answer_has_are_all_found() -> None:
    values = [b"smtp:a%d@example.org" % number for number in range(4)]

    def answers(search: Search) -> Sequence[bytes]:
        part = {"proxyAddresses": [], "proxyAddresses;range=0-1": values[:2]}
        if search.base == DN and search.attributes == ("proxyaddresses;range=2-*",):
            part = {"proxyAddresses;range=2-*": values[2:]}
        return [entry(search.number, DN, part), done(search.number)]

    with talking(answers) as (link, server):
        ((found,),) = link.pages("dc=example,dc=org", "(proxyAddresses=smtp:*)", ["proxyAddresses"])
        assert found.attributes["proxyaddresses"] == values
        assert len(server.asked) == 2
        alone = link.read("cn=x", ["proxyAddresses"])
        assert alone is not None
        assert alone.attributes["proxyaddresses"] == values


def test_pages_without_entries_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_link, "MAX_EMPTY_PAGES", 5)
    with talking(lambda search: [done(search.number, cookie=b"again")]) as (link, server):
        with pytest.raises(LdapError, match=r"6 pages without entries below dc=x") as caught:
            list(link.pages("dc=x", "(a=*)", ["a"]))
        assert caught.value.kind == "broken"
        assert len(server.asked) == 6


def test_some_pages_may_be_empty_and_the_cookie_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """389 Directory Server gives the same cookie with each page; a server may also give a page before it has found anybody."""
    monkeypatch.setattr(ldap_link, "MAX_EMPTY_PAGES", 1)
    asked: list[int] = []

    def answers(search: Search) -> Sequence[bytes]:
        asked.append(search.number)
        here = [entry(search.number, DN, {"a": [b"1"]})] if len(asked) % 2 == 0 else []
        return [*here, done(search.number, cookie=b"0" if len(asked) < 10 else b"")]

    with talking(answers) as (link, _):
        assert sum(map(len, link.pages("dc=x", "(a=*)", ["a"]))) == 5


def test_an_answer_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_link, "MAX_PAGE_BYTES", 1 << 20)
    large = talking(lambda search: [entry(search.number, DN, {"a": [bytes(60_000)]})] * 20)
    with large as (link, _), pytest.raises(LdapError, match=r"an answer of more than 1 MB: lower ldap\.page_size"):
        list(link.pages("dc=x", "(a=*)", ["a"]))


def test_a_result_that_is_no_number_of_anybody() -> None:
    def answers(search: Search) -> Sequence[bytes]:
        code = b"\x0a\x82\x10\x00" + b"\x7f" * 4096
        inner = code + b"\x04\x00\x04\x00"
        operation = b"\x65\x82" + len(inner).to_bytes(2) + inner
        whole = b"\x02\x01" + bytes([search.number]) + operation
        return [b"\x30\x82" + len(whole).to_bytes(2) + whole]

    with talking(answers) as (link, _), pytest.raises(LdapError, match="a result that cannot be"):
        link.read("", ["a"])


@pytest.mark.parametrize("host", ["dc1..example.org", "d" * 70 + ".example.org"])
def test_a_name_that_no_host_can_have(host: str) -> None:
    link = Link(LdapConfig(), f"ldaps://{host}", trust(None, "ca_file", verify=True), b"", Deadline.after(30))
    with pytest.raises(LdapError, match="is the name right") as caught:
        link.open()
    assert caught.value.kind == "unreachable"
