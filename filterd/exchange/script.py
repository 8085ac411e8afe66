"""Owns the PowerShell that makes Exchange take mail from filterd, and the PowerShell that undoes it.

Both may be run as often as one likes: what is there is brought into line, what is not there is made.  Sources: the facts behind
docs/exchange.md; why each line is as it is stands there and in docs/decisions/0027.  Must not know the configuration's form.
"""

from __future__ import annotations

from filterd.exchange.powershell import array, literal, table
from filterd.exchange.setup import (
    CONNECTOR,
    ORGANIZATION_RIGHT,
    OUTBOUND,
    REPORT_CONTACTS,
    REPORTS,
    RULES,
    Setup,
    changes,
    contact_name,
    scl_pattern,
)
from filterd.mail.headers import REPORT_FIELD

# Our own fields come on top of what a client may send: a message of just the largest size must not fail for them.
_OWN_FIELDS = 1_048_576
_MOST_BYTES = 2_147_483_647  # New-ReceiveConnector -MaxMessageSize
_AUTOMATIC = ("AutoReplyEnabled", "AutoForwardEnabled", "DeliveryReportEnabled", "NDREnabled")
# One statement, so that a script which is pasted stops at its first error too; Exchange's own commands see the global preference only.
_BEGIN = ("& {", "$before = $global:ErrorActionPreference", "try {", "$global:ErrorActionPreference = 'Stop'")
_END = "}\nfinally { $global:ErrorActionPreference = $before }\n}\n"


def setup_script(setup: Setup) -> str:
    """PowerShell for the Exchange Management Shell.  Raises UnsafeValueError for a server name with control characters."""
    parts = [
        [
            *_head(
                "makes Exchange take mail from filterd; run it again whenever something has changed", changes(setup)
            ),
            "",
        ],
        _values(setup),
        _connectors(setup),
        _rules() if setup.scl_mode == "rule" else _no_rules(),
        _internal_servers(),
        _reports(setup) if setup.report_domain else [],
        _outbound(setup) if setup.outbound else [],
        ["Write-Host 'Done.  Now, where filterd runs: filterd exchange verify'"],
    ]
    return "\n".join(line for part in parts if part for line in (*part, "")) + _END


def undo_script(setup: Setup) -> str:
    """PowerShell that takes away whatever any setup script for these servers and addresses has made."""
    contacts = array(contact_name(local) for local, _ in REPORT_CONTACTS)
    return (
        "\n".join(
            [
                *_head(
                    "takes away what the setup script has made; mail must reach Exchange another way before",
                    ["what the setup script has made, by its name; nothing else"],
                ),
                "",
                *_values(setup),
                "",
                "foreach ($server in $servers) {",
                "    Get-ReceiveConnector -Server $server | Where-Object { $_.Name -eq $name } |",
                "        ForEach-Object { Remove-ReceiveConnector -Identity $_.DistinguishedName -Confirm:$false }",
                "}",
                *_no_rules(),
                f"Get-SendConnector | Where-Object {{ {array((OUTBOUND, REPORTS))} -contains $_.Name }} |",
                "    ForEach-Object { Remove-SendConnector -Identity $_.Name -Confirm:$false }",
                f"Get-RemoteDomain | Where-Object {{ $_.Name -eq {literal(REPORTS)} }} |",
                "    ForEach-Object { Remove-RemoteDomain -Identity $_.Name -Confirm:$false }",
                f"Get-MailContact -ResultSize Unlimited | Where-Object {{ {contacts} -contains $_.Name }} |",
                "    ForEach-Object { Remove-MailContact -Identity $_.DistinguishedName -Confirm:$false }",
                *_known_servers(),
                "foreach ($address in $addresses) {",
                "    if ($internal -contains $address) {",
                "        Set-TransportConfig -InternalSMTPServers @{ Remove = $address }",
                "    }",
                "}",
                "Write-Host 'Done.  Send connectors that you switched off for the outbound way are still off.'",
                "",
            ]
        )
        + _END
    )


def _head(purpose: str, changes: list[str]) -> list[str]:
    return [
        f"# filterd: {purpose}.",
        "# For the Exchange Management Shell, as a member of Organization Management.  It changes:",
        *(f"#   - {change}" for change in changes),
        "# There is no -WhatIf, for later steps need what earlier ones make: read it first.  It stops at its first error.",
        *_BEGIN,
        "if (-not (Get-Command New-ReceiveConnector -ErrorAction SilentlyContinue)) {",
        "    throw 'Run this in the Exchange Management Shell: New-ReceiveConnector is not known here.'",
        "}",
    ]


