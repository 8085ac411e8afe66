"""What a message says, read once: texts, what is hidden before them, what stands at the end, pages inside links."""

from __future__ import annotations

import base64
import mmap
import tempfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.decode import encoded
from filterd.content.mime import Part, Walk, walk
from filterd.content.view import MAX_ENCODED, MAX_TEXTS, ContentView, view_of
from filterd.mail.message import Message
from tests.unit.classifier.mails import HAM, SPAM

HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n"


def test_a_message_is_read_once() -> None:
    message = Message(SPAM)
    assert view_of(message) is view_of(message)


def test_the_end_of_a_long_text_is_there() -> None:
    view = view_of(Message(b"\r\n" + b"innocent words\r\n" * 5_000 + b"PILLS at the end"))
    assert b"pills at the end" in view.texts[0].tail
    assert view.texts[0].text.startswith(b"innocent")


def test_the_end_of_a_long_base64_text_is_there() -> None:
    body = base64.encodebytes(b"innocent words " * 5_000 + b"pills at the end").replace(b"\n", b"\r\n")
    view = view_of(Message(b"Content-Transfer-Encoding: base64\r\n\r\n" + body))
    assert b"pills at the end" in view.texts[0].tail


def test_a_long_style_sheet_does_not_push_the_text_out() -> None:
    page = b"<style>" + b".a{margin:0}" * 3_000 + b"</style><p>offer of the day</p>"
    assert len(page) > MAX_ENCODED
    assert b"offer of the day" in view_of(Message(HTML + page)).texts[0].text


def test_a_page_inside_a_link_is_read() -> None:
    inner = base64.b64encode(b"<p>Confirm your password <a href='http://evil.example/'>here</a></p>")
    view = view_of(Message(HTML + b'<a href="data:text/html;base64,' + inner + b'">open</a>'))
    assert b"confirm your password" in view.texts[0].text
    assert view.texts[0].anchors[-1].target == b"http://evil.example/"


def test_a_part_behind_a_large_one_is_found() -> None:
    parts = [
        b"Content-Type: application/pdf\r\n\r\n" + b"%PDF " * 200_000,
        b"\r\npills",
        b"Content-Type: application/x-msdownload; name=a.exe\r\n\r\nMZ",
    ]
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(
        b"--b\r\n" + part + b"\r\n" for part in parts
    )
    view = view_of(Message(octets + b"--b--\r\n"))
    assert [text.text for text in view.texts] == [b"pills"]
    assert view.parts[-1].name == "a.exe"


def test_a_mapped_file_is_walked_like_octets() -> None:
    octets = SPAM.replace(b"\r\n\r\n", b"\r\n\r\n" + b"preamble " * 300_000, 1)
    with tempfile.TemporaryFile() as file:
        file.write(octets)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert walk(Message(mapped)) == walk(Message(octets))


def test_no_more_than_the_first_text_parts_are_read() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nwords\r\n" * 20
    assert len(view_of(Message(octets)).texts) == MAX_TEXTS


@given(st.binary(max_size=600), st.integers(0, len(HAM)))
def test_never_raises(noise: bytes, at: int) -> None:
    view_of(Message(HAM[:at] + noise + HAM[at:]))
    view_of(Message(noise))


def test_of_many_text_parts_the_first_and_the_last_are_read() -> None:
    parts = b"".join(b"--b\r\n\r\ntext %d\r\n" % number for number in range(60))
    view = view_of(Message(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"))
    assert len(view.texts) == MAX_TEXTS
    assert view.texts[0].text == b"text 0"
    assert view.texts[-1].text == b"text 59"
    assert "texts" in view.markers


def test_a_page_that_is_sent_as_a_file_is_read_when_there_is_nothing_else() -> None:
    page = b"Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n<p>offer</p>\r\n"
    assert view_of(Message(page)).texts[0].text.strip() == b"offer"
    both = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" + page + b"--b--\r\n"
    assert [text.text for text in view_of(Message(both)).texts] == [b"hello"]


def test_pages_inside_attributes_in_every_writing() -> None:
    for frame in (
        b'<iframe srcdoc="&lt;p&gt;offer&lt;/p&gt;"></iframe>',
        b"<iframe src='data:text/html,%3Cp%3Eoffer%20of%20the%20day%3C/p%3E'></iframe>",
        b'<meta http-equiv=refresh content="0;url=data:text/html;base64,'
        + base64.b64encode(b"<p>offer of the day</p>")
        + b'">',
    ):
        assert b"offer" in view_of(Message(HTML + b"<p>hello</p>" + frame)).texts[0].text, frame


def test_long_hidden_text_does_not_keep_us_from_what_follows() -> None:
    page = b"<div style='display:none'>" + b"innocent words " * 3_000 + b"</div><p>offer of the day</p>"
    text = view_of(Message(HTML + page)).texts[0]
    assert text.text.strip() == b"offer of the day"
    assert b"innocent" in text.hidden


def test_the_end_of_a_page_that_ends_hidden_is_hidden() -> None:
    page = b"<p>" + b"offer of the day " * 60 + b"</p><div style='display:none'>" + b"innocent words " * 9_000
    text = view_of(Message(HTML + page)).texts[0]
    assert b"innocent" not in text.text + text.tail


def test_threads_that_ask_at_once_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    both = threading.Barrier(2)
    together = threading.Event()

    def counted(message: Message) -> Walk:
        walks.append(1)
        together.wait(0.2)  # the other one has asked by then
        return walk(message)

    monkeypatch.setattr("filterd.content.view.walk", counted)
    message = Message(SPAM)
    views: list[ContentView] = []

    def ask() -> None:
        both.wait()
        views.append(view_of(message))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(walks) == 1
    assert views[0] is views[1]


@pytest.mark.parametrize("more", [b"", b"\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("before", [b"", b"QUJD\r\n", b"QUJDREVG\r\n\r\n"])
def test_the_end_of_base64_in_one_line_is_read(before: bytes, more: bytes) -> None:
    coded = base64.b64encode(b"innocent words " * 4_000 + b"order cheap pills now")
    head = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    (text,) = view_of(Message(head + before + coded + more)).texts
    assert b"words order cheap pills now" in text.tail


def test_so_much_is_read_of_all_parts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(message: Message, part: Part, limit: int, start: int = 0) -> bytes:
        octets = encoded(message, part, limit, start)
        read.append(len(octets))
        return octets

    monkeypatch.setattr("filterd.content.view.encoded", counted)
    part = b"--b\r\n" + HTML + b"<style>" + b"x" * 80_000 + b"\r\n"
    view_of(Message(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * MAX_TEXTS))
    assert len(read) >= MAX_TEXTS
    assert sum(read) < 300_000
