"""Owns the rows of the decision, in order: the first that has something to say decides, and its name stands in the verdict.

To add a row: write one pure function `Case -> Found | None` among its neighbours, and name it in ROWS where it belongs, with
the words that people read behind "Decided by".  `None` means: not my case, ask the next one.  `case.reasons` answers "was this
found, and by whom?"; findings of observed checks are not in it.  Refusals ask `case.exempt` first; rows below WAIT see the
whole message.  Then a line in docs/flow.md ("The rows, in order") and a test in tests/unit/engine/test_policy.py.
Must not know how the score came about (engine/score.py).
"""

from __future__ import annotations

from filterd.config import PolicyConfig
from filterd.directory.values import Thresholds
from filterd.engine.attachment_rows import attachment_held, attachment_refused
from filterd.engine.case import DMARC_FAILED, Case, Found, Row, refusal, refusal_for
from filterd.engine.mailbox_rows import (
    mailbox_deleted,
    mailbox_held,
    mailbox_junk,
    mailbox_not_refused,
    mailbox_refused,
)
from filterd.engine.outbound_rows import outbound_accepted, outbound_rate, outbound_refused
from filterd.engine.sender_rows import (
    HYBRID_ROW,
    blocked_sender_held,
    blocked_sender_refused,
    blocked_sender_tagged,
    hybrid_mail,
    hybrid_passed,
)
from filterd.engine.tables import FAILED, FAILURE, OnFailure
from filterd.mail.evidence import Reason, Stage
from filterd.mail.reply import Reply, printable
from filterd.mail.verdict import Action

_MIN_AGREEMENT = 1.0  # log-odds of other evidence that make a DMARC reject policy a refusal (RFC 9989 section 7.4)


def _relay_denied(case: Case) -> Found | None:
    if ("recipient", Reason.RELAY_DENIED) in case.reasons:
        return Action.REJECT, Reason.RELAY_DENIED, Reply(550, "5.7.1", "Unable to relay")
    return None


def _harvest(case: Case) -> Found | None:
    # Before the unknown recipient itself, but not in observe mode: what stands here is let through there.
    if ("harvest", Reason.HARVESTING) in case.reasons and not (case.exempt or case.allowed or case.config.observe):
        reply = Reply(421, "4.7.0", "Too many unknown recipients, try again later", close=True)
        return Action.DISCONNECT, Reason.HARVESTING, reply
    return None


def _recipient_unknown(case: Case) -> Found | None:
    if ("recipient", Reason.RECIPIENT_UNKNOWN) in case.reasons:
        return Action.REJECT, Reason.RECIPIENT_UNKNOWN, Reply(550, "5.1.1", "User unknown")
    return None


def _recipient_internal(case: Case) -> Found | None:
    if ("recipient", Reason.RECIPIENT_INTERNAL) in case.reasons and not case.exempt:
        reply = Reply(550, "5.7.1", "Recipient takes mail from authenticated senders only")
        return Action.REJECT, Reason.RECIPIENT_INTERNAL, reply
    return None


def _user_report(case: Case) -> Found | None:
    """Taken into custody whatever it carries: what people report is spam and malware.  It is never forwarded, or it would go in circles."""
    if ("recipient", Reason.USER_REPORT) not in case.reasons:
        return None
    return _rate_limit(case) or (Action.QUARANTINE, Reason.USER_REPORT, None)


def _probe_receipt(case: Case) -> Found | None:
    """What answers a probe of ours is for us to read, and goes to nobody else; a recipient of the probe may know the address."""
    if ("recipient", Reason.PROBE_RECEIPT) not in case.reasons:
        return None
    return _rate_limit(case) or (Action.QUARANTINE, Reason.PROBE_RECEIPT, None)


def _unavailable(case: Case) -> Found | None:
    # observe mode lets through what the scan finds, so it does not wait for the scan either
    not_needed = {"malware"} if case.malware.on_failure == "open" or case.config.observe else set()
    for item in case.evidence:
        row = None if item.check in not_needed else FAILURE.get(item.check)
        if item.reason in FAILED and row and row.meaning(case.trust) is OnFailure.DEFER:
            return Action.DEFER, item.reason, row.reply or FAILURE["engine"].reply
    return None


def _block_list(case: Case) -> Found | None:
    if ("lists", Reason.BLOCK_LISTED) in case.reasons and not case.exempt:
        reply = Reply(550, "5.7.1", "Your address is on this site's block list; write to postmaster if that is wrong")
        return Action.REJECT, Reason.BLOCK_LISTED, reply
    return None


def _malware(case: Case) -> Found | None:
    return _scanned(case, Reason.MALWARE_FOUND, case.malware.found)


def _malware_suspected_refused(case: Case) -> Found | None:
    found = _malware_suspected_held(case)
    return found if found is not None and found[0] is Action.REJECT else None


