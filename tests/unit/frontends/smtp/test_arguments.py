"""Arguments of MAIL and RCPT become values or one clear reply, and time stays linear."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.frontends.smtp.arguments import MailArguments, parse_mail, parse_rcpt
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Recipient
from filterd.mail.reply import Reply

ALL = {"SIZE", "8BITMIME", "DSN", "SMTPUTF8"}


def test_mail() -> None:
    assert parse_mail("FROM:<a@example.org> SIZE=5 body=7bit SMTPUTF8", ALL) == MailArguments(
        Mailbox("a", "example.org"), ("SIZE=5", "body=7bit", "SMTPUTF8"), 5, True
    )
    assert parse_mail("from:<>", ()) == MailArguments(None, (), 0, False)


def test_rcpt() -> None:
    parameters = ("NOTIFY=DELAY,FAILURE", "ORCPT=rfc822;b+2Bx@example.com")
    expected = Recipient(Mailbox("b", "example.com"), parameters)
    assert parse_rcpt("TO:<b@example.com> " + " ".join(parameters), ALL, False, "h.example") == expected


def test_original_recipients_beyond_ascii_need_smtputf8() -> None:
    argument = "TO:<b@example.com> ORCPT=utf-8;j\u00fcrgen@example.com"
    expected = Recipient(Mailbox("b", "example.com"), ("ORCPT=utf-8;j\u00fcrgen@example.com",))
    assert parse_rcpt(argument, ALL, True, "h.example") == expected
    reply = parse_rcpt(argument, ALL, False, "h.example")
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (553, "5.6.7")


def test_a_parameter_of_an_extension_that_was_not_offered() -> None:
    reply = parse_mail("FROM:<a@example.org> SIZE=5", ())
    assert isinstance(reply, Reply)
    assert str(reply) == "555 5.5.4 Parameter SIZE is not supported"


words = st.lists(
    st.sampled_from(
        [
            "FROM:",
            "TO:",
            "<",
            ">",
            "a",
            "@",
            "x.org",
            " ",
            '"',
            "\\",
            "SIZE=",
            "1",
            "ORCPT=rfc822;",
            "\u00fc",
            "+4",
            "=",
        ]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(words)
def test_anything_is_a_value_or_a_refusal(text: str) -> None:
    for prefix in ("", "FROM:", "TO:"):
        for result in (parse_mail(prefix + text, ALL), parse_rcpt(prefix + text, ALL, True, "h.example")):
            if isinstance(result, Reply):
                assert result.is_permanent
            elif isinstance(result, MailArguments):
                assert prefix == "FROM:" or text[:5].upper() == "FROM:"
                assert not any(" " in parameter for parameter in result.parameters)
            else:
                assert "@" in str(result.mailbox)


@pytest.mark.parametrize(
    "unit", ["\\", '"', "<", ">", "a.", " SIZE=1", " ORCPT=rfc822;a", " NOTIFY=SUCCESS,", "+4", "@a,", "\u00fc"]
)
def test_time_grows_linearly(unit: str) -> None:
    def cost(length: int) -> float:
        texts = [f"FROM:<a@example.org>{unit * (length // len(unit))}", f'FROM:<"{unit * (length // len(unit))}']
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            for text in texts:
                parse_mail(text, ALL)
                parse_rcpt(text.replace("FROM", "TO"), ALL, True, "h.example")
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(20_000), cost(160_000)
    assert large < 24 * max(small, 0.002)
