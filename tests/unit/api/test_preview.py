"""A preview shows what people need to decide, and nothing of a message can act."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from api.preview import MAX_HEADERS, MAX_TEXT, MAX_VALUE, preview
from tests.support.growth import assert_growth

LIVE = re.compile(r"(?i)https?://|\bwww\.[a-z]|\bjavascript:|\bdata:")

HOSTILE = b"\r\n".join(
    [
        b"From: =?utf-8?q?B=C3=A4nk?= <bank@evil.example>",
        b"Subject: =?utf-8?b?aHR0cHM6Ly9ldmlsLmV4YW1wbGUvPHNjcmlwdD4=?=",
        b"List-Unsubscribe: <https://evil.example/u>",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="b"',
        b"",
        b"--b",
        b"Content-Type: text/plain; charset=iso-8859-1",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"Gr=FC=DFe, https://evil.example/plain",
        b"--b",
        b"Content-Type: text/html",
        b"",
        b'<html><head><script src="https://evil.example/x.js"></script></head><body onload="alert(1)">'
        b'<a href="https://evil.example/login">https://bank.example/</a><img src="https://evil.example/pixel">'
        b'<a href="javascript:alert(1)">x</a><iframe src="https://evil.example"></iframe></body></html>',
        b"--b",
        b'Content-Type: application/x-msdownload; name="invoice\xe2\x80\xaefdp.exe"',
        b"Content-Disposition: attachment",
        b"Content-Transfer-Encoding: base64",
        b"",
        b"TVqQAAMAAAA=",
        b"--b",
        b"Content-Type: text/html",
        b"Content-Disposition: attachment; filename*=utf-8''m%C3%A4il.html",
        b"",
        b"<script>alert(1)</script>",
        b"--b--",
        b"",
    ]
)


def test_a_hostile_message() -> None:
    shown = preview(HOSTILE)
    values = {header.name: header.value for header in shown.headers}
    assert values["From"] == "Bänk <bank@evil.example>"
    assert values["Subject"] == "hxxps[:]//evil[.]example/<script>"
    assert values["List-Unsubscribe"] == "<hxxps[:]//evil[.]example/u>"
    assert "Grüße, hxxps[:]//evil[.]example/plain" in shown.text
    assert "hxxps[:]//bank[.]example/ [hxxps[:]//evil[.]example/login]" in shown.text
    assert "alert" in shown.text  # the target of the link is shown, defanged
    assert not LIVE.search(shown.model_dump_json())
    names = [(item.name, item.content_type, item.size) for item in shown.attachments]
    assert names == [
        ("invoicefdp.exe", "application/x-msdownload", 8),
        ("mäil.html", "text/html", 25),
    ]
    assert shown.truncated == []


def test_bounds_are_told() -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(MAX_HEADERS + 50))
    text = b"word and word\r\n" * 100_000
    shown = preview(many + b"X-Long: " + b"z" * 10_000 + b"\r\n\r\n" + text)
    assert len(shown.headers) == MAX_HEADERS
    assert all(len(header.value) <= MAX_VALUE for header in shown.headers)
    assert len(shown.text) <= MAX_TEXT + 100
    assert {"headers", "text"} <= set(shown.truncated)


def test_an_attachment_behind_a_large_one_is_not_hidden() -> None:
    large = b"QUJD" * 500_000
    parts = [
        b'Content-Type: x/y; name="%s"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n' % pair
        for pair in ((b"a", large), (b"evil.exe", b"QUJD"))
    ]
    shown = preview(
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n' + b"--b\r\n".join(parts) + b"--b--\r\n"
    )
    assert [(item.name, item.size) for item in shown.attachments] == [("a", 1_500_000), ("evil.exe", 3)]


def test_a_large_message_costs_little() -> None:
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(50))

    def prepare(size: int) -> Callable[[], object]:
        octets = nested + b"--x\r\n" * (size // 5)
        return lambda: preview(octets)

    assert_growth(prepare, 1_000_000, 8_000_000, 16)


def test_a_cut_text_is_told() -> None:
    assert "text" in preview(b"Subject: x\r\n\r\n" + b"word " * 20_000).truncated


def test_odd_messages_have_a_preview() -> None:
    for octets in (
        b"",
        b"\r\n",
        b"no header at all",
        b"\r\n\r\nbody",
        b"\xff\xfe\r\n\r\n\xff",
        b"Subject: =?x?b?\xff?=\r\n\r\n",
    ):
        preview(octets)


@given(st.binary(max_size=600))
def test_any_octets_have_a_harmless_preview(octets: bytes) -> None:
    shown = preview(octets)
    assert not LIVE.search(" ".join([shown.text, *(header.value for header in shown.headers)]))
