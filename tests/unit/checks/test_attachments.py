"""The check of attachments: what is looked at where, and what is said about it."""

from __future__ import annotations

import base64
import binascii
import threading

import pytest

from filterd.checks.attachments import REASONS, Attachments
from filterd.config import AttachmentsConfig
from filterd.content.attachments.finding import Kind
from filterd.content.view import ContentView, view_of
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result
from filterd.mail.message import Message
from tests.support.archives import PROGRAM, TEXT, encrypted_zip, zip_of
from tests.support.attached import attached
from tests.support.checks import CLIENT, ask, context
from tests.support.documents import word_of
from tests.support.inspector import LibraryInspector


def found(message: Message, config: AttachmentsConfig | None = None, **more: object) -> list[Evidence]:
    return ask(Attachments(config or AttachmentsConfig(), LibraryInspector()), context(message=message, **more))


def reasons(message: Message, config: AttachmentsConfig | None = None) -> set[Reason]:
    return {item.reason for item in found(message, config)}


def test_every_kind_of_finding_has_a_reason_and_a_key_of_the_configuration() -> None:
    assert set(REASONS) == set(Kind)
    assert {key for _, key in REASONS.values()} <= set(AttachmentsConfig.model_fields)
    assert len({reason for reason, _ in REASONS.values()}) == len(REASONS)


def test_a_program_in_an_archive() -> None:
    first, *_ = found(attached(("invoice.zip", zip_of(("invoice.pdf.exe", PROGRAM)))))
    assert (first.reason, first.detail) == (Reason.ATTACHMENT_EXECUTABLE, "invoice.zip > invoice.pdf.exe")
    assert first.log_text == "(.exe, Windows program)"
    assert first.result is Result.FAIL
    assert first.measured is None


