"""Random findings and policies for the properties of the decision."""

from __future__ import annotations

from hypothesis import strategies as st

from filterd.config import PolicyConfig
from filterd.engine.policy import Policy
from filterd.engine.tables import GROUP_OF, WEIGHTS
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Scope, Stage

ANNA = "anna@example.org"
_DOMAINS = ["", "a.example", "b.example"]
_PAIRS = [
    *WEIGHTS,
    *((check, reason) for check in GROUP_OF for reason in (Reason.TIMEOUT, Reason.UNAVAILABLE)),
    ("lists", Reason.ALLOW_LISTED),
    ("lists", Reason.BLOCK_LISTED),
    ("recipient", Reason.RELAY_DENIED),
    ("recipient", Reason.RECIPIENT_UNKNOWN),
    ("recipient", Reason.RECIPIENT_INTERNAL),
    ("harvest", Reason.HARVESTING),
    ("rate", Reason.RATE_EXCEEDED),
    ("greylist", Reason.GREYLISTED),
    ("dmarc", Reason.NOT_ALIGNED_NONE),
]


@st.composite
def _real(draw: st.DrawFn) -> Evidence:
    """What a check could have found."""
    check, reason = draw(st.sampled_from(_PAIRS))
    domain = draw(st.sampled_from(_DOMAINS))
    names = {"spf": "smtp.mailfrom", "dkim": "header.d", "dmarc": "header.from"}
    return Evidence(
        check,
        draw(st.sampled_from([Stage.CONNECT, Stage.DATA])),
        Result.PASS if reason in (Reason.OK, Reason.ALLOW_LISTED) else Result.FAIL,
        reason,
        detail=domain if check in ("dkim", "spoof", "structure") else "",
        recipient=draw(st.sampled_from([None, None, ANNA, "bob@example.org"])),
        properties={names[check]: domain} if check in names and domain else {},
    )


@st.composite
def _measured(draw: st.DrawFn) -> Evidence:
    """A zone, content, or a check that is not there yet."""
    check = draw(st.sampled_from(["dnsbl", "content", "content", "new"]))
    weight = draw(st.floats(-15, 15))
    clues = draw(st.lists(st.builds(Clue, st.just("text: word"), st.floats(-5, 5)), max_size=4))
    reason = Reason.LISTED if check == "dnsbl" else Reason.LOOKS_LIKE_SPAM
    familiar = {"familiar": draw(st.sampled_from(["yes", "no"]))} if check == "content" else {}
    return Evidence(
        check,
        Stage.DATA,
        Result.FAIL if weight > 0 else Result.PASS,
        reason,
        Scope.TRANSACTION,
        draw(st.sampled_from(_DOMAINS)) if check == "dnsbl" else "",
        measured=weight,
        properties=familiar,
        clues=tuple(clues),
    )


@st.composite
def _mailbox(draw: st.DrawFn) -> Evidence:
    """A recipient that the directory knows, with SCL thresholds of its own."""
    names = st.sampled_from(["scl_junk", "scl_quarantine", "scl_reject", "scl_delete"])
    limits = draw(st.dictionaries(names, st.integers(0, 9).map(str), min_size=1))
    who = draw(st.sampled_from([ANNA, ANNA, "bob@example.org"]))
    return Evidence(
        *("recipient", Stage.RCPT, Result.PASS, Reason.OK, Scope.RECIPIENT), recipient=who, properties=limits
    )


EVIDENCE = _real() | _measured() | _mailbox()


@st.composite
def _policy(draw: st.DrawFn) -> Policy:
    tag = draw(st.floats(-3, 3))
    quarantine = tag + draw(st.floats(0.01, 4))
    config = PolicyConfig(
        prior=draw(st.sampled_from([0.0, 0.0, 1.0, -2.0])),
        tag_score=tag,
        quarantine_score=quarantine,
        reject_score=quarantine + draw(st.floats(0.01, 6)),
        content_cap=draw(st.sampled_from([0.0, 5.0, 20.0])),
        unfamiliar_content_cap=draw(st.sampled_from([0.0, 3.9, 20.0])),
        own_domain=draw(st.sampled_from(["score", "quarantine", "reject"])),
        observe=draw(st.booleans()),
        observe_checks=draw(st.sampled_from([(), ("content",), ("dmarc", "dnsbl")])),
    )
    return Policy(config, draw(st.booleans()))


POLICIES = st.just(Policy()) | _policy()
