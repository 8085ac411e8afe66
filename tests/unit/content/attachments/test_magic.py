"""The true type of a file."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.magic import Type, true_type
from tests.support.archives import PROGRAM, cab_of, iso_of, rar4_of, rar5_of, seven_zip_of, tar_of, zip_of
from tests.support.documents import ole_of, onenote_of, tnef_of


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (PROGRAM, Type.PE),
        (b"MZ\x90\0\3\0\0\0" + bytes(100), Type.DOS),
        (b"\x7fELF\2\1\1" + bytes(50), Type.ELF),
        (b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(9), Type.CLASS),
        (b"\xca\xfe\xba\xbe\0\0\0\2" + bytes(9), Type.MACH_O),
        (zip_of(("a", b"b")), Type.ZIP),
        (rar4_of((b"a", b"b")), Type.RAR4),
        (rar5_of(("a", b"b")), Type.RAR5),
        (seven_zip_of(("a", b"b")), Type.SEVEN_ZIP),
        (tar_of(("a", b"b")), Type.TAR),
        (gzip.compress(b"a", mtime=0), Type.GZIP),
        (bz2.compress(b"a"), Type.BZIP2),
        (lzma.compress(b"a"), Type.XZ),
        (cab_of("a"), Type.CAB),
        (iso_of(("a", b"b")), Type.ISO),
        (ole_of({"a": b"b"}), Type.OLE),
        (onenote_of(b"a"), Type.ONENOTE),
        (tnef_of(("a", b"b")), Type.TNEF),
        (b"{\\rtf1 hello}", Type.RTF),
        (b"{\\rt hello}", Type.RTF),
        (b"\xef\xbb\xbf \r\n<!DOCTYPE html><p>", Type.HTML),
        ("<html><script>".encode("utf-16"), Type.HTML),
        (b"<hta:application id=x>", Type.HTA),
        (b"#@~^AAAA", Type.ENCODED_SCRIPT),
        (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + bytes(9), Type.LINK),
        (b"[InternetShortcut]\r\nURL=https://example.com/\r\n", Type.BOOKMARK),
        (b"[InternetShortcut]\r\nURL=file://192.0.2.1/share/x.exe\r\n", Type.URL),
        (b"[InternetShortcut]\r\nURL=https://a.example/\r\nIconFile=\\\\192.0.2.1\\x\r\n", Type.URL),
        (b"Windows Registry Editor Version 5.00\r\n", Type.REGISTRY),
        (b"%PDF-1.7\n", Type.PDF),
        (b"\xff\xd8\xff\xe0", Type.IMAGE),
        (b"hello", Type.UNKNOWN),
        (b"", Type.UNKNOWN),
        (b"MZ is how this honest letter begins, and it has no program in it at all, dear friend", Type.UNKNOWN),
    ],
)
def test_types(octets: bytes, kind: Type) -> None:
    assert true_type(octets) is kind


@given(st.binary(max_size=600))
def test_any_octets_have_a_type(octets: bytes) -> None:
    assert true_type(octets) in Type
    assert true_type(b"MZ" + octets) in Type
