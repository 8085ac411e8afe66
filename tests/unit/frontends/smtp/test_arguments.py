"""Arguments of MAIL and RCPT become values or one clear reply, and time stays linear."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.frontends.smtp.arguments import MailArguments, parse_mail, parse_rcpt
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.reply import Reply
from filterd.wire.commands import CommandError, mail_command, rcpt_command
from tests.support.material import CHECKOUT

ALL = {"SIZE", "8BITMIME", "DSN", "SMTPUTF8", "AUTH"}


# ---------------------------------------------------------------- the documented decisions


def plain(text: str) -> str:
    """An example of the page without its notation."""
    text = re.sub(r"\{(.)\*(\d+)\}", lambda match: match[1] * int(match[2]), text)
    return text.replace(r"\t", "\t").replace(r"\0", "\0")


def documented() -> Iterator[tuple[str, str]]:
    """Command and answer of each row of the tables under "Addresses: what is tolerated"."""
    page = (CHECKOUT / "docs" / "smtp.md").read_text(encoding="utf-8")
    section = page.partition("## Addresses: what is tolerated\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        row = re.fullmatch(r"\| `([^`]+)` \| (?:`([^`]+)`|(null reverse-path)) \| .+ \|", line)
        assert row or not line.startswith("| `"), f"not readable: {line}"
        if row:
            yield row[1], row[2] or row[3]


def test_the_page_says_what_happens() -> None:
    rows = list(documented())
    assert len(rows) > 50
    for command, said in rows:
        verb, _, argument = plain(command).partition(" ")
        mail = verb.upper() == "MAIL"
        result = parse_mail(argument, ALL) if mail else parse_rcpt(argument, ALL, False, "filter.example.org")
        if isinstance(result, Reply):
            got = str(result)[:9]
        elif isinstance(result, MailArguments):
            got = str(result.reverse_path or "null reverse-path")
        else:
            got = str(result.mailbox)
        assert got == plain(said), command


# ---------------------------------------------------------------- values and refusals


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


@pytest.mark.parametrize("unseen", ["\x85", "\u2028", "\u202e", "\ud800", "\x7f", "\n"])
def test_what_cannot_be_printed_is_refused_wherever_it_stands(unseen: str) -> None:
    for argument in (f"FROM:<a{unseen}@example.org> SMTPUTF8", f"FROM:<a@b{unseen}> SMTPUTF8"):
        assert isinstance(parse_mail(argument, ALL), Reply)
    for argument in (f'TO:<"a{unseen}"@example.org>', f"TO:<a@example.org> ORCPT=utf-8;{unseen}@example.org"):
        assert isinstance(parse_rcpt(argument, ALL, True, "h.example"), Reply)


def test_auth_is_taken_where_it_is_offered() -> None:
    taken = parse_mail("FROM:<a@example.org> AUTH=e+3Dmc2@example.com", ALL)
    assert isinstance(taken, MailArguments)
    for argument, offered in (("AUTH=a b", ALL), ("AUTH=+4", ALL), ("AUTH=<>", {"SIZE"})):
        assert isinstance(parse_mail(f"FROM:<a@example.org> {argument}", offered), Reply)


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


def sendable(mailbox: Mailbox | None, parameters: tuple[str, ...]) -> bool:
    """Whether what was accepted can be handed on as it is."""
    every = dict.fromkeys(ALL, "")
    try:
        mail_command(Envelope("ID", mailbox, parameters), every, 1, True)
        rcpt_command(Recipient(mailbox or Mailbox("a", "b"), parameters), every)
    except CommandError:
        return False
    return True


@given(words)
def test_anything_is_a_value_or_a_refusal(text: str) -> None:
    for prefix in ("", "FROM:", "TO:"):
        for result in (parse_mail(prefix + text, ALL), parse_rcpt(prefix + text, ALL, True, "h.example")):
            if isinstance(result, Reply):
                assert result.is_permanent
            elif isinstance(result, MailArguments):
                assert prefix == "FROM:" or text[:5].upper() == "FROM:"
                assert not any(" " in parameter for parameter in result.parameters)
                assert sendable(result.reverse_path, result.parameters)
            else:
                assert "@" in str(result.mailbox)
                assert sendable(result.mailbox, result.parameters)


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
