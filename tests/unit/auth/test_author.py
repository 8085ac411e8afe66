"""Which domains From names, in every form that mail programs write and spammers try."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth.author import MAX_CANDIDATES, MAX_DOMAINS, author_domains, domains_in
from filterd.auth.names import MAX_U_LABELS, ascii_domain
from filterd.mail.message import Message
from tests.support.growth import assert_growth


def of(*fields: str) -> list[str]:
    text = "".join(f"From: {field}\r\n" for field in fields) + "Subject: x\r\n\r\nFrom: body@example.net\r\n"
    return author_domains(Message(text.encode()))


@pytest.mark.parametrize(
    ("field", "domains"),
    [
        ("joe@example.com", ["example.com"]),
        ("Joe <joe@Example.COM>", ["example.com"]),
        ("Joe <joe@example.com.>", ["example.com"]),
        ('"Joe, the \\"boss\\"" <joe@example.com>', ["example.com"]),
        ('"ceo@bank.example" <joe@example.com>', ["example.com"]),
        ("ceo@bank.example <joe@example.com>", ["example.com"]),
        ("=?utf-8?Q?Joe=2C_boss?= <joe@example.com>", ["example.com"]),
        ("joe@example.com (Joe (the boss) @bank.example)", ["example.com"]),
        ("(a@bank.example) joe@example.com", ["example.com"]),
        ('"joe@home"@example.com', ["example.com"]),
        ("joe @ example . com", ["example.com"]),
        ("Joe\r\n <joe\r\n @example.com>", ["example.com"]),
        ("<@relay.example,@other.example:joe@example.com>", ["example.com"]),
        ("a@example.com, b@example.com", ["example.com"]),
        ("a@example.com, b@example.org", ["example.com", "example.org"]),
        ("Staff: a@example.com, B <b@example.org>;", ["example.com", "example.org"]),
        ("Undisclosed senders:;", []),
        ("Team: joe@example.com;", ["example.com"]),
        ("joe@bücher.example", ["xn--bcher-kva.example"]),
        ("joe@xn--bcher-kva.example", ["xn--bcher-kva.example"]),
        ("joe@пример.рф", ["xn--e1afmkfd.xn--p1ai"]),
        ("joe@example。com", ["example.com"]),
        ("Joe <joe@example.com", ["example.com"]),
        ('"Joe <joe@example.com>', ["example.com"]),
        ("Joe (boss <joe@example.com>", ["example.com"]),
        ("joe@example.com>", ["example.com"]),
        ("joe@mail_out.example.com", ["mail_out.example.com"]),
        # what mail programs read differently is more than one author domain, or none
        ("joe@bank.example@example.com", ["bank.example", "example.com"]),
        ("<a@bank.example> <joe@example.com>", ["bank.example", "example.com"]),
        ("a@bank.example joe@example.com", ["bank.example", "example.com"]),
        ("joe@bank.example\0.example.com", []),
        ("joe@[192.0.2.1]", []),
        ("joe@192.0.2.1", []),
        ("joe@-bank-.example", []),
        ("joe@a..example", []),
        ("joe@" + "a" * 64 + ".example", []),
        ("joe", []),
        ("", []),
        ("MAILER-DAEMON", []),
        ("@example.com", ["example.com"]),
        ("joe@bank.example: x@example.com", ["bank.example", "example.com"]),  # no group has such a name
        ("<joe@bank.example@b:c@example.com>", ["bank.example", "example.com"]),  # no source route
    ],
)
def test_one_field(field: str, domains: list[str]) -> None:
    assert of(field) == domains


def test_two_fields_count_together() -> None:
    assert of("a@example.com", "b@example.org") == ["example.com", "example.org"]
    assert of("a@example.com", "b@EXAMPLE.com") == ["example.com"]


def test_no_field_is_no_author() -> None:
    assert author_domains(Message(b"Subject: x\r\n\r\n")) == []


def test_the_bounds() -> None:
    assert len(of(", ".join(f"a@d{i}.example" for i in range(500)))) == MAX_DOMAINS
    assert of('"' + "x" * 40_000 + '" <a@example.com>') == []


def test_names_outside_ascii_are_few() -> None:
    """A header of 220 KB kept everybody else waiting for over a second."""
    assert of("a@" + "é." * MAX_U_LABELS + "example") != []
    assert of("a@" + "é." * (MAX_U_LABELS + 1) + "example") == []
    field = ", ".join(f"a@é{number}.-" for number in range(MAX_CANDIDATES))
    assert of(field + ", joe@example.com") == []
    assert of("a@-, " * 2 * MAX_CANDIDATES + "joe@example.com") == ["example.com"]

    def prepare(count: int) -> Callable[[], object]:
        text = ",\r\n ".join(f"a@é.é.é.é.é.é.é{number}" for number in range(count))
        return lambda: domains_in(text)

    assert_growth(prepare, MAX_CANDIDATES, MAX_CANDIDATES * 20, 10)


@given(st.text(alphabet=st.sampled_from('ab@.,;:<>()"\\ \t\0é'), max_size=80))
def test_anything_gives_only_usable_names(text: str) -> None:
    for domain in domains_in(text):
        assert ascii_domain(domain) == domain


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    author_domains(Message(b"From: " + octets + b"\r\n\r\n"))


UNITS = ['"', "(", "()", "\\", '"\\', "<", "<>", "@", "@:", ":", ",", "a@b,", " ", "a.", ". ", "é@é.", '"" ', "<@:"]


@pytest.mark.parametrize("unit", UNITS)
def test_growth(unit: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        text = "x@" + unit * (length // len(unit))
        return lambda: domains_in(text)

    assert_growth(prepare, 4_000, 32_000, 8 * 3)


@given(st.text(max_size=300))
def test_names_are_idempotent(text: str) -> None:
    name = ascii_domain(text)
    if name is not None:
        assert name.isascii()
        assert ascii_domain(name) == name