def _values(setup: Setup) -> list[str]:
    return [
        f"$servers = {array(setup.servers)}",
        f"$addresses = {array(setup.addresses)}",
        f"$name = {literal(CONNECTOR)}",
    ]


def _connectors(setup: Setup) -> list[str]:
    """One for each server: connectors belong to a server, those of the pool know nothing of each other."""
    settings: dict[str, str | int | bool | list[str]] = {
        "PermissionGroups": "AnonymousUsers",  # -Custom begins with nobody
        "AuthMechanism": "Tls",
        "TarpitInterval": "00:00:00",  # ours is at the Internet's side; here it would only hold connections
        "MaxInboundConnectionPerSource": "unlimited",  # all mail comes from one source
        "MaxInboundConnectionPercentagePerSource": 100,
        "MessageRateLimit": "unlimited",
        "MaxRecipientsPerMessage": setup.recipients,
        "MaxMessageSize": str(min(setup.message_bytes + _OWN_FIELDS, _MOST_BYTES)),
        "ProtocolLoggingLevel": "Verbose",
    }
    if setup.fqdn:
        settings["Fqdn"] = setup.fqdn
    v6 = any(":" in address for address in setup.addresses)
    settings["Bindings"] = [f"0.0.0.0:{setup.port}", *([f"[::]:{setup.port}"] if v6 else [])]
    return [
        "# The receive connector: Front End, anonymous, for our addresses only.",
        *table("settings", settings),
        "foreach ($server in $servers) {",
        "    $connector = Get-ReceiveConnector -Server $server | Where-Object { $_.Name -eq $name }",
        "    if (-not $connector) {",
        "        $made = @{ TransportRole = 'FrontendTransport'; Custom = $true }",
        "        $connector = New-ReceiveConnector -Name $name -Server $server -RemoteIPRanges $addresses @made @settings",
        '        Write-Host "$server`: receive connector made"',
        "    }",
        "    else {",
        "        Set-ReceiveConnector -Identity $connector.DistinguishedName -RemoteIPRanges $addresses @settings",
        '        Write-Host "$server`: receive connector was there, settings written again"',
        "    }",
        *(_certificate(setup.thumbprint) if setup.thumbprint else []),
        *_right(setup.scl_mode == "organization"),
        "}",
    ]


def _certificate(thumbprint: str) -> list[str]:
    return [
        f"    $certificate = Get-ExchangeCertificate -Server $server -Thumbprint {literal(thumbprint.upper())}",
        '    $subject = "<I>$($certificate.Issuer)<S>$($certificate.Subject)"',
        "    Set-ReceiveConnector -Identity $connector.DistinguishedName -TlsCertificateName $subject",
    ]


def _right(wanted: bool) -> list[str]:
    """Gives the right, or takes it where an earlier run gave it.

    The name of the anonymous account differs with the language of Windows, its SID does not.
    """
    right = literal(ORGANIZATION_RIGHT)
    on = f"-Identity $connector.DistinguishedName -User $anonymous -ExtendedRights {right}"
    mode = "organization: this connector lets" if wanted else "rule: this connector does not let"
    change = (
        ["if (-not $rights) {", f"    $null = Add-ADPermission {on}", '    Write-Host "$server`: right given"', "}"]
        if wanted
        else [
            "if ($rights) {",
            f"    Remove-ADPermission {on} -Confirm:$false",
            '    Write-Host "$server`: right taken"',
            "}",
        ]
    )
    return [
        f"    # Mode {mode} X-MS-Exchange-Organization-SCL of filterd through.",
        "    $sid = New-Object System.Security.Principal.SecurityIdentifier 'S-1-5-7'",
        "    $anonymous = $sid.Translate([System.Security.Principal.NTAccount]).Value",
        "    $rights = Get-ADPermission -Identity $connector.DistinguishedName -User $anonymous | Where-Object {",
        f'        "$($_.ExtendedRights)" -like {literal("*" + ORGANIZATION_RIGHT + "*")} -and -not $_.Deny -and -not $_.IsInherited',
        "    }",
        *(f"    {line}" for line in change),
    ]


def _rules() -> list[str]:
    """One for each SCL; filterd removes this field from whatever comes from outside, so that only its own is read.

    They stand before all others: a rule of the administrator's that looks at the SCL finds it, and one that sets it has the last word.
    """
    return [
        "# Mode rule: transport rules read the SCL from the field that filterd writes.",
        "foreach ($scl in -1..9) {",
        f"    $rule = {literal(RULES)} + $scl",
        f"    $settings = @{{ HeaderMatchesMessageHeader = {literal(REPORT_FIELD)}",
        f'        HeaderMatchesPatterns = "{scl_pattern("${scl}")}"; SetSCL = $scl }}',
        "    if (-not (Get-TransportRule | Where-Object { $_.Name -eq $rule })) {",
        "        $null = New-TransportRule -Name $rule -Priority 0 @settings",
        '        Write-Host "transport rule made: $rule"',
        "    }",
        "    else {",
        "        Set-TransportRule -Identity $rule @settings",
        "    }",
        "}",
    ]


