"""The text section: words as people read them, alternatives once, the end of what is long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from filterd.classifier.text import Texts, passages, plain, text_section, visible_texts
from filterd.content.view import view_of
from filterd.mail.message import Message
from tests.support.growth import assert_growth


def read(body: str, kind: str = "text/plain") -> Texts:
    head = f"Content-Type: {kind}; charset=utf-8\r\n\r\n"
    return visible_texts(view_of(Message((head + body).encode())))


@pytest.mark.parametrize(
    "written",
    [
        "v i a g r a  now",
        "v.i.a.g.r.a now",
        "v  i  a  g  r  a     now",
        "v\r\ni\r\na\r\ng\r\nr\r\na\r\n\r\nnow",
        "v\u2009i\u2009a\u2009g\u2009r\u2009a now",
        "v\u0323i\u0323a\u0323g\u0323r\u0323a\u0323 now",
        "v\u200bia\u2060gra now",
    ],
)
def test_a_word_is_read_however_it_is_written(written: str) -> None:
    assert read(written).texts == [b"viagra now"]


def test_a_word_over_table_cells_is_one() -> None:
    cells = "".join(f"<td>{letter}</td>" for letter in "viagra")
    assert read(f"<table><tr>{cells}</tr></table>", "text/html").texts == [b"viagra"]


@pytest.mark.parametrize("text", ["plan a b or c", "i am a man", "a - b - c", "grade a, b, c"])
def test_single_letters_stay(text: str) -> None:
    assert read(text).texts == [text.encode()]


def test_an_alternative_that_says_the_same_counts_once() -> None:
    words = " ".join(f"word{number}" for number in range(100))
    body = f"--b\r\n\r\n{words}\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>{words.replace(' ', ' <b></b> ')}</p>\r\n--b--\r\n"
    message = Message(f"Content-Type: multipart/alternative; boundary=b\r\n\r\n{body}".encode())
    assert visible_texts(view_of(message)).texts == [words.encode()]
    other = Message(bytes(message.octets).replace(b"\r\n\r\nword0", b"\r\n\r\nquite another text" * 30, 1))
    assert len(visible_texts(view_of(other)).texts) == 2


def test_the_end_of_a_long_text_has_a_place() -> None:
    section = text_section(Texts([b"begin " + b"x" * 9_000 + b" end"]), 2_000)
    assert section.startswith(b"begin")
    assert section.endswith(b"end")
    assert len(section) <= 2_000


def test_passages_only_where_there_is_something_to_choose() -> None:
    assert passages(Texts([b"short"]), False) == ()
    assert passages(Texts([b"short"]), True) == (b"short", b"")
    assert passages(Texts([b"a" * 5_000], hidden=[b"b  c" * 100]), False)[1].startswith(b"b cb c")


def test_plain_folds_what_looks_alike() -> None:
    assert plain("Vi\u0430gr\u0430\u200b".encode()) == b"Viagra"


@pytest.mark.parametrize("piece", ["a ", "a.", "a\u0323", "\u200b", "a  b\r\n", "a .. "])
def test_growth_is_linear(piece: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        view = view_of(
            Message(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + (piece * size)[:size].encode()[:24_000])
        )
        return lambda: visible_texts(view)

    assert_growth(prepare, 2_000, 16_000, 24)


def test_the_end_of_what_was_not_read_whole_is_a_passage() -> None:
    assert passages(Texts([b"short"], ends=[b"The End"]), False) == (b"short", b"the end", b"")