@pytest.mark.parametrize(
    "message",
    [
        attached(),
        attached(("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(5_000)), declared="image/jpeg"),
        attached(("letter.pdf", b"%PDF-1.7" + bytes(5_000)), declared="application/pdf"),
        attached(("notes.txt", TEXT), declared="text/plain"),
        attached(("picture.png", b"\x89PNG\r\n\x1a\n"), ("calendar.ics", b"BEGIN:VCALENDAR")),
        Message(b"Content-Type: text/html\r\n\r\n<html><script>atob(createObjectURL)</script>"),
        Message(b""),
    ],
)
def test_plain_mail_is_not_handed_to_anybody(message: Message) -> None:
    inspector = LibraryInspector()
    assert ask(Attachments(AttachmentsConfig(), inspector), context(message=message)) == []
    assert inspector.seen == []


def test_blanks_before_the_octets_hide_nothing() -> None:
    """Mail programs leave out what is no base64; so do we, however much of it comes first."""
    plain = bytes(attached(("a.dat", zip_of(("b.exe", PROGRAM)))).octets)
    at = plain.index(b"base64\r\n\r\n") + len(b"base64\r\n\r\n")
    for filling in (b"\r\n" * 10_000, b"    \r\n" * 5_000, b"!*-_#" * 5_000):
        message = Message(plain[:at] + filling + plain[at:])
        assert reasons(message) == {Reason.ATTACHMENT_EXECUTABLE}


def test_only_what_has_an_inside_is_handed_over() -> None:
    inspector = LibraryInspector()
    files = [("a.zip", zip_of(("a", TEXT))), ("b.pdf", b"%PDF-1.7"), ("c.docx", word_of(None)), ("d.exe", PROGRAM)]
    ask(Attachments(AttachmentsConfig(), inspector), context(message=attached(*files)))
    assert inspector.seen == ["a.zip", "c.docx"]


def uuencoded(name: str, octets: bytes) -> bytes:
    lines = b"".join(binascii.b2a_uu(octets[at : at + 45]) for at in range(0, len(octets), 45)).replace(b"\n", b"\r\n")
    return f"begin 644 {name}\r\n".encode() + lines + b"`\r\nend\r\n"


def part(head: str, body: bytes) -> Message:
    """A text, and one more part."""
    start = b"From: joe@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limit\r\n\r\n"
    text = b"--limit\r\nContent-Type: text/plain\r\n\r\nHello\r\n--limit\r\n"
    return Message(start + text + head.encode() + b"\r\n\r\n" + body + b"\r\n--limit--\r\n")


def test_uuencoded_text_is_an_attachment_to_outlook() -> None:
    (item,) = found(Message(b"Content-Type: text/plain\r\n\r\nHello\r\n" + uuencoded("Setup.exe", PROGRAM)))
    assert (item.reason, item.detail) == (Reason.ATTACHMENT_EXECUTABLE, "Setup.exe")
    assert item.log_text == "(.exe, Windows program)"
    assert reasons(Message(b"\r\nbegin 644 setup.exe\r\nis how such text begins\r\n")) == set()
    archive = uuencoded("a.zip", zip_of(("a.js", TEXT)))
    assert reasons(Message(b"\r\nHello\r\n" + archive)) == {Reason.ATTACHMENT_SCRIPT}
    encoded = base64.encodebytes(uuencoded("a.exe", PROGRAM)).replace(b"\n", b"\r\n")
    assert reasons(Message(b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded)) == {Reason.ATTACHMENT_EXECUTABLE}
    assert reasons(Message(b"\r\n" + uuencoded("a", b"x") * 9)) == {Reason.ATTACHMENT_UNREADABLE}


@pytest.mark.parametrize("encoding", ["x-uuencode", "uuencode", "x-uue", "uue"])
def test_uuencode_as_a_transfer_encoding(encoding: str) -> None:
    head = f"Content-Type: application/x; name=a.dat\r\nContent-Transfer-Encoding: {encoding}"
    assert reasons(part(head, uuencoded("a.dat", zip_of(("a.js", TEXT))))) == {Reason.ATTACHMENT_SCRIPT}


@pytest.mark.parametrize("kind", ["message/rfc822", "message/global", "message/news"])
def test_a_mail_in_base64_is_opened(kind: str) -> None:
    inner = base64.encodebytes(bytes(attached(("setup.exe", PROGRAM)).octets)).replace(b"\n", b"\r\n")
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64"
    assert reasons(part(head, inner)) == {Reason.ATTACHMENT_EXECUTABLE}


def test_the_name_of_an_attached_mail() -> None:
    assert reasons(part('Content-Type: message/rfc822; name="letter.hta"', b"Subject: x\r\n\r\n")) == {
        Reason.ATTACHMENT_SCRIPT
    }
    assert reasons(part('Content-Type: message/rfc822; name="from joe@example.com"', b"Subject: x\r\n\r\n")) == set()


def test_a_script_without_a_name_is_one_by_its_type() -> None:
    assert reasons(part("Content-Type: text/javascript", b"x = 1")) == {Reason.ATTACHMENT_SCRIPT}
    assert reasons(part("Content-Type: text/calendar", b"BEGIN:VCALENDAR")) == set()


@pytest.mark.parametrize(
    "names", ["filename=a.txt; filename=a.js", "filename=a.js; filename=a.txt", "filename=a.txt; filename*=a.js"]
)
def test_every_name_of_a_field_counts(names: str) -> None:
    head = f"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; {names}"
    assert reasons(part(head, b"x = 1")) == {Reason.ATTACHMENT_SCRIPT}


def test_what_the_walk_did_not_see_is_told() -> None:
    nested = b"Content-Type: message/rfc822\r\n\r\n" * 60 + bytes(attached(("setup.exe", PROGRAM)).octets)
    lines = b"--limitx\r\n" * 300 + b"--limit\r\nContent-Type: application/x; name=setup.exe\r\n\r\nMZ\r\n--limit--\r\n"
    near = b"Content-Type: multipart/mixed; boundary=limit\r\n\r\n" + lines
    for octets in (nested, near):
        assert Reason.ATTACHMENT_UNREADABLE in reasons(Message(octets))
    head = (
        "Content-Type: application/x\r\nX-Long: "
        + "x\r\n " * 20_000
        + "y\r\nContent-Disposition: attachment; filename=a.js"
    )
    assert Reason.ATTACHMENT_UNREADABLE in reasons(part(head, b"x = 1"))
    head = "Content-Disposition: attachment; filename=a.txt\r\nContent-Disposition: attachment; filename=a.js"
    assert Reason.ATTACHMENT_UNREADABLE in reasons(part(head, b"x = 1"))


def test_a_page_sent_as_a_file_is_looked_into_and_a_body_is_not() -> None:
    page = b"<html><form><input type=password></form>"
    assert reasons(attached(("login.html", page), declared="text/html")) == {Reason.ATTACHMENT_ACTIVE}
    assert reasons(Message(b"Content-Type: text/html\r\n\r\n" + page)) == set()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The documents, as agreed", Reason.ATTACHMENT_ENCRYPTED),
        ("The password will follow by SMS", Reason.ATTACHMENT_ENCRYPTED),
        ("Password: Geheim1", Reason.ATTACHMENT_PASSWORD),
        ("Das Passwort lautet: Geheim1", Reason.ATTACHMENT_PASSWORD),
    ],
)
def test_a_password_in_the_text(text: str, reason: Reason) -> None:
    message = attached(("a.zip", encrypted_zip("a.txt", TEXT, "Geheim1")), text=text)
    assert reasons(message) == {reason}


def test_a_password_from_the_text_opens_the_archive() -> None:
    message = attached(("a.zip", encrypted_zip("a.bin", PROGRAM, "Geheim1")), text="Password: Geheim1")
    assert Reason.ATTACHMENT_EXECUTABLE in reasons(message)


def test_a_password_in_the_subject_counts() -> None:
    message = attached(("a.zip", encrypted_zip("a.txt", TEXT, "4711x")))
    changed = Message(bytes(message.octets).replace(b"Subject: Invoice", b"Subject: Invoice, password: 4711x"))
    assert reasons(changed) == {Reason.ATTACHMENT_PASSWORD}


def test_what_is_ignored_is_recorded_and_weighs_nothing() -> None:
    (item,) = found(attached(("tool.py", TEXT)))
    assert (item.reason, item.result, item.measured) == (Reason.ATTACHMENT_UNCOMMON, Result.NEUTRAL, 0.0)
    (item,) = found(attached(("tool.py", TEXT)), AttachmentsConfig(uncommon="weigh"))
    assert (item.result, item.measured) == (Result.FAIL, None)


