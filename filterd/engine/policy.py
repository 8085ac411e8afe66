"""Owns `decide`: the verdict as a pure function of (evidence, policy).  No I/O, no clock, no counters.

The rows are tried in order; the first that applies decides and its name stands in the verdict.  Tables: engine/tables.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from filterd.config import PolicyConfig
from filterd.engine.tables import (
    CAPS,
    FAILURE,
    GROUP_OF,
    SCL_DOUBTFUL,
    SCL_HAM,
    SCL_QUARANTINE,
    SCL_REJECT,
    SCL_TAG,
    WEIGHTS,
    Group,
    OnFailure,
)
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.reply import Reply, printable
from filterd.mail.verdict import Action, Contribution, Verdict

_FAILED = frozenset({Reason.TIMEOUT, Reason.UNAVAILABLE, Reason.CRASHED, Reason.ZONE_SUSPENDED})
_MIN_AGREEMENT = 1.0  # log-odds of other evidence that make a DMARC reject policy a refusal (RFC 9989 section 7.4)
_LABELS = {Reason.LISTED: "listed by", Reason.OK: "pass", Reason.LOOKS_LIKE_HAM: "content looks like ham"}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the administrator decided, as the decision needs it."""

    config: PolicyConfig = field(default_factory=PolicyConfig)
    content_may_reject: bool = False  # the seed model never refuses alone; a site's own model neither, by default


def decide(
    evidence: Sequence[Evidence],
    policy: Policy,
    stage: Stage = Stage.DATA,
    recipient: str | None = None,
    trust: TrustClass = TrustClass.INTERNET,
) -> Verdict:
    """The verdict for one recipient.

    Args:
        evidence: everything found for the connection, the transaction and its recipients.
        stage: before DATA only refusals and deferrals are decided; thresholds below them wait for the message.
        recipient: mailbox; findings of other recipients are left out.
    """
    relevant = [e for e in evidence if e.recipient is None or e.recipient == recipient]
    weighed = [e for e in relevant if e.check not in policy.config.observe_checks]
    contributions = _contributions(relevant, policy)
    millis = sum(item.millis for item in contributions)
    found = _first_row(weighed, policy, stage, recipient, trust, contributions, millis)
    action, reason, row, reply = found
    would = action
    if policy.config.observe and row not in _ALWAYS and action is not Action.ACCEPT:
        action, reply = Action.ACCEPT, None
    return Verdict(
        action=action,
        scl=_scl(would, millis / 1000, row),
        millis=millis,
        probability=_logistic(millis / 1000),
        reason=reason,
        row=row,
        reply=reply,
        contributions=tuple(contributions),
        unavailable=tuple(sorted({e.check for e in relevant if e.reason in _FAILED})),
        would=would,
    )


# Rows that hold in observe mode too: without them we would relay for strangers or lose mail.
_ALWAYS = frozenset({"relay_denied", "recipient_unknown", "unavailable"})

_Found = tuple[Action, Reason, str, Reply | None]


