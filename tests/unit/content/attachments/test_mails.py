"""Mail attached as a file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.mails import members
from tests.support.attached import attached
from tests.support.growth import assert_growth


def test_attachments_of_the_mail_are_members() -> None:
    message = attached(("one.txt", b"first"), ("two.bin", b"second"))
    found = list(members(bytes(message.octets)))
    assert [(m.name, m.read(100) if m.read else b"") for m in found] == [("one.txt", b"first"), ("two.bin", b"second")]


def test_line_ends_of_other_systems() -> None:
    octets = bytes(attached(("one.txt", b"first")).octets).replace(b"\r\n", b"\n")
    assert [m.name for m in members(octets)] == ["one.txt"]


@given(st.binary(max_size=500))
def test_any_octets(octets: bytes) -> None:
    for member in members(octets):
        assert member.read is not None
        assert len(member.read(10)) <= 10


def test_linear() -> None:
    head = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
    assert_growth(lambda size: lambda: list(members(head + b"--x\r\n\r\n" * size)), 20_000, 200_000, 25)