def _malware_suspected_held(case: Case) -> Found | None:
    return _scanned(case, Reason.MALWARE_SUSPECTED, case.malware.suspected)


def _scanned(case: Case, reason: Reason, wanted: str) -> Found | None:
    found = case.reasons.get(("malware", reason))
    if found is None:
        return None
    if wanted != "reject" or case.exempt:
        return Action.QUARANTINE, reason, None
    name = printable(found.detail, 100)  # it tells the sender's postmaster what to look for, and a false alarm by name
    what = "contains" if reason is Reason.MALWARE_FOUND else "may contain"
    return Action.REJECT, reason, Reply(550, "5.7.1", f"Message {what} malware ({name}); examine the sending computer")


def _allow_list(case: Case) -> Found | None:
    return (Action.ACCEPT, Reason.ALLOW_LISTED, None) if case.allowed else None


def _rate_limit(case: Case) -> Found | None:
    reasons = case.reasons
    over = reasons.get(("rate", Reason.RATE_EXCEEDED)) or reasons.get(("sender_rate", Reason.RATE_EXCEEDED))
    if over is None:
        return None
    what = {"user": "you", "reverse-path": "this sender"}.get(over.detail, "your network")
    reply = Reply(450, "4.7.1", f"Too many messages from {what} in a minute, please try again later")
    return Action.DEFER, Reason.RATE_EXCEEDED, reply


def _zone_refuses(case: Case) -> Found | None:
    """Such a zone refuses at once, whatever else speaks for the client; of several the smallest priority, then the heaviest."""
    zones = [e for e in case.evidence if e.check == "dnsbl" and (e.measured or 0.0) >= case.config.reject_score]
    if not zones or case.exempt:
        return None
    heavy = min(zones, key=lambda e: (int(e.properties.get("priority", "0")), -(e.measured or 0.0)))
    return Action.REJECT, heavy.reason, refusal_for(heavy)


def _dmarc_reject_agreed(case: Case) -> Found | None:
    asked = ("dmarc", Reason.NOT_ALIGNED_REJECT) in case.reasons
    if asked and case.beside_authentication >= _MIN_AGREEMENT and not case.exempt:
        return Action.REJECT, Reason.NOT_ALIGNED_REJECT, DMARC_FAILED
    return None


def _own_domain_refused(case: Case) -> Found | None:
    if ("spoof", Reason.OWN_DOMAIN) in case.reasons and case.config.own_domain == "reject" and not case.exempt:
        reply = Reply(550, "5.7.26", "Mail from our own domain is taken from outside only with SPF, DKIM or a login")
        return Action.REJECT, Reason.OWN_DOMAIN, reply
    return None


def _reject_score(case: Case) -> Found | None:
    if case.score >= case.config.reject_score and case.may_refuse:
        return Action.REJECT, case.decisive.reason, refusal(case)
    return None