def test_allowed_names_are_not_looked_at() -> None:
    config = AttachmentsConfig(allow=("price-list-*.exe", "[odd]?.exe"))
    assert reasons(attached(("Price-List-2026.EXE", PROGRAM)), config) == set()
    assert reasons(attached(("[odd]?.exe", PROGRAM)), config) == set()
    assert reasons(attached(("o.exe", PROGRAM)), config) == {Reason.ATTACHMENT_EXECUTABLE}
    assert reasons(attached(("price-list.zip", zip_of(("price-list-1.exe", PROGRAM)))), config) >= {
        Reason.ATTACHMENT_EXECUTABLE
    }


def test_an_allowed_name_beside_another_name_of_the_same_part_allows_nothing() -> None:
    head = b"Content-Type: application/octet-stream; name=price-list-1.exe\r\n"
    head += b"Content-Disposition: attachment; filename=bill.exe\r\n\r\n"
    config = AttachmentsConfig(allow=("price-list-*.exe",))
    assert reasons(Message(head + PROGRAM), config) == {Reason.ATTACHMENT_EXECUTABLE}


def test_a_thousand_files_do_not_fill_the_record() -> None:
    files = [(f"{number}.pdf.exe", PROGRAM) for number in range(100)]
    items = found(attached(("a.zip", zip_of(*files))))
    assert 2 <= len(items) <= 10
    assert items[0].reason is Reason.ATTACHMENT_EXECUTABLE


def test_without_an_answer_what_names_say_stands_and_the_rest_is_unknown() -> None:
    inspector = LibraryInspector(error=TemporaryError("too many wait already", "busy"))
    message = attached(("setup.exe", PROGRAM), ("a.zip", zip_of(("b.exe", PROGRAM))))
    items = ask(Attachments(AttachmentsConfig(), inspector), context(message=message))
    assert [item.reason for item in items] == [Reason.ATTACHMENT_EXECUTABLE, Reason.UNAVAILABLE]
    assert items[1].result is Result.TEMPERROR
    assert "1 attachments not looked into: too many wait already" in items[1].log_text


def test_parts_that_nobody_looked_at_are_told() -> None:
    assert reasons(attached(*((f"{number}.txt", b"x") for number in range(300)))) == {Reason.ATTACHMENT_UNREADABLE}


def test_reports_of_our_own_users_bring_what_they_report() -> None:
    from dataclasses import replace

    message = attached(("setup.exe", PROGRAM))
    check = Attachments(AttachmentsConfig(), LibraryInspector())
    assert ask(check, context(replace(CLIENT, trust=TrustClass.REPORT), message=message)) == []
    assert ask(check, context(replace(CLIENT, trust=TrustClass.AUTHENTICATED), message=message)) != []


def test_before_the_message_there_is_nothing_to_say() -> None:
    assert ask(Attachments(AttachmentsConfig(), None), context()) == []


def test_a_page_behind_other_parts_is_a_file_without_a_name() -> None:
    page = b"<html>" + b"x" * 5_000 + b"<script>b=new Blob([atob('AA')]);URL.createObjectURL(b)</script>"
    mixed = part("Content-Type: text/html", page)
    assert reasons(mixed) == {Reason.ATTACHMENT_SMUGGLING}
    assert reasons(Message(bytes(mixed.octets).replace(b"multipart/mixed", b"multipart/alternative"))) == set()
    assert reasons(Message(b"Content-Type: text/html\r\n\r\n" + page)) == set()
    first = bytes(mixed.octets).replace(b"--limit\r\nContent-Type: text/plain\r\n\r\nHello\r\n", b"")
    assert reasons(Message(first)) == set()
    inspector = LibraryInspector()
    message = part("Content-Type: text/html", b"<html>a footer of a list</html>")
    assert ask(Attachments(AttachmentsConfig(), inspector), context(message=message)) == []
    assert inspector.seen == []


def test_one_text_with_too_many_beginnings_ends_the_search_in_all() -> None:
    """What a message may cost is bounded, not what each of its parts may."""
    near = b"begin x\r\n" * 2_000
    start = b"Content-Type: multipart/mixed; boundary=limit\r\n\r\n"
    parts = b"".join(b"--limit\r\n\r\n" + body + b"\r\n" for body in (near, uuencoded("a.exe", PROGRAM)))
    assert reasons(Message(start + parts + b"--limit--\r\n")) == {Reason.ATTACHMENT_UNREADABLE}


def test_large_messages_are_walked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    where: list[threading.Thread] = []

    def walked(message: Message) -> ContentView:
        where.append(threading.current_thread())
        return view_of(message)

    monkeypatch.setattr("filterd.checks.attachments.view_of", walked)
    head = b"Content-Type: text/plain\r\n\r\n"
    found(Message(head + b"x" * 30_000))
    found(Message(head + b"x" * 35_000))
    assert [thread is threading.main_thread() for thread in where] == [True, False]
