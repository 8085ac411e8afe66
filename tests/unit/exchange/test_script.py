"""What an administrator pastes does what it says, for every choice, can be run twice and undone, and never opens a relay."""

from __future__ import annotations

import itertools
import re
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.exchange.powershell import UnsafeValueError
from filterd.exchange.script import setup_script, undo_script
from filterd.exchange.setup import (
    CONNECTOR,
    OUTBOUND,
    REPORT_CONTACTS,
    REPORTS,
    RULES,
    Setup,
    SetupError,
    contact_name,
    scl_pattern,
)
from filterd.mail.envelope import Connection
from filterd.mail.evidence import Reason
from filterd.mail.headers import report
from filterd.mail.verdict import Action, Verdict
from filterd.outbox import as_released
from tests.support.powershell import commands, errors, nodes, strings

BASE: dict[str, Any] = {"servers": ("EX01",), "addresses": ("10.0.0.25",)}
CHOICES: dict[str, tuple[Any, ...]] = {
    "servers": (("EX01",), ("EX01", "EX 02", "Büro-Ex'3")),
    "addresses": (("10.0.0.25",), ("10.0.0.25", "fd00::25")),
    "fqdn": ("", "mail.example.org"),
    "thumbprint": ("", "ab" * 20),
    "scl_mode": ("rule", "organization"),
    "report_domain": ("", "filter.example.org"),
    "tnef": (False, True),
    "outbound": (False, True),
}
EVERY = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]


def full(**changes: Any) -> Setup:
    return Setup(**{**BASE, "report_domain": "filter.example.org", "outbound": True, **changes})


def test_every_combination_is_powershell_and_never_opens_exchange() -> None:
    for choice in EVERY:
        for script in (setup_script(Setup(**choice)), undo_script(Setup(**choice))):
            assert errors(script) == [], choice
            words = script.lower()
            assert "external" + "authoritative" not in words
            assert "externally" not in words
            assert "exchangeservers" not in words  # the permission group that goes with it
            assert "accept-any-recipient" not in words
            assert "bypass-anti-spam" not in words


def test_the_connector_is_for_us_alone() -> None:
    script = setup_script(
        Setup(**{**BASE, "addresses": ("10.0.0.25", "fd00::25"), "message_bytes": 50_000_000, "recipients": 500})
    )
    said = dict(re.findall(r"^    (\w+) = (.+)$", script.partition("$settings = @{")[2].partition("}")[0], re.M))
    assert said == {
        "PermissionGroups": "'AnonymousUsers'",
        "AuthMechanism": "'Tls'",
        "TarpitInterval": "'00:00:00'",
        "MaxInboundConnectionPerSource": "'unlimited'",
        "MaxInboundConnectionPercentagePerSource": "100",
        "MessageRateLimit": "'unlimited'",
        "MaxRecipientsPerMessage": "500",
        "MaxMessageSize": "'51048576'",  # our fields come on top
        "ProtocolLoggingLevel": "'Verbose'",
        "Bindings": "@('0.0.0.0:25', '[::]:25')",  # a second run with another address or port must listen there
    }
    assert "$addresses = @('10.0.0.25', 'fd00::25')" in script
    assert "-RemoteIPRanges $addresses" in script
    assert "TransportRole = 'FrontendTransport'; Custom = $true }" in script
    assert script.count("-RemoteIPRanges $addresses @") == 2  # made, and written again
    assert script.count("@settings", 0, script.index("Mode rule")) == 2
    plain = setup_script(full())
    for line in (
        "MaxRecipientsPerMessage = 200",
        "MaxMessageSize = '38797312'",  # 36 MB, as Exchange's own, and a megabyte for our fields
        "Bindings = @('0.0.0.0:25')",
        "AddressSpaces = 'SMTP:filter.example.org;1'",
        "AddressSpaces = 'SMTP:*;1'",
    ):
        assert f"    {line}\n" in plain
    assert plain.count("    Port = 25\n") == 2


