"""Owns the judgement of a probe by the receipt that came back, or did not: did it arrive, and what to do.  RFC 3464 2.3.3.

Must not know how a receipt is waited for (filterd/probing.py).
"""

from __future__ import annotations

from filterd.adapters.exchange_probe import Questions, Seen
from filterd.doctor.finding import Finding, Level, fail, ok, warn
from filterd.exchange.answers import meaning_of
from filterd.exchange.receipt import Action, Fate, Receipt
from filterd.mail.reply import Reply
from filterd.probing import Came

_NO_DSN = "Set-ReceiveConnector … -DeliveryStatusNotificationEnabled $true"
_RELAYED = (
    "Exchange has passed it on to a server that sends no receipts: is that mailbox elsewhere, or does it forward its mail? "
    "Ask a mailbox of your own Exchange to be sure"
)
_EXPANDED = "it is a group: Exchange has sent it to the members, and says nothing of each. Ask a mailbox to be sure"
_DELAYED = "Get-Queue | Where-Object MessageCount -gt 0 | Format-List Identity,Status,LastError says what it waits for"


def judge_receipt(what: str, seen: Seen, asked: Questions, came: Came | None, seconds: float) -> list[Finding]:
    """One finding about a probe that Exchange took; none where it did not, or where no receipt was wanted.

    Args:
        what: the server, as the other findings name it.
        seconds: how long it was waited for.
    """
    if seen.probe is None or not seen.probe.is_success or not asked.receipt_to:
        return []
    name = f"{what}, receipt"
    if not seen.receipt_asked:
        return [
            warn(
                name, "none can be asked for: DSN is not offered, so it is not known whether the probe arrives", _NO_DSN
            )
        ]
    if came is None or came.receipt is None:
        return [_none(name, asked, came, seconds)]
    return [_found(name, asked, came.receipt, came.seconds)]


def not_waited(what: str, seen: Seen, text: str, remedy: str) -> list[Finding]:
    """The probe was taken, and whether it arrives cannot be seen from here."""
    if seen.probe is None or not seen.probe.is_success:
        return []
    return [warn(f"{what}, receipt", f"not waited for: {text}", remedy)]


def _found(name: str, asked: Questions, receipt: Receipt, seconds: float) -> Finding:
    fate = receipt.chief
    by = f"; by {receipt.reporter}" if receipt.reporter else ""
    said = f"({', '.join(filter(None, (fate.action.value, fate.status)))}{by})"
    if fate.action is Action.FAILED:
        why = fate.diagnostic or "no reason is given"
        return fail(name, f"not delivered to {asked.probe} after {seconds:.1f} s {said}: {why}", _remedy(fate))
    if fate.action is Action.DELAYED:
        why = f": {fate.diagnostic}" if fate.diagnostic else ""
        return warn(name, f"not yet delivered to {asked.probe} {said}{why}; Exchange goes on trying", _DELAYED)
    if fate.action is Action.DELIVERED:
        return ok(name, f"delivered to {asked.probe} after {seconds:.1f} s {said}")
    means = _RELAYED if fate.action is Action.RELAYED else _EXPANDED
    return Finding(Level.OK, name, f"on its way to {asked.probe} after {seconds:.1f} s {said}", means)


def _remedy(fate: Fate) -> str:
    """What the same words mean as an answer to us, they mean in a receipt."""
    temporary = fate.status.startswith("4")
    enhanced = fate.status if fate.status[:1] == ("4" if temporary else "5") else ""
    means = meaning_of(Reply(451 if temporary else 550, enhanced, fate.diagnostic))
    return f"{means.meaning}: {means.remedy}"


def _none(name: str, asked: Questions, came: Came | None, seconds: float) -> Finding:
    """Not guilty: most ways to no receipt have nothing to do with the probe."""
    more = ""
    if came is not None and came.other:
        more += f"; what came instead is no receipt: filterd trace {came.other}"
    if came is not None and came.problem:
        more += f"; the last look for it failed: {came.problem}"
    track = (
        f"Get-TransportService | Get-MessageTrackingLog -Recipients '{asked.receipt_to}' | "
        "Format-Table Timestamp,EventId,Source,ConnectorId,RecipientStatus"
    )
    remedy = (
        "the line above shows where the probe is. Most likely first: delivery reports are switched off (Get-RemoteDomain | Format-List "
        "DomainName,DeliveryReportEnabled); Exchange has no way out (Get-SendConnector); "
        f"MX or address of {asked.hostname} do not lead to filterd; filterd is not running, or does not share this database and site key. "
        f"Where the receipt is: {track}"
    )
    return warn(name, f"none within {seconds:g} s, so it is not known whether the probe arrived{more}", remedy)
