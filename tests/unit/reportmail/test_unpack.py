"""Every way in which mail programs attach a message to another one gives back that message, and nothing else is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.mail.message import Message
from filterd.reportmail.unpack import MAX_INNER, MAX_MESSAGES, MAX_OCTETS, MAX_PROBLEMS, MAX_TOTAL, unpack
from tests.support.growth import assert_growth
from tests.support.msgfile import msg_file, tnef_stream
from tests.support.reportmail import EICAR, FORMS, forwarded_msg, report_mail, several, spam


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_message_by_its_name_and_text(form: str) -> None:
    found = unpack(report_mail(FORMS[form](spam(7))))
    (one,) = found.messages
    assert (one.message_id, one.subject, one.inner) == ("<7@sender.example>", "Offer 7", ())
    assert Message(one.octets).first("from") == "Eve <eve7@sender.example>"
    assert (found.problems, found.left_out) == ([], 0)
    if "eml" in form or "rfc822" in form:
        assert one.octets.rstrip() == spam(7).rstrip(), "octet for octet"


@pytest.mark.parametrize("form", FORMS)
def test_several_in_one_mail(form: str) -> None:
    found = unpack(report_mail(*several(3, form)))
    assert [item.message_id for item in found.messages] == [f"<{n}@sender.example>" for n in (1, 2, 3)]


def test_all_forms_in_one_mail() -> None:
    found = unpack(report_mail(*(form(spam(n)) for n, form in enumerate(FORMS.values()))))
    assert [item.message_id for item in found.messages] == [f"<{n}@sender.example>" for n in range(len(FORMS))]


def test_our_own_id_is_read_where_the_program_kept_our_field() -> None:
    field = "X-Filterd-Report: CIP:192.0.2.1;\r\n\tH:x;\r\n\tID:06H0KA497Z54F66G\r\n"
    for form in FORMS.values():
        (one,) = unpack(report_mail(form(spam(1, more=field)))).messages
        assert one.our_id == "06H0KA497Z54F66G"


def test_what_is_attached_to_the_attached_is_one_level_below() -> None:
    cover = report_mail(FORMS["rfc822"](spam(1)), FORMS["eml"](spam(2)), message_id="<cover@example.org>")
    for outer in (FORMS["rfc822"](cover), FORMS["eml"](cover)):
        (one,) = unpack(report_mail(outer)).messages
        assert one.message_id == "<cover@example.org>"
        assert [item.message_id for item in one.inner] == ["<1@sender.example>", "<2@sender.example>"]
    (one,) = unpack(report_mail(forwarded_msg(spam(3)))).messages
    assert (one.message_id, [item.message_id for item in one.inner]) == ("<cover@example.org>", ["<3@sender.example>"])


def test_two_levels_below_nobody_looks() -> None:
    inner = report_mail(FORMS["rfc822"](spam(1)), message_id="<inner@example.org>")
    outer = report_mail(FORMS["rfc822"](inner), message_id="<outer@example.org>")
    (one,) = unpack(report_mail(FORMS["rfc822"](outer))).messages
    assert [(item.message_id, item.inner) for item in one.inner] == [("<inner@example.org>", ())]


@pytest.mark.parametrize(
    "attachment",
    [
        ("application/pdf", "invoice.pdf", b"%PDF-1.4"),
        ("image/png", "winmail.png", b"\x89PNG"),
        ("application/octet-stream", "virus.exe", b"MZ"),
        ("text/plain", "quoted.txt", spam()),
        ("application/zip", "Offer.zip", b"PK\3\4"),
        ("application/octet-stream", "report.doc", msg_file(subject="a message within a document's name")),
    ],
)
def test_other_files_are_no_messages_and_no_problem(attachment: tuple[str, str, bytes]) -> None:
    found = unpack(report_mail(attachment))
    assert (found.messages, found.problems) == ([], [])


@pytest.mark.parametrize(
    ("attachment", "problem"),
    [
        (("application/octet-stream", "Offer.eml", b"hello"), "Offer.eml: it is no message"),
        (("application/octet-stream", "Offer.msg", b"hello"), "Offer.msg: it is no message"),
        (
            ("application/octet-stream", "a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600),
            "a.msg: the compound",
        ),
        (("application/octet-stream", "b.msg", msg_file()), "b.msg: the compound file is no message"),
    ],
)
def test_what_looks_like_a_message_and_is_none_is_said(attachment: tuple[str, str, bytes], problem: str) -> None:
    found = unpack(report_mail(attachment, FORMS["rfc822"](spam())))
    assert len(found.messages) == 1, "the others are read all the same"
    assert found.problems[0].startswith(problem)


def test_dangerous_content_is_taken_as_it_is() -> None:
    (one,) = unpack(report_mail(FORMS["eml"](spam(1, text=EICAR.decode())))).messages
    assert EICAR in one.octets


def test_text_alone_holds_nothing() -> None:
    assert unpack(report_mail()).messages == []
    assert unpack(spam()).messages == []


def test_bounds() -> None:
    found = unpack(report_mail(*several(MAX_MESSAGES + 3)))
    assert (len(found.messages), found.left_out) == (MAX_MESSAGES, 3)
    cover = report_mail(*several(MAX_INNER + 2))
    (one,) = unpack(report_mail(FORMS["rfc822"](cover))).messages
    assert len(one.inner) == MAX_INNER
    broken = [("application/octet-stream", f"{n}.eml", b"hello") for n in range(MAX_PROBLEMS + 5)]
    assert len(unpack(report_mail(*broken)).problems) == MAX_PROBLEMS
    (large,) = unpack(report_mail(FORMS["rfc822"](spam(1, text="x" * (MAX_OCTETS + 10))))).messages
    assert len(large.octets) == MAX_OCTETS
    many = unpack(report_mail(*(FORMS["rfc822"](spam(n, text="x" * MAX_OCTETS)) for n in range(10))))
    total = sum(len(item.octets) for item in many.messages)
    assert total <= MAX_TOTAL
    assert many.left_out > 0


@given(st.binary(max_size=400))
def test_any_octets(data: bytes) -> None:
    unpack(data)
    for content_type, name in (("message/rfc822", ""), ("application/x", "a.eml"), ("application/x", "a.msg")):
        for item in unpack(report_mail((content_type, name, data))).messages:
            assert len(item.octets) <= MAX_OCTETS


@settings(max_examples=60)
@given(st.sampled_from(["msg", "tnef", "msg in tnef"]), st.data())
def test_damaged_files_are_read_as_far_as_they_go(form: str, data: st.DataObject) -> None:
    content_type, name, octets = FORMS[form](spam())
    damaged = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for one in (bytes(damaged), octets[:cut]):
        found = unpack(report_mail((content_type, name, one)))
        assert len(found.messages) <= MAX_MESSAGES


@pytest.mark.parametrize(
    "make",
    [
        lambda size: FORMS["rfc822"](spam(1, text="x" * size)),
        lambda size: FORMS["msg"](spam(1, text="x" * size)),
        lambda size: FORMS["tnef"](spam(1, text="x" * size)),
        lambda size: ("application/ms-tnef", "winmail.dat", tnef_stream(files=[("a", b"")] * (size // 40))),
        lambda size: ("application/octet-stream", "a.eml", b"Subject: a\r\n" + b"x: y\r\n" * (size // 6)),
        lambda size: ("message/rfc822", "", b"From: a\r\n\r\n" + b"\r\n--=_" * (size // 6)),
    ],
    ids=["rfc822", "msg", "tnef", "tnef of attributes", "fields", "boundaries"],
)
def test_work_grows_no_faster_than_the_mail(make: Callable[[int], tuple[str, str, bytes]]) -> None:
    def prepare(size: int) -> Callable[[], object]:
        mail = report_mail(make(size))
        return lambda: unpack(mail)

    assert_growth(prepare, 100_000, 800_000, 16)


def test_messages_beyond_the_bound_in_winmail_dat_are_told() -> None:
    inner = [tnef_stream(headers=spam(n).decode(), body="x") for n in range(MAX_MESSAGES + 3)]
    found = unpack(report_mail(("application/ms-tnef", "winmail.dat", tnef_stream(messages=inner))))
    assert [item.message_id for item in found.messages] == [f"<{n}@sender.example>" for n in range(MAX_MESSAGES)]
    assert found.problems == ["winmail.dat: 3 of its files are too many"]