def test_a_limit_above_exchanges_own_is_what_exchange_can_take() -> None:
    assert "MaxMessageSize = '2147483647'" in setup_script(Setup(**BASE, message_bytes=2_147_483_647))


def test_each_scl_mode_has_its_own_way_and_only_that() -> None:
    rule, organization = (setup_script(Setup(**BASE, scl_mode=mode)) for mode in ("rule", "organization"))  # type: ignore[arg-type]
    assert "New-TransportRule" in commands(rule)
    assert "Add-ADPermission" not in commands(rule)
    assert "New-TransportRule" not in commands(organization)
    assert "Add-ADPermission" in commands(organization)
    assert "ms-Exch-Accept-Headers-Organization" in strings(organization)
    assert "# Mode rule: this connector does not let X-MS-Exchange-Organization-SCL of filterd through.\n" in rule
    assert (
        "# Mode organization: this connector lets X-MS-Exchange-Organization-SCL of filterd through.\n" in organization
    )
    assert "S-1-5-7" in strings(organization)  # the anonymous account, whatever it is called in the language of Windows


def test_another_scl_mode_takes_the_first_one_away_after_the_new_one_is_there() -> None:
    rule, organization = (commands(setup_script(Setup(**BASE, scl_mode=mode))) for mode in ("rule", "organization"))  # type: ignore[arg-type]
    assert "Remove-ADPermission" in rule
    assert "Remove-ADPermission" not in organization
    assert "Remove-TransportRule" not in rule
    assert organization.index("Add-ADPermission") < organization.index("Remove-TransportRule")
    script = setup_script(Setup(**BASE))
    assert "if ($rights) {" in script
    assert "-not $_.Deny -and -not $_.IsInherited" in script  # what is given above the connector is none of ours


def test_rules_stand_first_and_are_brought_into_line() -> None:
    script = setup_script(Setup(**BASE))
    assert "New-TransportRule -Name $rule -Priority 0 @settings" in script
    assert (
        "Set-TransportRule -Identity $rule @settings" in script
    )  # without Priority: it may have been moved on purpose
    assert "StopRuleProcessing" not in script


@pytest.mark.parametrize("make", [setup_script, undo_script])
def test_a_script_is_one_statement_that_stops_at_its_first_error(make: Any) -> None:
    script = make(full())
    tree = [node for node in nodes(script) if node.type == "pipeline" and node.start_point[1] == 0]
    first = next(node for node in tree if (node.text or b"").startswith(b"& {"))
    assert first.end_point[0] == len(script.splitlines()) - 1  # pasted, the shell waits for the last brace
    assert "$global:ErrorActionPreference = 'Stop'" in script
    assert script.endswith("finally { $global:ErrorActionPreference = $before }\n}\n")


def test_another_report_domain_replaces_the_first() -> None:
    script = setup_script(full())
    assert script.index("Remove-RemoteDomain") < script.index("New-RemoteDomain")
    assert "$_.Name -eq $name -and [string]$_.DomainName -ne $domain" in script
    for local, _ in REPORT_CONTACTS:
        there = f"Set-MailContact -Identity '{contact_name(local)}' -ExternalEmailAddress '{local}@filter.example.org'"
        assert f"\n{there} " in script  # whether it was there or not


def test_the_world_cannot_write_to_the_report_contacts() -> None:
    script = setup_script(full())
    assert script.count("-RequireSenderAuthenticationEnabled $true") == len(REPORT_CONTACTS)
    for local, _ in REPORT_CONTACTS:  # else the address policy gives it one of an accepted domain
        assert f"-PrimarySmtpAddress '{local}@filter.example.org'" in script


def test_only_what_is_asked_for_is_made() -> None:
    plain, all_of_it = commands(setup_script(Setup(**BASE))), commands(setup_script(full()))
    for command in ("New-SendConnector", "New-RemoteDomain", "New-MailContact"):
        assert command not in plain
        assert command in all_of_it
    assert "TnefEnabled = $false" in setup_script(full())
    assert "TnefEnabled" not in setup_script(full(tnef=True))
    assert "AllowedOOFType = 'None'" in setup_script(full(tnef=True))


