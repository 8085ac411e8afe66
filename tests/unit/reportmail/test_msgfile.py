"""Our reader of .msg files finds what python-oxmsg finds, and says of everything else that it is none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import olefile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oxmsg import Message as OxMessage

from filterd.reportmail import mapi
from filterd.reportmail.msgfile import MsgError, read
from tests.support.msgfile import compound_file, msg_file, msg_tree
from tests.support.reportmail import spam

_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=3_000)


@settings(max_examples=40)
@given(_TEXT, _TEXT, st.binary(max_size=6_000))
def test_what_was_put_in_comes_out(subject: str, body: str, file: bytes) -> None:
    octets = msg_file(subject=subject, body=body, html=b"<p>x</p>" * 600, files=[("a.bin", file)])
    message = read(octets)
    assert (message.texts[mapi.SUBJECT], message.texts[mapi.BODY]) == (subject, body)
    assert (message.html, message.codepage, message.files) == (b"<p>x</p>" * 600, 65001, [("a.bin", file)])


def test_agrees_with_oxmsg(tmp_path: Path) -> None:
    octets = msg_file(subject="Größe", body="Thursday then", headers="From: a@b.example\r\nSubject: x\r\n\r\n")
    (tmp_path / "a.msg").write_bytes(octets)
    theirs, ours = OxMessage.load(str(tmp_path / "a.msg")), read(octets)
    assert (theirs.subject, theirs.body) == (ours.texts[mapi.SUBJECT], ours.texts[mapi.BODY])
    assert theirs.message_headers["From"] == "a@b.example"


def test_texts_of_one_octet_for_a_letter() -> None:
    assert read(msg_file(unicode=False, subject="Größe")).texts[mapi.SUBJECT] == "Größe"


def test_attached_messages_are_read_one_level_deep() -> None:
    deepest = msg_tree(body="c", embedded=True)
    inner = msg_tree(body="b", embedded=True, messages=[deepest], files=[("x.eml", spam())])
    message = read(msg_file(body="a", messages=[inner, inner]))
    assert [item.texts[mapi.BODY] for item in message.messages] == ["b", "b"]
    assert message.messages[0].messages == []
    assert message.messages[0].files == [("x.eml", spam())]


@pytest.mark.parametrize("octets", [b"", spam(), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", msg_file()])
def test_what_is_none_is_said_to_be_none(octets: bytes) -> None:
    with pytest.raises(MsgError):
        read(octets)


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(msg_file(headers="Subject: x\r\n\r\n", body="y" * 5_000, files=[("a", b"b" * 100)]))
    for _ in range(data.draw(st.integers(1, 10))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MsgError):
        assert read(bytes(octets)).is_mail


def _with_shared_sectors(pieces: int) -> bytes:
    """A file whose attachments all have the one long stream as their names; it is all zeros, which is no name."""
    names = {
        f"__substg1.0_{id:04X}{kind:04X}": b"\0" * 5_000 for id in (0x3707, 0x3704, 0x3001) for kind in (0x1F, 0x1E)
    }
    attachment = {"__properties_version1.0": bytes(8), **names}
    body = bytes(200_000)
    tree = {f"__attach_version1.0_#{number:08X}": attachment for number in range(pieces)}
    octets = bytearray(compound_file({**msg_tree(subject="x"), "__substg1.0_1000001F": body, **tree}))
    long = octets.index("__substg1.0_1000001F".encode("utf-16-le"))
    for name in names:
        at = octets.find(name.encode("utf-16-le"))
        while at >= 0:
            octets[at + 116 : at + 128] = octets[long + 116 : long + 128]  # first sector, size
            at = octets.find(name.encode("utf-16-le"), at + 1)
    return bytes(octets)


def test_streams_that_share_their_sectors_are_not_read_again_and_again() -> None:
    with pytest.raises(MsgError, match="longer than the file"):
        read(_with_shared_sectors(20))


def test_a_long_directory_is_not_searched_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: object) -> int:
        raise AssertionError("olefile looks through all names")

    monkeypatch.setattr(olefile.OleFileIO, "_find", search)
    octets = msg_file(subject="x", files=[("a.txt", b"a")], messages=[msg_tree(body="b", embedded=True)])
    message = read(octets)
    assert (message.files, len(message.messages)) == ([("a.txt", b"a")], 1)
