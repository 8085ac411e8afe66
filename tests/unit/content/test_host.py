"""A web address leads where a browser goes, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.host import read_address, read_name, u_label
from tests.support.growth import assert_growth


def host(target: str | bytes, running_text: bool = False) -> str | None:
    octets = target.encode() if isinstance(target, str) else target
    address = read_address(octets.lower(), running_text)
    return address.host.name if address else None


@pytest.mark.parametrize(
    "written",
    [
        "http://example.com/x",
        "HTTPS://Example.COM",
        "//example.com/x",
        "http:\\\\example.com\\x",
        "http:example.com",
        "https:////example.com?x",
        " \n\x01http://example.com ",
        "ht\ntp://exa\tmple.c\r\nom/",
        "http://example.com:8080/",
        "http://example.com.:80#x",
        "http://user:password@example.com/",
        "http://www.bank.example@example.com/",
        pytest.param("http://" + "www.bank.example." * 300 + "@example.com/", id="long-user"),
        pytest.param(" \t" * 3_000 + "http://example.com/", id="long-blanks"),
        pytest.param("ht" + "\t" * 3_000 + "tp://exam\nple.com/", id="long-tabs"),
        "http://ex%61mple%2ecom",
        "http://example\u3002com",
        "http://example\uff0ecom",
        "http://example\uff61com",
        "http://ｅｘａｍｐｌｅ.com",
        "http://exam\u00adple.com",
        "http://exam\u200bple.com",
        "http://𝓮𝔁𝓪𝓶𝓹𝓵𝓮.com",
    ],
)
def test_one_host(written: str) -> None:
    assert host(written) == "example.com"


@pytest.mark.parametrize(
    "written",
    [
        "192.168.1.1",
        "3232235777",
        "0xc0a80101",
        "0300.0250.1.1",
        "192.168.257",
        "0xC0.168.0x1.01",
        "[::ffff:192.168.1.1]",
    ],
)
def test_one_address(written: str) -> None:
    address = read_address(f"http://{written}/".lower().encode())
    assert address is not None
    assert (address.host.name, address.host.domain, address.host.is_address) == ("192.168.1.1", "", True)


@pytest.mark.parametrize(
    "written",
    [
        "mailto:joe@example.com",
        "javascript:alert(1)",
        "tel:+123",
        "cid:1@example.com",
        "data:text/html,x",
        "/path",
        "path/x.html",
        "#top",
        "",
        "http://",
        "http://localhost/",
        "http://256.1.1.1.1/",
        "http://256.1.1.1/",
        "http://1.256.1",
        "http://999999999999.1/",
        "http://1.2.3.999",
        "http://08.1.1.1",
        "http://a..example.com",
        "http://exa mple.com",
        "http://example.com%00.net",
        "http://example.com℀.net",
        "http://[::1",
        "http://" + "a" * 64 + ".com",
        "http://" + "a." * 200 + "com",
        b"http://\xff\xfe.com",
        b"http://" + b"%61" * 500 + b".com",
    ],
)
def test_no_host(written: str | bytes) -> None:
    assert host(written) is None


def test_letters_of_other_alphabets_are_a_labels_as_in_browsers_of_today() -> None:
    assert host("http://müller.de") == "xn--mller-kva.de"
    assert host("http://straße.de") == "xn--strae-oqa.de"  # IDNA 2003 said strasse.de, which belongs to somebody else
    assert host("http://пример.рф/") == "xn--e1afmkfd.xn--p1ai"
    assert u_label("xn--mller-kva") == "müller"
    assert all(u_label(label) == label for label in ("plain", "xn--\udfff", "xn--99999999", "xn--" + "a" * 99))


def test_what_people_take_for_the_host_is_told() -> None:
    address = read_address(b"https://www.bank.example@evil.example/login?x=1#y")
    assert address is not None
    assert (address.scheme, address.host.domain, address.userinfo) == ("https", "evil.example", True)
    assert address.rest == b"/login?x=1#y"


@pytest.mark.parametrize(
    "written",
    [
        "http://example.com.",
        "http://example.com)",
        "http://example.com”",
        "http://example.comをご覧",
        "http://example.com…",
    ],
)
def test_in_running_text_a_sentence_may_follow(written: str) -> None:
    assert host(written, running_text=True) == "example.com"


@given(st.binary(max_size=300), st.booleans())
def test_any_octets(data: bytes, running_text: bool) -> None:
    for octets in (data, b"http://" + data, b"//" + data.lower()):
        address = read_address(octets, running_text)
        if address is not None:
            name = address.host.name
            assert name.isascii()
            again = read_name(name) if ":" not in name else None
            assert again is None or again == address.host


def test_linear() -> None:
    for piece in (b"a.", b"%61", b"@", b"\\", "ü.".encode(), b"xn--"):
        assert_growth(lambda size, piece=piece: lambda: read_address(b"http://" + piece * size), 20_000, 160_000, 16)