def test_nothing_is_made_that_is_there_already() -> None:
    """Each New- stands behind a look for the same thing."""
    for mode in ("rule", "organization"):
        lines = setup_script(full(scl_mode=mode)).splitlines()
        for number, line in enumerate(lines):
            if made := re.search(
                r"\bNew-(ReceiveConnector|SendConnector|TransportRule|RemoteDomain|MailContact)\b", line
            ):
                if "Get-Command" in line or "throw" in line:
                    continue
                before = "\n".join(lines[max(0, number - 4) : number])
                assert f"Get-{made[1]}" in before, line
                assert "if (-not " in before, line


def test_undoing_names_everything_that_any_setup_makes() -> None:
    undo = undo_script(Setup(**BASE))
    assert undo == undo_script(full(scl_mode="organization"))
    removed = {command.removeprefix("Remove-") for command in commands(undo) if command.startswith("Remove-")}
    made = {
        command.removeprefix("New-")
        for mode in ("rule", "organization")
        for command in commands(setup_script(full(scl_mode=mode)))
        if command.startswith("New-") and command != "New-Object"
    }
    assert removed == made == {"ReceiveConnector", "TransportRule", "SendConnector", "RemoteDomain", "MailContact"}
    names = {CONNECTOR, f"{RULES}*", OUTBOUND, REPORTS, *(contact_name(local) for local, _ in REPORT_CONTACTS)}
    assert names <= set(strings(undo))
    assert "@{ Remove = $address }" in undo


HOSTILE = st.text(
    st.one_of(st.sampled_from("'\u2018\u2019\u201a\u201b\"`$();{}|&#@"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=60,
)


@given(HOSTILE)
def test_no_name_runs_anything(name: str) -> None:
    try:
        setup = Setup(**{**BASE, "servers": (name,)})
        scripts = (setup_script(setup), undo_script(setup))
    except (SetupError, UnsafeValueError):
        assert not name.strip() or not name.isprintable()
        return
    harmless = Setup(**BASE)
    for script, model in zip(scripts, (setup_script(harmless), undo_script(harmless)), strict=True):
        lines, expected = script.split("\n"), model.split("\n")
        assert len(lines) == len(expected)
        differing = [line for line, other in zip(lines, expected, strict=True) if line != other]
        assert [line.startswith("$servers = @('") and line.endswith("')") for line in differing] in ([], [True])
        if name.isascii():
            assert errors(script) == []
            assert commands(script) == commands(model)


def _report(scl: int, helo: str = "client.example.net", name: str = "client.example.net") -> bytes:
    verdict = Verdict(Action.ACCEPT, scl, 0, 0.5, Reason.OK, "row", None, (), ("dnsbl",), Action.ACCEPT)
    connection = Connection(ip_address("2001:db8::9"), 25, helo=helo, client_name=name)
    return report(connection, "ID", verdict, "SPM", "SPM")


def _matching(field: bytes) -> list[int]:
    return [scl for scl in range(-1, 10) if scl_pattern(scl).encode() in field]


@pytest.mark.parametrize("scl", range(-1, 10))
def test_exactly_one_rule_finds_its_number_in_our_field(scl: int) -> None:
    field = _report(scl)
    assert _matching(field) == [scl]
    assert _matching(field.replace(b"\r\n\t", b"\t")) == [scl]  # unfolded, as a mail server reads it
    assert _matching(field.replace(b"\r\n\t", b" ")) == [scl]


@given(st.text(st.sampled_from("SCL:-19; \t"), max_size=30), st.text(st.sampled_from("SCL:-19; \t"), max_size=30))
def test_a_client_cannot_write_its_own_number(helo: str, name: str) -> None:
    assert _matching(_report(9, helo, name)) == [9]


def test_a_released_copy_has_minus_one() -> None:
    assert _matching(as_released(_report(6))) == [-1]
