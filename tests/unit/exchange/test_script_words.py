"""The words of the scripts are words that Exchange knows: commands, parameters, variables that were set before."""

from __future__ import annotations

from typing import Any

from filterd.exchange.script import setup_script, undo_script
from filterd.exchange.setup import Setup
from tests.support.powershell import nodes, parameters


def full(**changes: Any) -> Setup:
    """Everything that can be asked for."""
    base: dict[str, Any] = {"servers": ("EX01",), "addresses": ("10.0.0.25",), "fqdn": "mail.example.org"}
    more: dict[str, Any] = {"thumbprint": "ab" * 20, "report_domain": "filter.example.org", "outbound": True}
    return Setup(**{**base, **more, **changes})


# As Microsoft's reference of the cmdlets spells them; here nobody would tell us that there is no such one.
_EITHER_CONNECTOR = (
    "AuthMechanism Bindings Fqdn MaxInboundConnectionPerSource MaxInboundConnectionPercentagePerSource MaxMessageSize"
    " MaxRecipientsPerMessage MessageRateLimit PermissionGroups ProtocolLoggingLevel RemoteIPRanges TarpitInterval"
)
_EITHER_WAY = (
    "AddressSpaces DNSRoutingEnabled Port ProtocolLoggingLevel SmartHostAuthMechanism SmartHosts SourceTransportServers"
)
_EITHER_RULE = "HeaderMatchesMessageHeader HeaderMatchesPatterns SetSCL"
PARAMETERS = {
    **dict.fromkeys(("ForEach-Object", "New-Object", "Where-Object", "Write-Host", "Write-Warning"), ""),
    "Add-ADPermission": "ExtendedRights Identity User",
    "Get-ADPermission": "Identity User",
    "Get-Command": "ErrorAction",
    "Get-ExchangeCertificate": "Server Thumbprint",
    "Get-MailContact": "ResultSize",
    "Get-ReceiveConnector": "Server",
    **dict.fromkeys(("Get-RemoteDomain", "Get-SendConnector", "Get-TransportConfig", "Get-TransportRule"), ""),
    "New-MailContact": "DisplayName ExternalEmailAddress Name PrimarySmtpAddress",
    "New-ReceiveConnector": f"Custom Name Server TransportRole {_EITHER_CONNECTOR}",
    "New-RemoteDomain": "DomainName Name",
    "New-SendConnector": f"Custom Name {_EITHER_WAY}",
    "New-TransportRule": f"Name Priority {_EITHER_RULE}",
    "Remove-ADPermission": "Confirm ExtendedRights Identity User",
    "Remove-MailContact": "Confirm Identity",
    "Remove-ReceiveConnector": "Confirm Identity",
    "Remove-RemoteDomain": "Confirm Identity",
    "Remove-SendConnector": "Confirm Identity",
    "Remove-TransportRule": "Confirm Identity",
    "Set-MailContact": "ExternalEmailAddress Identity RequireSenderAuthenticationEnabled UseMapiRichTextFormat",
    "Set-ReceiveConnector": f"Identity TlsCertificateName {_EITHER_CONNECTOR}",
    "Set-RemoteDomain": "AllowedOOFType AutoForwardEnabled AutoReplyEnabled DeliveryReportEnabled Identity NDREnabled TnefEnabled",
    "Set-SendConnector": f"Identity {_EITHER_WAY}",
    "Set-TransportConfig": "InternalSMTPServers",
    "Set-TransportRule": f"Identity {_EITHER_RULE}",
}


def test_every_parameter_is_one_that_its_command_has() -> None:
    scripts = [setup_script(full(scl_mode=mode)) for mode in ("rule", "organization")]
    used: dict[str, set[str]] = {}
    for script in (*scripts, undo_script(full())):
        for command, names in parameters(script).items():
            used.setdefault(command, set()).update(names)
    assert used == {command: set(words.split()) for command, words in PARAMETERS.items()}


def test_nothing_automatic_comes_to_the_report_addresses() -> None:
    script = setup_script(full())
    for name in ("AutoReplyEnabled", "AutoForwardEnabled", "DeliveryReportEnabled", "NDREnabled", "TnefEnabled"):
        assert f"    {name} = $false\n" in script
    assert "-UseMapiRichTextFormat Never " in script


def test_mail_for_the_world_is_sent_to_us_and_looked_up_by_nobody_else() -> None:
    script = setup_script(full(outbound_port=2588, report_port=2600))
    for way, port in (("SMTP:filter.example.org;1", 2600), ("SMTP:*;1", 2588)):
        table = script.partition(f"AddressSpaces = '{way}'")[2].partition("}")[0]
        assert table.split("\n")[1:5] == [
            "    DNSRoutingEnabled = $false",
            "    SmartHostAuthMechanism = 'None'",
            f"    Port = {port}",
            "    ProtocolLoggingLevel = 'Verbose'",
        ]
    assert script.count("-SourceTransportServers $servers -SmartHosts $addresses @settings\n") == 4


def test_no_variable_is_used_before_it_was_set() -> None:
    for script in (setup_script(full()), setup_script(full(scl_mode="organization")), undo_script(full())):
        known = {"$_", "$true", "$false", "$null", "$global:ErrorActionPreference"}
        for node in nodes(script):
            text = (node.text or b"").decode()
            if node.type == "left_assignment_expression":
                known.add(text.strip())
            elif node.type == "foreach_statement":
                known.add("$" + text.partition("($")[2].partition(" ")[0])
            elif node.type in ("variable", "braced_variable"):
                name = text.replace("{", "").replace("}", "").replace("@", "$")
                assert name in known, f"line {node.start_point[0] + 1}"


def test_the_certificate_is_named_as_exchange_names_it() -> None:
    script = setup_script(full())
    assert f"Get-ExchangeCertificate -Server $server -Thumbprint '{'AB' * 20}'\n" in script
    assert '    $subject = "<I>$($certificate.Issuer)<S>$($certificate.Subject)"\n' in script
    assert " -TlsCertificateName $subject\n" in script
    assert "    Fqdn = 'mail.example.org'\n" in script
    for words in ("Certificate", "Fqdn"):
        assert words not in setup_script(full(fqdn="", thumbprint=""))
