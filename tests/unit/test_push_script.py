"""The script that pushes: it parses, calls what Exchange has, sends what the API takes.  It is read here, not run: there is no PowerShell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.directory_forms import Commit, Domain, Limits, NewPart, NewPush, Person, Recipient
from api.services import DirectoryCache
from filterd.directory.keys import KEY_BYTES, address_key, lower_case
from filterd.pushing import PART_BYTES, PART_RECIPIENTS, VERSION
from tests.support import powershell
from tests.support.exchange_push import Item, Organization, PushFailedError, canonical, push, to_lower_invariant
from tests.support.material import CHECKOUT
from tests.support.sideservice import Side, make_config, side_service

SCRIPT = (CHECKOUT / "deploy" / "exchange" / "Push-FilterdDirectory.ps1").read_text(
    "ascii"
)  # PowerShell 5.1 reads others as ANSI
CODE = SCRIPT.partition("#>")[2]

# Cmdlets and those of their parameters that exist in Exchange Server 2013 to 2019.  Source: the page of each cmdlet in Microsoft's
# reference (MicrosoftDocs/office-docs-powershell, exchange/exchange-ps/exchange/NAME.md), its syntax and the line "Applicable".  Read
# there: all twelve.  The versions that were read end with 2019 (Set-ADServerSettings and Get-DistributionGroup: with 2016); that
# Exchange SE has the same is expected, not read.
EXCHANGE = {
    "Get-AcceptedDomain": set(),
    "Get-DistributionGroup": {"ResultSize"},
    "Get-DistributionGroupMember": {"Identity", "ResultSize"},
    "Get-DynamicDistributionGroup": {"ResultSize"},
    "Get-MailContact": {"ResultSize"},
    "Get-MailPublicFolder": {"ResultSize"},
    "Get-MailUser": {"ResultSize"},
    "Get-Mailbox": {"ResultSize"},
    "Get-MailboxJunkEmailConfiguration": {"Identity", "ResultSize"},
    "Get-Recipient": {"ResultSize"},
    "Get-RemoteMailbox": {"ResultSize"},
    "Set-ADServerSettings": {"ViewEntireForest", "WhatIf"},
}
# Windows PowerShell 5.1, Microsoft.PowerShell.Core, .Management, .Security and .Utility.
WINDOWS = {
    "ConvertFrom-Json": set(),
    "ConvertTo-Json": {"InputObject", "Compress", "Depth"},
    "ConvertTo-SecureString": set(),
    "ForEach-Object": set(),
    "Get-Command": {"ErrorAction"},
    "Get-Content": {"LiteralPath", "TotalCount"},
    "Invoke-RestMethod": {"Method", "Uri", "Headers", "TimeoutSec", "UseBasicParsing", "MaximumRedirection"}
    | {"Body", "ContentType"},
    "New-Object": {"ArgumentList"},
    "Sort-Object": set(),
    "Write-Verbose": set(),
    "Write-Warning": set(),
}
# Properties of what those cmdlets give.  Source: the same reference, and the class library reference for Exchange
# (MailEnabledRecipient.RequireSenderAuthenticationEnabled); SCL...: exchange.md 1.6 of the facts, Set-Mailbox.
PROPERTIES = {
    "domain": {"DomainName", "DomainType", "MatchSubDomains"},
    "item": {"Guid", "Identity", "RequireSenderAuthenticationEnabled", "SCL${kind}Threshold", "SCL${kind}Enabled"},
    "junk": {"TrustedSendersAndDomains", "BlockedSendersAndDomains"},
    "_": {"DisplayName", "EmailAddresses", "Guid"},
}


def test_it_is_powershell_and_short() -> None:
    assert powershell.errors(SCRIPT) == []
    assert len(CODE.splitlines()) <= 130  # its help may say what it has to


def test_it_calls_what_is_there() -> None:
    own = set(re.findall(r"^function ([\w-]+)", CODE, re.MULTILINE))
    assert set(powershell.commands(SCRIPT)) <= EXCHANGE.keys() | WINDOWS.keys() | own
    named = set(re.findall(r"'(Get-\w+)'", CODE))
    assert named == {name for name, known in EXCHANGE.items() if known == {"ResultSize"}} - {"Get-Recipient"}


def test_its_parameters_are_there() -> None:
    for node in powershell.nodes(SCRIPT):
        if node.type != "command":
            continue
        text = (node.text or b"").decode()
        name = next(((c.text or b"").decode() for c in node.children if c.type == "command_name"), "Get-Mailbox")
        elements = next((c for c in node.children if c.type == "command_elements"), None)
        given_ = (
            [(c.text or b"").decode()[1:] for c in elements.children if c.type == "command_parameter"]
            if elements
            else []
        )
        assert set(given_) <= (EXCHANGE | WINDOWS).get(name, set()), text
    splatted = re.search(r"\$request = @\{(.*?) \}; TimeoutSec|\$request = @\{(.*)\}$", CODE, re.MULTILINE)
    assert splatted is not None
    names = set(re.findall(r"(?:^|[;{] )(\w+) = ", splatted[0])) | set(re.findall(r"\$request\.(\w+)", CODE))
    assert names - {"Authorization"} <= WINDOWS["Invoke-RestMethod"]


def test_it_reads_properties_that_are_there() -> None:
    for variable, known in PROPERTIES.items():
        used = re.findall(rf"\${variable}\.(?:(\w+)|\"([^\"]+)\")", CODE)
        found = {plain or quoted for plain, quoted in used} - {"Exception", "ErrorDetails"}
        assert found == known, variable


def test_what_makes_it_safe_stands_in_it() -> None:
    for line in (
        "$ErrorActionPreference = 'Stop'",
        "::Tls12",
        "ServerCertificateValidationCallback = $null",
        "DefaultWebProxy = $null",
        "ValidatePattern('^https://')",
        "$PSCmdlet.ShouldProcess(",
        "Set-ADServerSettings -ViewEntireForest $true",
        "ToLowerInvariant()",
    ):
        assert line in CODE, line
    assert "exit 2" in CODE
    assert CODE.rstrip().endswith("exit $failed")
    assert not re.search(r"Write\S+ .*\$token|SkipCertificate|\| *\w+-Object -Unique", CODE)


def test_an_error_of_exchange_ends_it_also_in_a_remote_session() -> None:
    """There its commands are functions of a module, which do not see the script's own preference (PowerShell/PowerShell#4568)."""
    reading = CODE[CODE.index("\ntry {\n") : CODE.index("\n$failed = 0")]
    assert reading.index("$global:ErrorActionPreference = 'Stop'") < reading.index("Get-Command Get-Recipient")
    kept = re.search(r"^\$(\w+) = \$global:ErrorActionPreference", CODE, re.MULTILINE)
    assert kept is not None
    assert reading.rstrip().endswith(f"finally {{ $global:ErrorActionPreference = ${kept[1]} }}"), "as it was"