def _no_rules() -> list[str]:
    return [
        f"Get-TransportRule | Where-Object {{ $_.Name -like {literal(RULES + '*')} }} |",
        "    ForEach-Object { Remove-TransportRule -Identity $_.Name -Confirm:$false }",
    ]


def _known_servers() -> list[str]:
    return ["$internal = @((Get-TransportConfig).InternalSMTPServers | ForEach-Object { [string]$_ })"]


def _internal_servers() -> list[str]:
    return [
        "# Exchange's own agents look for the client behind filterd in the Received fields.",
        *_known_servers(),
        "foreach ($address in $addresses) {",
        "    if ($internal -notcontains $address) {",
        "        Set-TransportConfig -InternalSMTPServers @{ Add = $address }",
        '        Write-Host "InternalSMTPServers: $address added"',
        "    }",
        "}",
    ]


def _send_connector(name: str, spaces: str, port: int) -> list[str]:
    return [
        *table(
            "settings",
            {
                "AddressSpaces": spaces,
                "DNSRoutingEnabled": False,
                "SmartHostAuthMechanism": "None",
                "Port": port,
                "ProtocolLoggingLevel": "Verbose",
            },
        ),
        f"$name = {literal(name)}",
        "if (-not (Get-SendConnector | Where-Object { $_.Name -eq $name })) {",
        "    $null = New-SendConnector -Name $name -Custom -SourceTransportServers $servers -SmartHosts $addresses @settings",
        '    Write-Host "send connector made: $name"',
        "}",
        "else {",
        "    Set-SendConnector -Identity $name -SourceTransportServers $servers -SmartHosts $addresses @settings",
        "}",
    ]


def _reports(setup: Setup) -> list[str]:
    domain = setup.report_domain
    lines = [
        "# Reports: mail to the report addresses goes to filterd.",
        *_send_connector(REPORTS, f"SMTP:{domain};1", setup.report_port),
    ]
    quiet: dict[str, str | int | bool] = dict.fromkeys(_AUTOMATIC, False)
    quiet["AllowedOOFType"] = "None"
    if not setup.tnef:
        quiet["TnefEnabled"] = False  # no winmail.dat: what is reported comes as message/rfc822
    lines += [
        "# Nothing automatic goes there: it would be taken for a report.",
        f"$domain = {literal(domain)}",
        "Get-RemoteDomain | Where-Object { $_.Name -eq $name -and [string]$_.DomainName -ne $domain } |",
        "    ForEach-Object { Remove-RemoteDomain -Identity $_.Name -Confirm:$false }  # of another report domain before",
        "$remote = Get-RemoteDomain | Where-Object { [string]$_.DomainName -eq $domain }",
        "if (-not $remote) {",
        "    $remote = New-RemoteDomain -Name $name -DomainName $domain",
        "}",
        *table("settings", quiet),
        "Set-RemoteDomain -Identity $remote.Name @settings",
    ]
    for local, title in REPORT_CONTACTS:
        own = literal(contact_name(local))
        address = literal(f"{local}@{domain}")
        lines += [
            f"if (-not (Get-MailContact -ResultSize Unlimited | Where-Object {{ $_.Name -eq {own} }})) {{",
            f"    $null = New-MailContact -Name {own} -DisplayName {literal(title)} -ExternalEmailAddress {address}"
            f" -PrimarySmtpAddress {address}",  # else it gets an address of your own domain, which the world could write to
            "}",
            f"Set-MailContact -Identity {own} -ExternalEmailAddress {address} -UseMapiRichTextFormat Never"
            " -RequireSenderAuthenticationEnabled $true",
        ]
    return lines


def _outbound(setup: Setup) -> list[str]:
    return [
        "# Outbound: mail for the Internet goes through filterd.",
        *_send_connector(OUTBOUND, "SMTP:*;1", setup.outbound_port),
        "Get-SendConnector | Where-Object { $_.Enabled -and $_.Name -ne $name -and \"$($_.AddressSpaces)\" -like '*:`**' } |",
        "    ForEach-Object { Write-Warning \"Also sends to all domains, switch it off when this works: Set-SendConnector '$($_.Name)' -Enabled `$false\" }",
    ]
