<#
.SYNOPSIS
Pushes recipients, accepted domains and thresholds of Exchange to filterd: addresses as keyed hashes only.
.DESCRIPTION
For the Exchange Management Shell (Windows PowerShell 5.1). It reads only; the account should need View-Only Organization Management. It was never run on a real Exchange: begin with -WhatIf.
Exit code: 0 every node has the list, 1 a node has not, 2 something could not be read and nothing was sent.

Once, as the account of the task and on its computer (DPAPI: nobody else can read the file):
  Read-Host 'Token' -AsSecureString | ConvertFrom-SecureString | Set-Content C:\filterd\token.txt
Every 5 minutes:
  $run = ". '$env:ExchangeInstallPath\bin\RemoteExchange.ps1'; Connect-ExchangeServer -auto; " +
         "& C:\filterd\Push-FilterdDirectory.ps1 -Url https://filter.example.org -TokenFile C:\filterd\token.txt; exit `$LASTEXITCODE"
  $action = New-ScheduledTaskAction -Execute powershell.exe -Argument "-NoProfile -NonInteractive -Command `"$run`""
  $every = New-ScheduledTaskTrigger -Once -At (Get-Date) -RepetitionInterval (New-TimeSpan -Minutes 5)
  $set = New-ScheduledTaskSettingsSet -MultipleInstances IgnoreNew -ExecutionTimeLimit (New-TimeSpan -Hours 1)
  Register-ScheduledTask 'filterd push' -Action $action -Trigger $every -Settings $set -User 'EXAMPLE\svc-filterd' -Password (Read-Host)
.PARAMETER Url
Nodes of filterd, pushed to one after the other: https:// only.
.PARAMETER TokenFile
The token, kept as above; without it $env:FILTERD_TOKEN (filterd token create --scope directory).
.PARAMETER SafeSenders
Safe and blocked senders of mailboxes too. Each mailbox is opened for it: hundreds take minutes. Give it always or never.
.PARAMETER ProtectedGroups
Distribution groups; their members' display names are protected against imitation. Groups inside them do not count.
.PARAMETER AcceptDrop
For once, drop more recipients than the guard of filterd allows (push.max_drop_percent).
.EXAMPLE
C:\filterd\Push-FilterdDirectory.ps1 -Url https://filter.example.org -TokenFile C:\filterd\token.txt -WhatIf
Reads everything and says what would be sent. Without -WhatIf it is sent.
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [Parameter(Mandatory = $true)][ValidatePattern('^https://')][string[]]$Url,
    [string]$TokenFile,
    [switch]$SafeSenders,
    [string[]]$ProtectedGroups = @(),
    [switch]$AcceptDrop
)
$ErrorActionPreference = 'Stop'   # half a list must never look like a whole one
$before = $global:ErrorActionPreference   # Exchange's commands are functions of a module of their own, which see the global one only
$utf8 = New-Object System.Text.UTF8Encoding($false)
$sha = [System.Security.Cryptography.SHA256]::Create()
$idn = New-Object System.Globalization.IdnMapping
[System.Net.ServicePointManager]::SecurityProtocol = [System.Net.SecurityProtocolType]::Tls12
[System.Net.ServicePointManager]::ServerCertificateValidationCallback = $null   # verify, whatever this session did before
[System.Net.WebRequest]::DefaultWebProxy = $null

function ConvertTo-Hex([byte[]]$Octets) { return [BitConverter]::ToString($Octets).Replace('-', '').ToLowerInvariant() }
function ConvertTo-Canonical([string]$Address) {   # the domain in ASCII, then each letter by itself in lower case: as filterd does
    $at = $Address.LastIndexOf('@') + 1
    $domain = $Address.Substring($at)
    if ($domain -match '[^\x00-\x7f]') { try { $domain = $idn.GetAscii($domain) } catch { Write-Verbose "kept as it is: $domain" } }
    return ($Address.Substring(0, $at) + $domain).ToLowerInvariant()
}
function Get-Distinct($Texts) {   # octet by octet: to Sort-Object -Unique two spellings of one word may be the same
    $set = New-Object 'System.Collections.Generic.SortedSet[string]' -ArgumentList ([StringComparer]::Ordinal)
    foreach ($text in $Texts) { if ($text) { $null = $set.Add([string]$text) } }
    foreach ($text in $set) { $text }
}
function Get-Senders($Entries) {   # addresses, and domains as @domain
    Get-Distinct @(foreach ($entry in $Entries) { if ("$entry".Contains('@')) { ConvertTo-Canonical "$entry" } else { ConvertTo-Canonical "@$entry" } })
}
function Get-Keys([string[]]$Texts) { foreach ($text in $Texts) { ConvertTo-Hex ($hmac.ComputeHash($utf8.GetBytes($text))[0..15]) } }
function Send-Request([string]$Method, [string]$Path, $Body) {
    $request = @{ Method = $Method; Uri = "$node/v1/directory/$Path"; Headers = @{ Authorization = "Bearer $token" }; TimeoutSec = 600; UseBasicParsing = $true; MaximumRedirection = 0 }
    if ($Body) { $request.Body = $utf8.GetBytes($Body); $request.ContentType = 'application/json' }
    try { return Invoke-RestMethod @request }
    catch {
        $problem = $_
        try { $said = ($problem.ErrorDetails.Message | ConvertFrom-Json).error } catch { $said = $null }
        if ($said) { throw "$($said.problem). $($said.remedy)." }
        throw $problem.Exception.Message
    }
}

try {
    $global:ErrorActionPreference = 'Stop'
    if (-not (Get-Command Get-Recipient -ErrorAction SilentlyContinue)) { throw 'Get-Recipient is not here: run this in the Exchange Management Shell' }
    $token = $env:FILTERD_TOKEN
    if ($TokenFile) { $token = (New-Object System.Net.NetworkCredential('', (ConvertTo-SecureString (Get-Content -LiteralPath $TokenFile -TotalCount 1)))).Password }
    if (-not $token) { throw 'no token: give -TokenFile or set $env:FILTERD_TOKEN (filterd token create --scope directory)' }
    $reading = [DateTime]::UtcNow; Set-ADServerSettings -ViewEntireForest $true -WhatIf:$false   # of this session only
    $types = @{ Authoritative = 'authoritative'; InternalRelay = 'internal_relay'; ExternalRelay = 'external_relay' }
    $domains = @(foreach ($domain in @(Get-AcceptedDomain)) {
        $name = [string]$domain.DomainName; $type = $types[[string]$domain.DomainType]
        if (-not $type) { throw "accepted domain ${name}: this script does not know its type $($domain.DomainType)" }
        if ($name -eq '*') { Write-Warning 'the accepted domain * is left out: it would make a relay of the filter'; continue }
        $below = $name.StartsWith('*.') -or ($domain.MatchSubDomains -eq $true)
        [ordered]@{ name = (ConvertTo-Canonical ($name -replace '^\*\.', '')); type = $type; subdomains = $below }
    })
    $names = @(foreach ($group in $ProtectedGroups) { Get-DistributionGroupMember -Identity $group -ResultSize Unlimited | ForEach-Object { [string]$_.DisplayName } })
    $people = @(foreach ($name in @(Get-Distinct $names)) { [ordered]@{ name = $name } })

    $inside = @{}; $limits = @{}; $lists = @{}   # by GUID; one Exchange command at a time, remote sessions take no second one
    foreach ($cmdlet in 'Get-Mailbox', 'Get-RemoteMailbox', 'Get-MailUser', 'Get-MailContact', 'Get-DistributionGroup', 'Get-DynamicDistributionGroup', 'Get-MailPublicFolder') {
        foreach ($item in @(& $cmdlet -ResultSize Unlimited)) {
            $guid = [string]$item.Guid
            if ($item.RequireSenderAuthenticationEnabled -eq $true) { $inside[$guid] = $true }
            if ($cmdlet -ne 'Get-Mailbox') { continue }
            $own = [ordered]@{}
            foreach ($kind in 'Junk', 'Quarantine', 'Reject', 'Delete') {
                $scl = $item."SCL${kind}Threshold"   # counts only where the mailbox has switched it on
                if ($item."SCL${kind}Enabled" -eq $true -and $null -ne $scl) { $own[$kind.ToLowerInvariant()] = [int]$scl }
            }
            if ($own.Count) { $limits[$guid] = $own }
            if (-not $SafeSenders) { continue }
            try { $junk = Get-MailboxJunkEmailConfiguration -Identity $guid } catch [System.Management.Automation.CommandNotFoundException] { throw }
            catch { Write-Warning "$($item.Identity): safe and blocked senders cannot be read, pushed without them: $_"; continue }
            $lists[$guid] = @{ safe = @(Get-Senders $junk.TrustedSendersAndDomains); blocked = @(Get-Senders $junk.BlockedSendersAndDomains) }
        }
    }
    $recipients = @(Get-Recipient -ResultSize Unlimited | ForEach-Object {
        $smtp = @(foreach ($address in $_.EmailAddresses) { if ("$address" -match '^smtp:.+@') { ConvertTo-Canonical ("$address".Substring(5)) } })
        if ($smtp.Count) { [pscustomobject]@{ Guid = [string]$_.Guid; Addresses = @(Get-Distinct $smtp) } }
    } | Sort-Object Guid)
    if (-not $recipients.Count) { throw 'Get-Recipient returned nobody: may this account see recipients?' }
}
catch { [Console]::Error.WriteLine("nothing was sent: $_"); exit 2 }
finally { $global:ErrorActionPreference = $before }

$failed = 0
foreach ($node in $Url.TrimEnd('/')) {
    if (-not $PSCmdlet.ShouldProcess($node, "push $($recipients.Count) recipients and $($domains.Count) accepted domains")) { continue }
    $open = $null
    try {
        $site = Send-Request 'GET' 'key'
        if ($site.version -ne 1) { throw "the node wants form $($site.version), this script pushes form 1: take the script of the node's release" }
        $hmac = New-Object System.Security.Cryptography.HMACSHA256
        $hmac.Key = [byte[]]@(for ($at = 0; $at -lt $site.key.Length; $at += 2) { [Convert]::ToByte($site.key.Substring($at, 2), 16) })
        $parts = New-Object 'System.Collections.Generic.List[string]'; $rows = New-Object 'System.Collections.Generic.List[string]'; $size = 0
        foreach ($recipient in $recipients) {
            $guid = $recipient.Guid
            $row = [ordered]@{ id = ([guid]$guid).ToString('N'); keys = [string[]]@(Get-Keys $recipient.Addresses); internal_only = [bool]$inside[$guid] }
            if ($limits[$guid]) { $row.thresholds = $limits[$guid] }
            if ($lists[$guid]) { $row.safe = [string[]]@(Get-Keys $lists[$guid].safe); $row.blocked = [string[]]@(Get-Keys $lists[$guid].blocked) }
            $json = ConvertTo-Json -InputObject $row -Compress -Depth 4
            if ($rows.Count -eq 5000 -or ($size + $json.Length) -gt 4000000) { $parts.Add('{"recipients":[' + ($rows -join ',') + ']}'); $rows.Clear(); $size = 0 }
            $rows.Add($json); $size += $json.Length
        }
        $parts.Add('{"recipients":[' + ($rows -join ',') + ']}')
        $head = [ordered]@{ version = 1; parts = $parts.Count; recipients = $recipients.Count; domains = $domains; people = $people; key_name = $site.name }
        $sums = @(foreach ($text in @(ConvertTo-Json -InputObject $head -Compress -Depth 4) + $parts.ToArray()) { ConvertTo-Hex ($sha.ComputeHash($utf8.GetBytes($text))) })
        $head.digest = ConvertTo-Hex ($sha.ComputeHash($utf8.GetBytes($sums -join ''))); $head.age_seconds = [Math]::Max(0, [Math]::Min(86400, [int]([DateTime]::UtcNow - $reading).TotalSeconds))
        $push = Send-Request 'POST' 'pushes' (ConvertTo-Json -InputObject $head -Compress -Depth 4)
        if ($push.unchanged) { "${node}: unchanged, $($recipients.Count) recipients"; continue }
        $open = $push.id
        for ($n = 1; $n -le $parts.Count; $n++) { $null = Send-Request 'PUT' "pushes/$open/parts/$n" ($parts[$n - 1]) }
        $done = Send-Request 'POST' "pushes/$open/commit" (ConvertTo-Json -InputObject @{ accept_drop = [bool]$AcceptDrop })
        "${node}: $($done.addresses) addresses in use, $($done.added) added, $($done.dropped) dropped"
    }
    catch {
        $failed = 1
        [Console]::Error.WriteLine("${node}: $_")
        if ($open) { try { $null = Send-Request 'DELETE' "pushes/$open" } catch { Write-Verbose "it is over in an hour all the same: $_" } }
    }
}
exit $failed