def _greylisted(case: Case) -> Found | None:
    grey = case.reasons.get(("greylist", Reason.GREYLISTED))
    if case.stage is not Stage.RCPT or grey is None or case.exempt:
        return None
    minutes = -(-int(grey.properties.get("wait_seconds", "60")) // 60)
    reply = Reply(451, "4.7.1", f"Greylisted, please try again in {minutes} minute{'s' if minutes > 1 else ''}")
    return Action.DEFER, Reason.GREYLISTED, reply


def _wait_for_message(case: Case) -> Found | None:
    return None if case.stage is Stage.DATA else (Action.ACCEPT, Reason.OK, None)


def _dmarc_quarantine(case: Case) -> Found | None:
    for reason in (Reason.NOT_ALIGNED_REJECT, Reason.NOT_ALIGNED_QUARANTINE):
        if ("dmarc", reason) in case.reasons:
            return Action.QUARANTINE, reason, None
    return None


def _impersonation(case: Case) -> Found | None:
    if case.config.impersonation != "quarantine":
        return None
    for reason in (Reason.IMPERSONATED_NAME, Reason.IMPERSONATED_ADDRESS):
        if ("impersonation", reason) in case.reasons:
            return Action.QUARANTINE, reason, None
    return None


def _own_domain_held(case: Case) -> Found | None:
    if ("spoof", Reason.OWN_DOMAIN) in case.reasons and case.config.own_domain == "quarantine":
        return Action.QUARANTINE, Reason.OWN_DOMAIN, None
    return None


def _quarantine_score(case: Case) -> Found | None:
    return (Action.QUARANTINE, case.why, None) if case.score >= case.config.quarantine_score else None


def _tag_score(case: Case) -> Found | None:
    return (Action.TAG, case.why, None) if case.score >= case.config.tag_score else None


def _below_thresholds(case: Case) -> Found | None:
    return Action.ACCEPT, case.why, None


_HYBRID_WORDS = "mail of the own Exchange Online for Exchange here, which goes through no filter"
_WAIT = Row("wait_for_message", "nothing refuses before the message itself", _wait_for_message)

ROWS: tuple[Row, ...] = (
    Row("relay_denied", "the recipient's domain is not one of ours", _relay_denied, always=True),
    Row("harvest", "the client tries out addresses", _harvest),
    Row("recipient_unknown", "nobody here has the recipient's address", _recipient_unknown, always=True),
    Row(
        "recipient_internal",
        "the recipient takes mail from authenticated senders only",
        _recipient_internal,
        always=True,
    ),
    Row("user_report", "a user reports mail to us", _user_report, always=True),
    Row("probe_receipt", "a receipt for a probe of our own", _probe_receipt, always=True),
    # Before whatever else would take it, such as the own allow list: taken, its internal fields are lost without a word.
    Row(HYBRID_ROW, _HYBRID_WORDS, hybrid_mail),
    Row("unavailable", "something that must be known could not be asked", _unavailable, always=True),
    Row("block_list", "an entry of the own block list", _block_list),
    # Mail of our own Exchange for the world: no row below may hold it, or judge it as a stranger's.
    Row("outbound_rate", "a sender of our own writes to too many recipients in an hour", outbound_rate),
    Row("outbound_refused", "malware or an attachment in mail of our own, which is never held", outbound_refused),
    Row("outbound", "mail of our own for the world, which no score refuses", outbound_accepted),
    # Certain finds before the allow list: known senders have infected machines.  Uncertain ones after it: who is on
    # that list is believed more than a heuristic.
    Row("malware", "the malware scan found something", _malware),
    Row(HYBRID_ROW, _HYBRID_WORDS, hybrid_passed),
    Row("allow_list", "an entry of the own allow list", _allow_list),
    Row("rate_limit", "too many messages in a minute", _rate_limit),
    Row("zone_refuses", "a DNS list that refuses by itself", _zone_refuses),
    Row(
        "dmarc_reject_agreed",
        "DMARC failed, the author's domain asks to refuse, and other evidence agrees",
        _dmarc_reject_agreed,
    ),
    Row("own_domain", "the author claims one of our own domains without proof", _own_domain_refused),
    Row("malware_suspected", "the malware scan suspects something", _malware_suspected_refused),
    Row("attachment", "an attachment of a kind that [attachments] does not let through", attachment_refused),
    Row("blocked_sender", "the recipient has blocked this sender", blocked_sender_refused),
    Row("reject_score", "the score reaches {reject_score}, and not by content alone", _reject_score),
    Row("greylisted", "doubtful mail must come again", _greylisted),
    _WAIT,
    Row("mailbox_reject", "the mailbox's own reject threshold{own_reject}", mailbox_refused),
    Row("dmarc_quarantine", "DMARC failed, and the author's domain asks to quarantine or refuse", _dmarc_quarantine),
    Row("own_domain", "the author claims one of our own domains without proof", _own_domain_held),
    Row("malware_suspected", "the malware scan suspects something", _malware_suspected_held),
    Row("attachment", "an attachment of a kind that [attachments] does not let through", attachment_held),
    Row(
        "impersonation",
        "a protected person's name, or an address of ours as a name, at a foreign address",
        _impersonation,
    ),
    Row("blocked_sender", "the recipient has blocked this sender", blocked_sender_held),
    Row("quarantine_score", "the score reaches {quarantine_score}", _quarantine_score),
    Row("mailbox_reject", "the mailbox's own reject threshold{own_reject}", mailbox_not_refused),
    Row("mailbox_quarantine", "the mailbox's own quarantine threshold{own_quarantine}", mailbox_held),
    Row("mailbox_delete", "the mailbox's own delete threshold{own_delete}, done as quarantine", mailbox_deleted),
    Row("blocked_sender", "the recipient has blocked this sender", blocked_sender_tagged),
    Row("mailbox_junk", "the mailbox's own junk threshold{own_junk}", mailbox_junk),
    Row("tag_score", "the score reaches {tag_score}", _tag_score),
    Row("below_thresholds", "the score stays below {tag_score}", _below_thresholds),
)


_WORDS = {row.name: row.words for row in ROWS}
_NUMBERS = ("tag_score", "quarantine_score", "reject_score")
_OWN = ("reject", "quarantine", "delete", "junk")


def row_words(name: str, config: PolicyConfig | None, own: Thresholds | None = None) -> str:
    """What people read about the row that decided; with `config`, and the mailbox's `own`, the thresholds have their numbers."""
    numbers = {key: f"{key} ({getattr(config, key):g})" if config else key for key in _NUMBERS}
    for key in _OWN:
        limit = getattr(own, key, None)
        numbers[f"own_{key}"] = "" if limit is None else f" ({limit})"
    return _WORDS[name].format_map(numbers)


def first_row(case: Case) -> tuple[Row, Found]:
    """The row that decides, and what it says."""
    for row in ROWS:
        found = row.ask(case)
        if found is not None:
            return row, found
    raise AssertionError("the last row always applies")
