"""Near-duplicates have near fingerprints, whatever names, numbers, addresses and links they fill in; other mail has others."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.content.fingerprint import ALIKE, BINS, KEYS, LIMIT, Fingerprint, fingerprint, similarity
from filterd.mail.message import Message
from tests.support.growth import assert_growth

LETTER = (
    "Dear {name},\r\n\r\nyour parcel {number} is waiting at our depot because the customs fee of {number} EUR was not paid."
    " Please confirm your address and pay the fee within two days, otherwise we must send the parcel back to the sender."
    "\r\n\r\nhttps://{host}/pay/{token}?id={number}\r\n\r\nQuestions? Write to {address} and name the number of your parcel."
    "\r\n\r\nWith kind regards,\r\nyour customer service of the parcel post\r\n"
)
WORDS = [
    "garden",
    "river",
    "window",
    "table",
    "letter",
    "morning",
    "paper",
    "house",
    "street",
    "music",
    "bridge",
    "summer",
    "market",
    "winter",
    "forest",
    "engine",
    "silver",
    "doctor",
    "teacher",
    "kitchen",
    "village",
    "mountain",
    "harbour",
    "station",
    "library",
    "picture",
    "ticket",
    "journey",
    "holiday",
    "weather",
]


def mail(text: str, subject: str = "Your parcel", more: str = "") -> Message:
    head = f"From: a@example.com\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n{more}"
    if "content-type" not in more.lower():
        head += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    return Message((head + "\r\n" + text).encode())


def taken(message: Message) -> Fingerprint:
    found = fingerprint(message)
    assert found is not None
    return found


def alike(one: Message, other: Message) -> bool:
    """As the index sees it: a common key, and sketches that are near."""
    first, second = taken(one), taken(other)
    return bool(set(first.keys) & set(second.keys)) and similarity(first.sketch, second.sketch) >= ALIKE


def filled(seed: int) -> Message:
    choose = random.Random(seed)
    return mail(
        LETTER.format(
            name=choose.choice(["Anna", "Mr. Robert Smith", "customer", "Zoë Müller-Lüdenscheidt"]),
            number=choose.randrange(10**9),
            host=f"{choose.randrange(10**6)}.example.net",
            token=choose.randbytes(9).hex(),
            address=f"{choose.choice(WORDS)}@{choose.choice(WORDS)}.example",
        )
    )


def prose(seed: int, words: int = 120) -> str:
    choose = random.Random(seed)
    return " ".join(choose.choice(WORDS) for _ in range(words))


def test_what_is_filled_in_does_not_count() -> None:
    sketches = {(taken(filled(seed)).keys, taken(filled(seed)).sketch) for seed in range(20)}
    assert len(sketches) == 1


def test_a_fingerprint_has_its_size() -> None:
    found = taken(filled(1))
    assert (len(found.keys), len(found.sketch)) == (KEYS, 2 * BINS)
    assert all(-(2**63) <= key < 2**63 for key in found.keys)


def test_fingerprints_stay_the_same_from_version_to_version() -> None:
    """The index of a running system was made with these; what changes them must change docs/decisions/0012 too."""
    assert taken(filled(1)).keys[:2] == (-4_517_784_587_877_566_583, 7_487_775_872_386_491_522)
    assert taken(mail("see you at noon in the usual place", "lunch on thursday")).keys == (5_823_929_686_803_329_497,)


def test_some_words_may_differ() -> None:
    for seed in range(20):
        words = prose(seed).split()
        choose = random.Random(seed)
        for _ in range(6):  # a twentieth; each is in about three runs of a word
            words[choose.randrange(len(words))] = "changed"
        assert alike(mail(prose(seed)), mail(" ".join(words)))


def test_other_text_is_not_alike() -> None:
    """Of the same thirty words, in any order."""
    messages = [mail(prose(seed)) for seed in range(60)]
    assert not [pair for pair in combinations(messages, 2) if alike(*pair)]


def test_the_same_end_under_other_text_is_not_alike() -> None:
    footer = "\r\n-- \r\nYou receive this because you are a member of the list. To leave it, write to the list master."
    assert not alike(mail(prose(1) + footer), mail(prose(2) + footer))


@pytest.mark.parametrize(
    "written",
    [
        LETTER.replace("Dear {name},", "dear   MISTER X!"),
        LETTER.replace("parcel", "pаrcel").replace("pay", "pаy"),  # Cyrillic а
        LETTER.replace("waiting", "wai​ting").replace("customs", "cus­toms"),
        LETTER.replace("waiting", "w a i t i n g"),
        LETTER.replace(" ", "   ").replace("\r\n", "\r\n\r\n"),
        LETTER.upper().replace("{NAME}", "X").replace("{NUMBER}", "1"),
        LETTER.replace("because", "because,").replace("fee", "fee..."),
    ],
    ids=["salutation", "look-alike", "invisible", "split", "blanks", "capitals", "punctuation"],
)
def test_tricks_do_not_count(written: str) -> None:
    values = {"name": "Anna", "number": "17", "host": "h.example", "token": "t/1", "address": "a@b.example"}
    values |= {key.upper(): value for key, value in values.items()}
    assert alike(filled(1), mail(written.format(**values)))


def test_html_and_text_of_the_same_are_alike() -> None:
    text = LETTER.format(name="A", number=1, host="h.example", token="t", address="a@b.example")
    page = (
        "<html><head><style>p {color: red}</style></head><body><p>"
        + text.replace("\r\n\r\n", "</p><p>")
        + "</p></body>"
    )
    assert alike(filled(1), mail(page, more="Content-Type: text/html; charset=utf-8\r\n"))


def test_what_nobody_sees_does_not_count() -> None:
    text = LETTER.format(name="A", number=1, host="h.example", token="t", address="a@b.example")
    page = f'<html><body><div style="display:none">{prose(5)}</div><p>{text}</p></body></html>'
    assert alike(filled(1), mail(page, more="Content-Type: text/html; charset=utf-8\r\n"))


def test_of_two_alternatives_the_page_counts() -> None:
    def both(plain: str, page: str) -> Message:
        parts = "".join(
            f"--b\r\nContent-Type: text/{kind}\r\n\r\n{text}\r\n" for kind, text in (("plain", plain), ("html", page))
        )
        return mail(parts + "--b--\r\n", more='Content-Type: multipart/alternative; boundary="b"\r\n')

    assert alike(both(prose(1), prose(9)), both(prose(2), prose(9)))
    assert not alike(both(prose(9), prose(1)), both(prose(9), prose(2)))


def test_a_reply_is_not_one_more_of_what_it_quotes() -> None:
    original = prose(3)
    quoted = "\r\n".join("> " + original[at : at + 70] for at in range(0, len(original), 70))
    reply = mail("Thank you, I have read it and will come back to you on Monday.\r\n" + quoted, "Re: Your parcel")
    assert not alike(mail(original), reply)


def test_writing_without_blanks() -> None:
    text = "您的银行账户存在异常登录记录请立即点击链接确认您的身份否则账户将被冻结{}如有疑问请联系客户服务中心我们将竭诚为您服务谢谢您的配合与支持"
    other = "今天天气非常好我们一起去公园散步吧晚上再去餐厅吃饭看电影明天继续工作周末回家看望父母和孩子们一起玩游戏读书写字画画唱歌跳舞"
    assert alike(mail(text.format("4471")), mail(text.format("88 12")))
    assert not alike(mail(text.format("")), mail(other))


def test_short_text_counts_with_its_subject_exactly() -> None:
    def short(text: str, subject: str) -> Fingerprint:
        return taken(mail(text, subject))

    base = short("Hi Anna,\r\nare you at your desk? I need a favour.", "Quick question 1")
    assert not base.sketch
    assert base == short("Hi Bob Miller,\r\nare you at your desk? I need a favour.", "RE: Quick question 22")
    assert base != short("Hi Anna,\r\nare you at your desk? I need a favour.", "Lunch on Thursday")
    assert base != short("Hi Anna,\r\nare you at your desk? I need your help.", "Quick question 1")


@pytest.mark.parametrize("text", ["", "Thanks!\r\n", "see below", "12345 67890", "\r\n\r\n"])
def test_what_says_too_little_has_none(text: str) -> None:
    assert fingerprint(mail(text, "Re: Hello")) is None


def with_file(octets: bytes, name: str, text: str = "see attached", subject: str = "Hello") -> Message:
    parts = f"--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b\r\nContent-Type: image/png; name={name}\r\n"
    parts += f"Content-Transfer-Encoding: base64\r\n\r\n{base64.encodebytes(octets).decode()}\r\n--b--\r\n"
    return mail(parts, subject, 'Content-Type: multipart/mixed; boundary="b"\r\n')


def test_mail_that_is_a_picture_is_known_by_the_picture() -> None:
    picture, other = random.Random(1).randbytes(3000), random.Random(2).randbytes(3000)
    base = fingerprint(with_file(picture, "a1.png", "", "win"))
    assert base == fingerprint(with_file(picture, "b2.png", "", "prize"))
    assert base != fingerprint(with_file(other, "a1.png", "", "win"))


def test_a_page_of_links_alone_is_known_by_its_hosts() -> None:
    def page(host: str, number: int) -> Message:
        text = f'<a href="https://{host}/c/{number}"><img src="https://{host}/{number}.png"></a>'
        return mail(text, "You have been chosen", "Content-Type: text/html\r\n")

    assert fingerprint(page("a.example", 1)) == fingerprint(page("a.example", 2))
    assert fingerprint(page("a.example", 1)) != fingerprint(page("b.example", 1))


def test_sketches_of_different_kinds_are_not_similar() -> None:
    assert similarity(b"", b"") == 1.0
    assert similarity(b"", taken(filled(1)).sketch) == 0.0
    assert similarity(taken(filled(1)).sketch, taken(filled(1)).sketch) == 1.0


def _text(kind: str) -> Callable[[int], Callable[[], object]]:
    units = {
        "words": "some words of text and ",
        "letters": "a",
        "chinese": "您的银行",
        "salutations": "dear dear hello ",
        "quotes": ">\r\n",
        "numbers": "1 ",
        "flags": "/" * 7 + " ",
        "tags": "<a href=x>",
    }

    def prepare(size: int) -> Callable[[], object]:
        kind_of = "html" if kind == "tags" else "plain"
        message = mail(
            units[kind] * (size // len(units[kind])), more=f"Content-Type: text/{kind_of}; charset=utf-8\r\n"
        )
        fingerprint(message)  # the view is not what is measured
        return lambda: [fingerprint(message) for _ in range(5)]

    return prepare


@pytest.mark.parametrize("kind", ["words", "letters", "chinese", "salutations", "quotes", "numbers", "flags", "tags"])
def test_work_grows_with_the_text_and_ends_at_its_bound(kind: str) -> None:
    assert_growth(_text(kind), 2_000, LIMIT, 8.0)
    assert_growth(_text(kind), LIMIT, 50 * LIMIT, 3.0)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_it_never_raises_and_says_the_same_twice(octets: bytes) -> None:
    for head in (b"", b"Subject: x\r\n\r\n", b"Content-Type: text/html; charset=big5\r\n\r\n"):
        found = fingerprint(Message(head + octets))
        assert found == fingerprint(Message(head + octets))
        assert found is None or found.keys


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=40, max_size=300), st.integers(0, 10**9))
def test_any_text_is_alike_with_other_numbers_and_links(words: list[str], number: int) -> None:
    text = " ".join(words)
    half = len(text) // 2
    other = f"{text[:half]} {number} https://h{number}.example/x {text[half:]}"
    assert taken(mail(text)).sketch
    assert (
        similarity(taken(mail(text)).sketch, taken(mail(other)).sketch) == 1.0 or " " not in text[half - 1 : half + 1]
    )
