"""Whose a host is."""

from __future__ import annotations

import pytest

from filterd.content.suffixes import is_suffix, is_top_level, organizational


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("a.b.example.com", "example.com"),
        ("example.co.uk", "example.co.uk"),
        ("www.example.co.uk", "example.co.uk"),
        ("shop.someone.github.io", "someone.github.io"),  # customers of one provider are not one owner
        ("github.io", "github.io"),
        ("co.uk", "co.uk"),
        ("a.b.nosuchtoplevel", "b.nosuchtoplevel"),
        ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
        ("x.city.kawasaki.jp", "city.kawasaki.jp"),
    ],
)
def test_organizational_domain(name: str, owner: str) -> None:
    assert organizational(name) == owner


def test_what_names_are_registered_below() -> None:
    assert is_suffix("co.uk")
    assert not is_suffix("example.co.uk")


def test_top_level_domains() -> None:
    assert all(is_top_level(label) for label in ("com", "de", "museum", "xn--p1ai", "рф"))
    assert not any(is_top_level(label) for label in ("txt", "js", "co.uk", ""))