def test_one_mailbox_that_cannot_be_opened_stops_nobody_but_a_command_that_is_missing_does() -> None:
    asked = CODE[CODE.index("try { $junk = ") :].partition("$lists[$guid] =")[0]
    assert "catch [System.Management.Automation.CommandNotFoundException] { throw }" in asked
    assert re.search(r"catch \{ Write-Warning .*; continue \}", asked)


def test_its_numbers_are_those_of_the_filter() -> None:
    rows, octets = re.findall(r"\$rows\.Count -eq (\d+) -or \(\$size \+ \$json\.Length\) -gt (\d+)", CODE)[0]
    assert int(rows) == PART_RECIPIENTS
    assert 2 * int(octets) <= PART_BYTES, "with the largest mailbox behind it, still a part"
    assert f"[0..{KEY_BYTES - 1}]" in CODE
    assert f"$site.version -ne {VERSION}" in CODE
    assert f"version = {VERSION};" in CODE


def test_what_goes_into_the_digest_stands_in_one_order() -> None:
    for variable in ("row", "head", "own"):
        assert re.search(rf"\${variable} = \[ordered\]@\{{", CODE), variable


def test_a_list_of_nobody_is_not_sent() -> None:
    assert re.search(r"^    if \(-not \$recipients\.Count\) \{ throw ", CODE, re.MULTILINE)


