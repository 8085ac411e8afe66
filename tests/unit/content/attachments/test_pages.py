"""HTML attachments that build a file, and honest ones that do not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import Kind
from filterd.content.attachments.pages import look
from tests.support.archives import PROGRAM, zip_of
from tests.support.growth import assert_growth

ZIP = base64.b64encode(zip_of(("bill.exe", PROGRAM * 10), ("random", bytes(range(256)) * 4)))
BLOB = (
    b"var b=new Blob([a]);var l=document.createElement('a');l.href=URL.createObjectURL(b);l.download='x.zip';l.click();"
)


@pytest.mark.parametrize(
    "page",
    [
        b"<html><script>var a=atob('" + ZIP + b"');" + BLOB + b"</script>",
        b"<html><body onload=\"f()\"><script>var a=atob(x);window.navigator.msSaveOrOpenBlob(a,'x.iso')</script>",
        b"<html><a id=a href=\"data:application/zip;base64," + ZIP + b"\" download=x.zip>x</a>",
        b"<html><SCRIPT>for(i=0;i<s.length;i++)u+=String.fromCharCode(s.charCodeAt(i)^7);" + BLOB + b"</SCRIPT>",
        ("<html><script>var a=atob('x');" + BLOB.decode() + "</script>").encode("utf-16"),
    ],
)  # fmt: skip
def test_smuggling(page: bytes) -> None:
    assert Kind.SMUGGLING in {kind for kind, _ in look(page)}


@pytest.mark.parametrize(
    ("page", "what"),
    [
        (b"<html><script>document.write(unescape('%3Cform'))</script>", "a page that writes itself by script"),
        (b"<html><script>eval(atob('YWxlcnQoMSk='))</script>", "a page that writes itself by script"),
        (b"<html><form><input name=p type='password'></form>", "a page that asks for a password"),
        (b"<svg xmlns='x'><script>location='https://a.example/'</script></svg>", "a picture (SVG) with script"),
        (b"<svg onload='eval(1)'></svg>", "a picture (SVG) with script"),
        (b"<svg><a href='javascript:1'></a></svg>", "a picture (SVG) with script"),
        (b"<!--" + b"x" * 6_000 + b"--><svg><script>1</script></svg>", "a picture (SVG) with script"),
    ],
)
def test_active_pages(page: bytes, what: str) -> None:
    assert list(look(page)) == [(Kind.ACTIVE, what)]


LIBRARY = b"function save(){var b=new Blob([atob(x)]);URL.createObjectURL(b)};" + b"function chart(){return 1};" * 5_000


@pytest.mark.parametrize(
    "page",
    [
        b"<html><p>Dear Anna,</p></html>",
        b"<html><script>document.write('hello')</script>",
        b"<html><img src=\"data:image/png;base64," + base64.b64encode(bytes(9_000)) + b"\"></html>",
        b"<html><script>" + LIBRARY + b"</script><div id=plot></div></html>",
        b"<html><a href=\"data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7" + bytes(900)) + b"\">x</a>",
    ],
    ids=["letter", "old script", "picture", "a report with its chart library", "a PDF in the page"],
)  # fmt: skip
def test_honest_pages(page: bytes) -> None:
    assert not list(look(page))


@given(st.binary(max_size=500))
def test_any_page(page: bytes) -> None:
    list(look(page))


def test_linear_in_the_page() -> None:
    for piece in (b"<input ", b"A" * 600 + b" ", b"document.write(", b'href="data:application/', b"<"):
        assert_growth(lambda size, p=piece: lambda: list(look(p * size)), 200, 2_000, 25)  # type: ignore[misc]
