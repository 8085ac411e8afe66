"""Word documents in XML, and what is packed in them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable

import pytest

from filterd.content.attachments.finding import BadArchiveError, Kind
from filterd.content.attachments.inspect import inspect, surface
from filterd.content.attachments.word_xml import active_mime, members
from tests.support.documents import AUTOMATIC_VBA, HARMLESS_VBA, vba_project
from tests.support.growth import assert_growth


def active_mime_of(octets: bytes) -> bytes:
    """An editdata.mso as Word writes it: 50 octets of header."""
    return b"ActiveMime\0\0\1\xf0\4\0\0\0" + b"\xff" * 4 + bytes(28) + zlib.compress(octets)


def flat(octets: bytes) -> bytes:
    """Flat OPC: the vbaProject.bin as it is."""
    head = b'<?xml version="1.0"?><?mso-application progid="Word.Document"?>'
    data = base64.encodebytes(octets)
    return head + b"<pkg:package><pkg:part><pkg:binaryData>" + data + b"</pkg:binaryData></pkg:part></pkg:package>"


def word_2003(octets: bytes) -> bytes:
    """WordprocessingML 2003: macros in ActiveMime."""
    head = b'<?xml version="1.0"?><w:wordDocument xmlns:w="http://schemas.microsoft.com/office/word/2003/wordml">'
    data = base64.encodebytes(active_mime_of(octets))
    return head + b'<w:docSuppData><w:binData w:name="editdata.mso">' + data + b"</w:binData></w:docSuppData>"


@pytest.mark.parametrize("form", [flat, word_2003])
@pytest.mark.parametrize("name", ["invoice.doc", "invoice.xml", "invoice.rtf"])
def test_macros_are_found(form: object, name: str) -> None:
    octets = form(vba_project(AUTOMATIC_VBA))
    assert surface((name,), "application/msword", octets[:4_096])[1]
    assert {finding.kind for finding in inspect((name,), "application/msword", octets)} == {Kind.AUTO_MACRO}
    octets = form(vba_project(HARMLESS_VBA))
    assert {finding.kind for finding in inspect((name,), "application/msword", octets)} == {Kind.MACRO}


def test_a_long_comment_before_it_hides_nothing() -> None:
    octets = b"<?xml version='1.0'?><!--" + b"x" * 6_000 + b"-->" + word_2003(vba_project(AUTOMATIC_VBA))[21:]
    assert surface(("a.doc",), "", octets[:4_096])[1]
    assert {finding.kind for finding in inspect(("a.doc",), "", octets)} == {Kind.AUTO_MACRO}


def test_plain_xml_is_not_handed_to_anybody() -> None:
    assert surface(("report.xml",), "text/xml", b"<?xml version='1.0'?><feedback/>") == ([], False)


def test_what_cannot_be_unpacked_is_told() -> None:
    (member,) = active_mime(b"ActiveMime" + bytes(100))
    assert member.read is not None
    with pytest.raises(BadArchiveError, match="nothing to unpack"):
        member.read(100)
    with pytest.raises(BadArchiveError, match="more than 256"):
        list(members(b"<w:binData></w:binData>" * 257))
    assert len(list(members(b"<w:binData></w:binData>" * 256))) == 256


def test_no_more_is_unpacked_than_asked_for() -> None:
    (member,) = active_mime(active_mime_of(bytes(1_000_000)))
    assert member.read is not None
    assert len(member.read(1_000)) == 1_000


def test_cost_grows_with_the_size() -> None:
    def work(size: int) -> Callable[[], object]:
        octets = b"<a:b" * size
        return lambda: list(members(octets))

    assert_growth(work, 10_000, 100_000, 20)