def test_every_exchange_command_gets_all_there_is() -> None:
    texts = [(node.text or b"").decode() for node in powershell.nodes(SCRIPT) if node.type == "command"]
    asked = [text for text in texts if text.startswith(("Get-Recipient", "& $cmdlet", "Get-DistributionGroupMember"))]
    assert len(asked) == 3
    assert all("-ResultSize Unlimited" in text for text in asked)


def _keys_in(form: str) -> set[str]:
    return set(re.findall(r"(?:@\{|;) (\w+) = ", form)) | set(re.findall(r"\$(?:row|head)\.(\w+) = ", form))


def test_it_sends_what_the_api_takes() -> None:
    forms = (NewPush, NewPart, Recipient, Limits, Domain, Person, Commit)
    known = {name for form in forms for name in form.model_fields}
    row = {line for line in CODE.splitlines() if "$row" in line or "$head" in line or "[ordered]@{ name" in line}
    sent = set().union(*map(_keys_in, row)) | {"accept_drop"}
    assert sent <= known
    assert {name for form in (NewPush, Recipient, Domain, Person) for name in form.model_fields} <= sent
    requests = re.findall(r"Send-Request '(\w+)' ['\"]([^'\"]+)['\"]", CODE)
    assert requests == [
        ("GET", "key"),
        ("POST", "pushes"),
        ("PUT", "pushes/$open/parts/$n"),
        ("POST", "pushes/$open/commit"),
        ("DELETE", "pushes/$open"),
    ]


# From here on: the script's steps in Python, against the real API.