def _first_row(
    evidence: Sequence[Evidence],
    policy: Policy,
    stage: Stage,
    recipient: str | None,
    trust: TrustClass,
    contributions: Sequence[Contribution],
    millis: int,
) -> _Found:
    config = policy.config
    reasons = {(e.check, e.reason): e for e in reversed(evidence)}
    if ("recipient", Reason.RELAY_DENIED) in reasons:
        return Action.REJECT, Reason.RELAY_DENIED, "relay_denied", Reply(550, "5.7.1", "Unable to relay")
    exempt = (recipient or "").lower().startswith("postmaster@")  # RFC 5321 4.5.1: never refused, at worst held
    allowed = ("lists", Reason.ALLOW_LISTED) in reasons
    # Before the unknown recipient itself, but not in observe mode: what stands here is let through there.
    if ("harvest", Reason.HARVESTING) in reasons and not (exempt or allowed or config.observe):
        reply = Reply(421, "4.7.0", "Too many unknown recipients, try again later", close=True)
        return Action.DISCONNECT, Reason.HARVESTING, "harvest", reply
    if ("recipient", Reason.RECIPIENT_UNKNOWN) in reasons:
        return Action.REJECT, Reason.RECIPIENT_UNKNOWN, "recipient_unknown", Reply(550, "5.1.1", "User unknown")
    for item in evidence:
        row = FAILURE.get(item.check)
        if item.reason in _FAILED and row and row.meaning(trust) is OnFailure.DEFER:
            return Action.DEFER, item.reason, "unavailable", row.reply or FAILURE["engine"].reply
    if ("lists", Reason.BLOCK_LISTED) in reasons and not exempt:
        reply = Reply(550, "5.7.1", "Your address is on this site's block list; write to postmaster if that is wrong")
        return Action.REJECT, Reason.BLOCK_LISTED, "block_list", reply
    if allowed:
        return Action.ACCEPT, Reason.ALLOW_LISTED, "allow_list", None
    over = reasons.get(("rate", Reason.RATE_EXCEEDED)) or reasons.get(("sender_rate", Reason.RATE_EXCEEDED))
    if over is not None:
        what = {"user": "you", "reverse-path": "this sender"}.get(over.detail, "your network")
        reply = Reply(450, "4.7.1", f"Too many messages from {what} in a minute, please try again later")
        return Action.DEFER, Reason.RATE_EXCEEDED, "rate_limit", reply
    heavy = _refusing_zone(evidence, config.reject_score)
    if heavy is not None and not exempt:  # such a zone refuses at once, whatever else speaks for the client
        return Action.REJECT, heavy.reason, "zone_refuses", _refusal(heavy)
    others = _beside_authentication(contributions)
    if ("dmarc", Reason.NOT_ALIGNED_REJECT) in reasons and others >= _MIN_AGREEMENT and not exempt:
        # RFC 7372 3.3: several authentication checks failed
        reply = Reply(550, "5.7.26", "The author's domain asks to refuse mail that fails DMARC; see your DMARC reports")
        return Action.REJECT, Reason.NOT_ALIGNED_REJECT, "dmarc_reject_agreed", reply
    forged = ("spoof", Reason.OWN_DOMAIN) in reasons
    if forged and config.own_domain == "reject" and not exempt:
        reply = Reply(550, "5.7.26", "Mail from our own domain is taken from outside only with SPF, DKIM or a login")
        return Action.REJECT, Reason.OWN_DOMAIN, "own_domain", reply
    score = millis / 1000
    without_content = sum(c.millis for c in contributions if c.check not in _CONTENT_PARTS) / 1000
    may_reject = without_content >= config.reject_without_content or policy.content_may_reject
    may_reject = may_reject and others > 0  # lists and forwarders break all of authentication at once
    if score >= config.reject_score and may_reject and not exempt:
        decisive = _heaviest(evidence, contributions)
        return Action.REJECT, decisive.reason, "reject_score", _refusal(decisive)
    grey = reasons.get(("greylist", Reason.GREYLISTED))
    if stage is Stage.RCPT and grey is not None and not exempt:
        minutes = -(-int(grey.properties.get("wait_seconds", "60")) // 60)
        reply = Reply(451, "4.7.1", f"Greylisted, please try again in {minutes} minute{'s' if minutes > 1 else ''}")
        return Action.DEFER, Reason.GREYLISTED, "greylisted", reply
    if stage is not Stage.DATA:
        return Action.ACCEPT, Reason.OK, "wait_for_message", None
    for reason in (Reason.NOT_ALIGNED_REJECT, Reason.NOT_ALIGNED_QUARANTINE):
        if ("dmarc", reason) in reasons:
            return Action.QUARANTINE, reason, "dmarc_quarantine", None
    if forged and config.own_domain == "quarantine":
        return Action.QUARANTINE, Reason.OWN_DOMAIN, "own_domain", None
    decisive_reason = _heaviest(evidence, contributions).reason if contributions and score > 0 else Reason.OK
    if score >= config.quarantine_score:
        return Action.QUARANTINE, decisive_reason, "quarantine_score", None
    if score >= config.tag_score:
        return Action.TAG, decisive_reason, "tag_score", None
    return Action.ACCEPT, decisive_reason, "below_thresholds", None


def _refusing_zone(evidence: Sequence[Evidence], reject_score: float) -> Evidence | None:
    """Of the zones that refuse alone the one of the smallest priority number, then the heaviest."""
    zones = [e for e in evidence if e.check == "dnsbl" and (e.measured or 0.0) >= reject_score]
    return min(zones, key=lambda e: (int(e.properties.get("priority", "0")), -(e.measured or 0.0)), default=None)


_CONTENT_PARTS = frozenset({"content", "cap:content"})
_AUTH_PARTS = frozenset({*(n for n, g in GROUP_OF.items() if g is Group.AUTHENTICATION), "cap:authentication", "prior"})


def _beside_authentication(contributions: Sequence[Contribution]) -> float:
    """What evidence other than authentication says (the prior is none): RFC 9989 7.4 forbids to refuse on p=reject alone."""
    return sum(c.millis for c in contributions if c.check not in _AUTH_PARTS) / 1000


def _heaviest(evidence: Sequence[Evidence], contributions: Sequence[Contribution]) -> Evidence:
    """The finding behind the largest contribution."""
    best = max(contributions, key=lambda c: c.millis, default=None)
    for item in evidence:
        if best is not None and item.check == best.check and finding_text(item) == best.text:
            return item
    return evidence[-1] if evidence else Evidence("none", Stage.DATA, Result.NONE, Reason.OK)


def _refusal(decisive: Evidence) -> Reply:
    text = decisive.properties.get("reply_text", "")
    if text:
        return Reply(550, "5.7.1", printable(text, 240))
    return Reply(550, "5.7.1", "Message rejected due to content restrictions")


def weigh(evidence: Sequence[Evidence], policy: Policy) -> float:
    """The score of what was found so far, in log-odds."""
    return sum(item.millis for item in _contributions(evidence, policy)) / 1000


def finding_text(item: Evidence) -> str:
    """A finding as a contribution names it."""
    what = _LABELS.get(item.reason, item.reason.value.replace("_", " "))
    return f"{what} {item.detail}".strip()


def _contributions(evidence: Sequence[Evidence], policy: Policy) -> list[Contribution]:
    """Every finding that weighs something, and what the bounds of the groups took away; the sum is the score."""
    out: list[Contribution] = []
    sums: dict[Group, int] = {}
    seen: set[tuple[str, Reason]] = set()
    passed = {e.check for e in evidence if e.result is Result.PASS}
    for item in evidence:
        weight = item.measured
        if weight is None:
            if (item.check, item.reason) in seen or (
                item.check == "dkim" and "dkim" in passed and item.result is not Result.PASS
            ):
                continue  # a second signature says nothing new; a broken one beside a good one says nothing
            seen.add((item.check, item.reason))
            weight = WEIGHTS.get((item.check, item.reason), 0.0)
        if item.check in policy.config.observe_checks or not math.isfinite(weight):
            weight = 0.0
        millis = round(weight * 1000)
        if millis:
            out.append(Contribution(item.check, finding_text(item), millis))
            group = GROUP_OF.get(item.check, Group.SHAPE)
            sums[group] = sums.get(group, 0) + millis
    for group, total in sums.items():
        cap = policy.config.content_cap
        low, high = CAPS.get(group, (-cap, cap))
        bounded = min(max(total, round(low * 1000)), round(high * 1000))
        if bounded != total:
            out.append(Contribution(f"cap:{group.value}", f"bound of the {group.value} group", bounded - total))
    if policy.config.prior:
        out.append(Contribution("prior", "before any evidence", round(policy.config.prior * 1000)))
    return sorted(out, key=lambda c: -abs(c.millis))


def _scl(would: Action, score: float, row: str) -> int:
    if row == "allow_list":
        return 0
    if would in (Action.REJECT, Action.DISCONNECT):
        return SCL_REJECT
    if would is Action.QUARANTINE:
        return SCL_QUARANTINE
    if would is Action.TAG:
        return SCL_TAG
    return next((scl for bound, scl in SCL_HAM if score < bound), SCL_DOUBTFUL)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
