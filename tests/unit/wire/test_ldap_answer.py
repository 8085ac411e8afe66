"""Answers of a directory: entries, references, results, cookies; whole, byte by byte, broken, and in linear time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.wire.ldap_answer import MAX_MESSAGE, AnswerReader, Done, Entry, Goodbye, LdapAnswerError, Reference
from tests.support.growth import assert_growth
from tests.support.ldap_liar import done, entry

ANSWER = entry(
    7, "cn=anna,dc=example", {"proxyAddresses": [b"SMTP:anna@example.org", b"x" * 300], "Member;Range=0-1": [b""]}
) + done(7, 4, "too many", b"next\0page", "dc=example")


def test_an_entry_and_the_end_of_a_page() -> None:
    found, end = AnswerReader(7).feed(ANSWER)
    assert found == Entry(
        b"cn=anna,dc=example",
        {"proxyaddresses": [b"SMTP:anna@example.org", b"x" * 300], "member;range=0-1": [b""]},
    )
    assert end == Done(4, "dc=example", "too many", (), b"next\0page")


def test_the_last_page_has_no_cookie() -> None:
    (end,) = AnswerReader(7).feed(done(7))
    assert isinstance(end, Done)
    assert end.cookie == b""


def test_referrals_and_references() -> None:
    # LDAPResult with referral [3]; SearchResultReference: written by hand, ldap3 reads them only.
    refer = b"\x30\x1d\x02\x01\x07\x65\x18\x0a\x01\x0a\x04\x00\x04\x00\xa3\x0f\x04\x0dldap://a.test"
    (end,) = AnswerReader(7).feed(refer)
    assert end == Done(10, referrals=("ldap://a.test",))
    elsewhere = b"\x30\x14\x02\x01\x07\x73\x0f\x04\x0dldap://b.test"
    assert list(AnswerReader(7).feed(elsewhere)) == [Reference(("ldap://b.test",))]


def test_a_server_that_says_goodbye() -> None:
    notice = b"\x30\x17\x02\x01\x00\x78\x12\x0a\x01\x34\x04\x00\x04\x0bclosing now"
    assert list(AnswerReader(7).feed(notice)) == [Goodbye(52, "closing now")]


def test_what_answers_another_question_is_passed_over() -> None:
    (end,) = AnswerReader(7).feed(done(6) + done(7, 3))
    assert isinstance(end, Done)
    assert end.code == 3


def test_active_directory_ends_its_texts_as_c_does() -> None:
    (end,) = AnswerReader(7).feed(done(7, 49, "80090308: LdapErr: DSID-0C09044E, data 52e, v4563\0"))
    assert isinstance(end, Done)
    assert end.text.endswith("v4563")


@given(st.lists(st.integers(1, 60), max_size=20))
def test_it_does_not_matter_how_the_octets_arrive(cuts: list[int]) -> None:
    reader, at, seen = AnswerReader(7), 0, []
    for size in [*cuts, len(ANSWER)]:
        seen += list(reader.feed(ANSWER[at : at + size]))
        at += size
    assert seen == list(AnswerReader(7).feed(ANSWER))


@given(st.binary(max_size=200), st.integers(0, len(ANSWER)))
def test_any_octets_are_read_or_refused(octets: bytes, at: int) -> None:
    for text in (octets, ANSWER[:at] + octets, ANSWER[:at] + octets + ANSWER[at:]):
        with contextlib.suppress(LdapAnswerError):
            list(AnswerReader(7).feed(text))


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",  # an alert of TLS
        b"\x30\x80\x02\x01\x07",  # the indefinite length
        b"\x30\x85\x01\x00\x00\x00\x00",
        b"\x30\x84" + (MAX_MESSAGE + 1).to_bytes(4, "big"),
        b"\x30\x05\x02\x01\x07\x64\x7f",  # an entry longer than its message
    ],
)
def test_what_is_no_answer(octets: bytes) -> None:
    with pytest.raises(LdapAnswerError):
        list(AnswerReader(7).feed(octets))


def test_reading_takes_linear_time() -> None:
    one = entry(7, "cn=anna,dc=example", {"proxyAddresses": [b"SMTP:anna@example.org"] * 3})

    def entries(count: int) -> Callable[[], object]:
        octets = one * count
        return lambda: sum(1 for _ in AnswerReader(7).feed(octets))

    def pieces(count: int) -> Callable[[], object]:
        octets = entry(7, "cn=anna", {"member": [b"x" * 100] * count})

        def work() -> None:
            reader = AnswerReader(7)
            for at in range(0, len(octets), 1000):
                list(reader.feed(octets[at : at + 1000]))

        return work

    assert_growth(entries, 500, 4000, 20)
    assert_growth(pieces, 2000, 16_000, 20)


def test_the_names_that_a_reference_points_to() -> None:
    uris = (
        "ldap://child.example.org/DC=child,DC=example%20x,DC=org??base",
        "ldaps://other.example.org:636/DC=child,DC=example%20x,DC=org",
        "ldap://dc1.example.org",
        "nothing",
        "ldap://h/" + "x" * 3000,
    )
    assert Reference(uris).names() == ("DC=child,DC=example x,DC=org",)
    assert len(Reference(tuple(f"ldap://h/DC={n}" for n in range(99))).names()) == 10
