"""Parameters of MIME fields as mail programs read them, above all the names of files."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.parameters import file_names, parameters
from tests.support.growth import assert_growth


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="order.pdf"', "order.pdf"),
        ("attachment; filename=order 2024.exe", "order 2024.exe"),  # no quotes: people see the whole of it
        ('attachment; filename="a\\"b.exe"', 'a"b.exe'),
        ("attachment; filename*=utf-8''%6frder%2eexe", "order.exe"),
        ('attachment; filename*0="ord"; filename*1=er.exe', "order.exe"),
        ("attachment; filename*1=er.exe; filename*0=ord", "order.exe"),
        ("attachment; filename*0*=utf-8'en'%c3%bc; filename*1*=b%65r.exe", "über.exe"),
        ('attachment; filename="=?utf-8?b?b3JkZXIuZXhl?="', "order.exe"),
        ("attachment; FileName = order.exe", "order.exe"),
        ('attachment; filename="order.exe', "order.exe"),
        ("attachment; filename*=no-such-charset''order.exe", "order.exe"),
    ],
)
def test_the_name_of_a_file(value: str, name: str) -> None:
    assert file_names(parameters(value)) == (name,)


def test_every_name_that_is_given_counts() -> None:
    found = file_names(parameters("attachment; filename=a.pdf"), parameters("image/png; name=b.exe"))
    assert found == ("a.pdf", "b.exe")
    both = parameters("attachment; filename=a.pdf; filename*=utf-8''b.exe")
    assert file_names(both) == ("b.exe", "a.pdf")  # RFC 2231 7; programs that do not know it show the other


def test_of_a_very_long_name_the_end_is_kept() -> None:
    (name,) = file_names({"filename": "a" * 400 + " " * 400 + ".exe"})
    assert name.endswith(".exe")
    assert len(name) <= 256


def test_a_name_does_not_hide_behind_a_long_parameter() -> None:
    assert file_names(parameters("attachment; x=" + "a" * 850 + "; y=" + "b" * 850 + "; filename=z.exe")) == ("z.exe",)


def test_a_boundary_is_one_word() -> None:
    assert parameters("multipart/mixed; boundary=abc (comment)")["boundary"] == "abc"


@given(st.text(max_size=300))
def test_never_raises(value: str) -> None:
    file_names(parameters(";" + value))


@given(st.lists(st.sampled_from([";", "name", "*0*", "=", "'", "%4", '"', "utf-8", "\\", " "])))
def test_never_raises_on_pieces(pieces: list[str]) -> None:
    file_names(parameters(";" + "".join(pieces)))


@pytest.mark.parametrize("piece", [";", '; a="', "; a*1*=%", "; name=", "\\", '"', "; filename*0=x"])
def test_growth_is_linear(piece: str) -> None:
    assert_growth(lambda size: partial(parameters, piece * (size // len(piece))), 500, 4_000, 24)