class Node:
    """A node that takes pushes, and what was asked of it."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.asked: list[tuple[str, str, bytes | None]] = []

    def __call__(self, method: str, path: str, body: bytes | None) -> Any:
        self.asked.append((method, path, body))
        headers = {"Content-Type": "application/json"} if body else {}
        response = self.side.ask(method, f"/v1/directory/{path}", "directory", content=body, headers=headers)
        if response.status_code >= 400:
            error = response.json()["error"]
            raise PushFailedError(f"{error['problem']}. {error['remedy']}.")
        return response.json()

    def told(self, address: str, **query: str) -> dict[str, Any]:
        self.side.app.state.services.directory = DirectoryCache(self.side.config)  # as a process that starts now
        found: dict[str, Any] = self.side.ask(
            "GET", "/v1/directory/test", "read", params={"address": address, **query}
        ).json()
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with side_service(tmp_path, make_config(tmp_path, push={"enabled": True})) as side:
        yield Node(side)


def organization() -> Organization:
    return Organization(
        domains=[
            ("example.org", "Authoritative", False),
            ("*.Sub.Example", "Authoritative", False),
            ("Bücher.example", "InternalRelay", True),
            ("*", "InternalRelay", False),
        ],
        items=[
            Item(
                ["SMTP:Anna.Example@Example.ORG", "smtp:a.example@sub.example", "X400:C=DE;A= ;P=Example"],
                thresholds={"junk": 3},
            ),
            Item(["smtp:board@example.org"], inside=True),
            Item(["SIP:anna@example.org", "EUM:123@nowhere"]),
            Item(["SMTP:ΟΔΟΣ@example.org", "smtp:\u0130zmir@example.org"]),
            Item(
                ["SMTP:carl@example.org"],
                trusted=["Friend@Partner.example", "news.example", "@Shop.example"],
                blocked=["bad.example"],
            ),
        ],
        protected=["Anna Example", "Jürgen Müller", "Anna Example", ""],
    )


def test_a_push_as_the_script_does_it(node: Node) -> None:
    assert push(organization(), node) == "6 addresses in use, 6 added, 0 dropped"
    assert [(method, re.sub(r"[0-9a-f]{16}", "ID", path)) for method, path, _ in node.asked] == [
        ("GET", "key"),
        ("POST", "pushes"),
        ("PUT", "pushes/ID/parts/1"),
        ("POST", "pushes/ID/commit"),
    ]
    told = {
        address: node.told(address)["status"]
        for address in (
            "ANNA.example@example.org",
            "a.example@sub.example",
            "a.example@example.org",
            "board@example.org",
            "123@nowhere.example",
            "οδοσ@example.org",
            "ΟΔΟΣ@example.org",
            "\u0130zmir@example.org",
            "anybody@dept.xn--bcher-kva.example",
            "nobody@deep.sub.example",
        )
    }
    assert list(told.values()) == [
        "known",
        "known",
        "unknown",
        "internal_only",
        "foreign_domain",
        "known",
        "known",
        "known",
        "known",
        "unknown",
    ]
    assert node.told("anna.example@example.org")["thresholds"]["junk"] == 3
    words = [
        node.told("carl@example.org", sender=sender)["sender_word"]
        for sender in (
            "friend@partner.example",
            "x@news.example",
            "y@shop.example",
            "z@bad.example",
            "q@partner.example",
        )
    ]
    assert words == ["safe", "safe", "safe", "blocked", None]
    assert node.side.json("GET", "/v1/directory/status", "read")["people"] == 2


def test_the_same_list_in_another_order_is_not_sent_again(node: Node) -> None:
    exchange = organization()
    push(exchange, node)
    node.asked.clear()
    exchange.items.reverse()
    assert push(exchange, node) == "unchanged, 4 recipients"
    assert [method for method, _, _ in node.asked] == ["GET", "POST"]
    exchange.items[0].thresholds["delete"] = 9
    assert push(exchange, node) == "6 addresses in use, 0 added, 0 dropped"


def test_large_lists_come_in_parts(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.exchange_push.PART_RECIPIENTS", 10)
    items = [Item([f"SMTP:user{number}@example.org"]) for number in range(25)]
    push(Organization([("example.org", "Authoritative", False)], items), node)
    sizes = [len(json.loads(body)["recipients"]) for method, _, body in node.asked if method == "PUT" and body]
    assert sizes == [10, 10, 5]
    monkeypatch.setattr("tests.support.exchange_push.PART_CHARACTERS", 500)
    node.asked.clear()
    items[0].inside = True
    push(Organization([("example.org", "Authoritative", False)], items), node)
    assert sum(method == "PUT" for method, _, _ in node.asked) > 3
    assert node.told("user24@example.org")["known"]


def test_a_refused_push_is_said_with_its_remedy_and_dropped(node: Node) -> None:
    exchange = organization()
    exchange.items += [Item([f"smtp:user{number}@example.org"]) for number in range(6)]
    push(exchange, node)
    del exchange.items[-6:]
    with pytest.raises(PushFailedError, match=r"6 of 12 recipients would be dropped.* -AcceptDrop"):
        push(exchange, node)
    assert node.asked[-1][0] == "DELETE"
    assert node.told("user5@example.org")["known"]
    assert push(exchange, node, accept_drop=True) == "6 addresses in use, 0 added, 6 dropped"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("ΑΣ")
@example("\u0130")
@example("ẞ")
@example("\u212a\u212b\u2126")
def test_both_sides_lower_letters_the_same_way(text: str) -> None:
    assert lower_case(text) == to_lower_invariant(text)
    key = bytes(32)
    assert address_key(key, f"{text}@example.org") == address_key(key, canonical(f"{text}@Example.ORG"))
