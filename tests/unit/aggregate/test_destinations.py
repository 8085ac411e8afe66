"""Reports go only where somebody says that he wants them.  RFC 9990 section 4."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from filterd.aggregate.destinations import wanted_at
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.address import parse_mailbox
from tests.support.dns import MapResolver

ASKS = "blue.example.com._report._dmarc.red.example.net"
RECORDS = {
    ("_dmarc.example.com", "TXT"): ["v=DMARC1; p=none"],
    ("_dmarc.blue.example.com", "TXT"): ["v=DMARC1; p=none; rua=mailto:reports@red.example.net"],
    ("_dmarc.example.net", "TXT"): ["v=DMARC1; p=none"],
}


def ask(
    destination: str,
    more: Mapping[tuple[str, str], list[str]] | None = None,
    policy_domain: str = "blue.example.com",
    failing: tuple[str, ...] = (),
) -> tuple[list[str], list[str]]:
    """(mailboxes, TXT names that were asked for confirmation)."""
    resolver = MapResolver({**RECORDS, **(more or {})}, failing)
    mailbox = parse_mailbox(destination)
    assert mailbox is not None
    found = asyncio.run(wanted_at(resolver, policy_domain, mailbox, Deadline.after(30)))
    return [str(one) for one in found], [name for name, _ in resolver.asked if "._report." in name]


@pytest.mark.parametrize(
    "destination",
    ["a@blue.example.com", "a@example.com", "a@x.y.example.com", "a@BLUE.example.com"],
)
def test_within_the_organization_nobody_is_asked(destination: str) -> None:
    assert ask(destination) == ([destination], [])


def test_outside_the_destination_must_confirm() -> None:
    assert ask("reports@red.example.net") == ([], [ASKS])
    confirmed = {(ASKS, "TXT"): ["v=DMARC1"]}
    assert ask("reports@red.example.net", confirmed) == (["reports@red.example.net"], [ASKS])


def test_an_organization_of_its_own_below_a_public_suffix_is_outside() -> None:
    suffix = {("_dmarc.com", "TXT"): ["v=DMARC1; p=none; psd=y"]}
    assert ask("a@other.com", suffix, policy_domain="example.com")[0] == []


@pytest.mark.parametrize("text", ["", "v=DMARC2", "V=DMARC1x", "some text", "p=none; v=DMARC1"])
def test_other_records_confirm_nothing(text: str) -> None:
    assert ask("reports@red.example.net", {(ASKS, "TXT"): [text]})[0] == []


def test_one_of_several_records_is_enough() -> None:
    records = ["v=spf1 -all", "v=DMARC1;", "text"]
    assert ask("reports@red.example.net", {(ASKS, "TXT"): records})[0] == ["reports@red.example.net"]


def test_the_destination_may_name_another_mailbox_of_its_own() -> None:
    records = {(ASKS, "TXT"): ["v=DMARC1; rua=mailto:else@red.example.net,mailto:more@RED.example.net"]}
    assert ask("reports@red.example.net", records)[0] == ["else@red.example.net", "more@RED.example.net"]


def test_but_not_one_of_another_host() -> None:
    records = {(ASKS, "TXT"): ["v=DMARC1; rua=mailto:else@red.example.net,mailto:victim@example.org"]}
    assert ask("reports@red.example.net", records)[0] == []


def test_a_rua_without_a_usable_mailbox_changes_nothing() -> None:
    records = {(ASKS, "TXT"): ["v=DMARC1; rua=https://red.example.net/"]}
    assert ask("reports@red.example.net", records)[0] == ["reports@red.example.net"]


@pytest.mark.parametrize(("length", "asked"), [(253, 1), (254, 0)])
def test_a_name_that_dns_cannot_have_is_not_asked_for(length: int, asked: int) -> None:
    host = "red.example.net"
    room = length - len(f"._report._dmarc.{host}") - len(".example.com")
    policy_domain = ".".join(["a" * 49] * 3 + ["a" * (room - 150)]) + ".example.com"
    wanted, names = ask(f"a@{host}", policy_domain=policy_domain)
    assert (wanted, [len(name) for name in names]) == ([], [length] * asked)


def test_of_what_a_destination_names_only_so_much_is_looked_at() -> None:
    many = ",".join(f"mailto:a{n}@red.example.net" for n in range(9))
    wanted, _ = ask("reports@red.example.net", {(ASKS, "TXT"): [f"v=DMARC1; rua={many}"]})
    assert wanted == [f"a{n}@red.example.net" for n in range(4)]
    assert ask("reports@red.example.net", {(ASKS, "TXT"): [*["text"] * 10, "v=DMARC1"]})[0] == []
    assert ask("reports@red.example.net", {(ASKS, "TXT"): [*["text"] * 9, "v=DMARC1"]})[0] == [
        "reports@red.example.net"
    ]


def test_a_number_is_no_host() -> None:
    assert ask("a@192.0.2.1") == ([], [])


@pytest.mark.parametrize("failing", [ASKS, "_dmarc.red.example.net", "_dmarc.blue.example.com", "_dmarc.example.net"])
def test_when_dns_does_not_say_it_is_asked_later(failing: str) -> None:
    with pytest.raises(TemporaryError):
        ask("reports@red.example.net", {(ASKS, "TXT"): ["v=DMARC1"]}, failing=(failing,))


def test_a_silent_top_level_domain_changes_no_organizational_domain_right_below_it() -> None:
    wanted, _ = ask("reports@red.example.net", {(ASKS, "TXT"): ["v=DMARC1"]}, failing=("_dmarc.net",))
    assert wanted == ["reports@red.example.net"]
