"""What Outlook kept becomes a message that our own readers read: header fields, text, HTML, attachments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.decode import decoded
from filterd.content.mime import walk
from filterd.mail.message import Message
from filterd.reportmail import mapi
from filterd.reportmail.mapi import MapiMessage

HEAD = "Received: from x\r\nFrom: Eve <eve@sender.example>\r\nSubject: Offer\r\nContent-Type: text/html;\r\n\tcharset=x\r\nMIME-Version: 1.0\r\n"


def leaves(octets: bytes) -> list[tuple[str, bytes]]:
    message = Message(octets)
    return [(p.content_type, decoded(message, p, 10_000)) for p in walk(message).parts if not p.is_container]


def test_the_fields_it_came_with_stay_but_not_those_about_its_body() -> None:
    message = Message(MapiMessage({mapi.HEADERS: HEAD, mapi.BODY: "hello"}).mime())
    names = [field.name for field in message.fields]
    assert names == ["Received", "From", "Subject", "MIME-Version", "Content-Type"]
    assert message.first("content-type").startswith("multipart/alternative")
    assert leaves(MapiMessage({mapi.HEADERS: HEAD, mapi.BODY: "hello"}).mime()) == [("text/plain", b"hello")]


def test_without_them_the_properties_say_it() -> None:
    texts = {
        mapi.SUBJECT: "Größe\r\nBcc: x@y.example",
        mapi.MESSAGE_ID: "<1@sender.example>",
        mapi.SENDER_NAME: "Eve",
        mapi.SENDER_ADDRESS: "eve@sender.example",
    }
    message = Message(MapiMessage(texts).mime())
    assert message.subject == "Größe  Bcc: x@y.example"
    assert (message.first("from"), message.first("message-id")) == ("Eve <eve@sender.example>", "<1@sender.example>")
    assert not message.all("bcc"), "a property cannot make a field of its own"


def test_a_message_id_property_fills_what_the_fields_lack() -> None:
    assert Message(MapiMessage({mapi.HEADERS: HEAD, mapi.MESSAGE_ID: "<1@x.example>"}).mime()).first("message-id") == (
        "<1@x.example>"
    )


@pytest.mark.parametrize(("codepage", "codec"), [(0, "utf-8"), (65001, "utf-8"), (1252, "cp1252"), (28591, "latin-1")])
def test_html_in_its_code_page(codepage: int, codec: str) -> None:
    found = leaves(MapiMessage({mapi.BODY: "x"}, html="<p>Größe</p>".encode(codec), codepage=codepage).mime())
    assert found == [("text/plain", b"x"), ("text/html", "<p>Größe</p>".encode())]


def test_an_unknown_code_page_leaves_the_octets() -> None:
    assert leaves(MapiMessage({}, html=b"<p>\xe4", codepage=54321).mime())[1] == ("text/html", b"<p>\xe4")


def test_files_and_messages_are_parts() -> None:
    inner = MapiMessage({mapi.HEADERS: "Subject: inner\r\n", mapi.BODY: "deep"})
    octets = MapiMessage({mapi.BODY: "x"}, files=[('a"\r\nX: y.pdf', b"\0\1")], messages=[inner]).mime()
    assert leaves(octets) == [("text/plain", b"x"), ("text/plain", b"deep"), ("application/octet-stream", b"\0\1")]
    assert b"\r\nX: y" not in octets


_TEXTS = st.dictionaries(st.sampled_from(mapi.TEXTS), st.text(max_size=200))


@given(
    _TEXTS,
    st.binary(max_size=100),
    st.integers(0, 70_000),
    st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=30)), max_size=2),
)
def test_anything_becomes_a_message(
    texts: dict[int, str], html: bytes, codepage: int, files: list[tuple[str, bytes]]
) -> None:
    octets = MapiMessage(texts, html, codepage, files).mime()
    message = Message(octets)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert len(message.all("content-type")) == 1
    assert len(walk(message).parts) == 2 + bool(html) + len(files)
