"""Owns the closed list of single changes that are thought through for a message: each bad finding becoming its good result.

What follows from a change is part of it: a DKIM pass of the author's domain is a DMARC pass too (RFC 9989 4.4), and proof for
a domain of ours.  To name the change for a new check's finding add a line to _CURES; without one it reads `without "…"`.
Must not know what a change leads to (engine/flip.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from filterd.config import PolicyConfig
from filterd.engine.mailbox_rows import PROPERTIES, has_thresholds
from filterd.engine.tables import FAILED, FAILURE, OnFailure
from filterd.engine.words import asked_text, domain_of, fill, finding_text
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage

_MAX_DOMAINS = 4  # whose DKIM pass is thought through: authors and failed signatures; the rest of ten says nothing new
_MAX_NAMED = 3  # zones in one sentence
_NOT_ALIGNED = frozenset({Reason.NOT_ALIGNED_NONE, Reason.NOT_ALIGNED_QUARANTINE, Reason.NOT_ALIGNED_REJECT})
_CLAIMS = frozenset({Reason.OWN_DOMAIN, Reason.OWN_REVERSE_PATH})


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Attributes:
        words: what is different, as it stands before ": accept".
        drops: places in the evidence that are taken out.
        adds: findings that come instead.
        config: the policy that holds instead, None for the one that holds.
    """

    words: str
    drops: frozenset[int] = frozenset()
    adds: tuple[Evidence, ...] = ()
    config: PolicyConfig | None = None


Items = Sequence[tuple[int, Evidence]]  # findings that count for the recipient, with their places

ALLOW_LISTED = Step(
    "with an entry on the own allow list",
    adds=(Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION),),
)

# Findings that are cured by being gone, in the order in which changes of equal size are preferred.
_CURES: Mapping[tuple[str, Reason], str] = {
    ("spf_helo", Reason.HELO_NOT_AUTHORIZED): "with an SPF pass of the HELO name{of}",
    ("dmarc", Reason.NO_AUTHOR_DOMAIN): "with exactly one author domain",
    ("rdns", Reason.NO_PTR): "if the client{of} had a reverse name",
    ("rdns", Reason.PTR_UNCONFIRMED): "if the reverse name of the client{of} led back to it",
    ("helo", Reason.HELO_SYNTAX): "with a host name in HELO",
    ("helo", Reason.HELO_BARE_ADDRESS): "with a host name in HELO",
    ("helo", Reason.HELO_FOREIGN_LITERAL): "with a host name in HELO",
    ("helo", Reason.HELO_UNQUALIFIED): "with a whole host name in HELO",
    ("helo", Reason.HELO_OUR_NAME): "with a HELO name of its own",
    ("dnsbl", Reason.LISTED): "without the listing at {detail}",
    ("lists", Reason.BLOCK_LISTED): "without the entry on the own block list",
    ("manners", Reason.EARLY_TALKER): "if the client had waited for the greeting",
    ("manners", Reason.UNASKED_PIPELINING): "if the client had waited for the answer to EHLO",
    ("greylist", Reason.GREYLISTED): "when it comes again in time",
    ("rate", Reason.RATE_EXCEEDED): "with fewer messages in a minute",
    ("sender_rate", Reason.RATE_EXCEEDED): "with fewer messages of this sender in a minute",
    ("outbound_rate", Reason.RATE_EXCEEDED): "with fewer recipients in an hour",
    ("harvest", Reason.HARVESTING): "with fewer unknown recipients",
    ("senders", Reason.BLOCKED_SENDER): "if the recipient did not block {detail}",
    ("hybrid", Reason.HYBRID_MAIL): "if it were no hybrid mail",
    ("recipient", Reason.RECIPIENT_UNKNOWN): "if the recipient existed",
    ("recipient", Reason.RELAY_DENIED): "if the recipient's domain were one of ours",
    ("recipient", Reason.RECIPIENT_INTERNAL): "if the recipient took mail from outside",
    ("spoof", Reason.OWN_DOMAIN): "with proof for a domain of ours",
    ("spoof", Reason.OWN_REVERSE_PATH): "with proof for a domain of ours",
    ("url_lists", Reason.LISTED): "without the listing of {detail}",
    ("links", Reason.LINK_TEXT_OTHER_HOST): "without links whose text names another host ({detail})",
    ("links", Reason.LINK_LOOKALIKE): "without links to look-alikes ({detail})",
    ("links", Reason.LINK_BARE_ADDRESS): "without links to bare addresses ({detail})",
    ("links", Reason.LINK_USERINFO): "without links that have a name before the host ({detail})",
    ("impersonation", Reason.IMPERSONATED_NAME): "with the address among those of {detail} (impersonation.people)",
    ("impersonation", Reason.IMPERSONATED_ADDRESS): "without our address {detail} as its name",
    ("impersonation", Reason.REPLY_TO_ELSEWHERE): "without answers to {detail}",
    ("malware", Reason.MALWARE_FOUND): "without the malware {detail}",
    ("malware", Reason.MALWARE_SUSPECTED): "without the suspected malware {detail}",
    ("structure", Reason.MALFORMED): "with a well-formed header",
    ("mime", Reason.MALFORMED): "with well-formed MIME parts",
    ("structure", Reason.MISSING_FIELDS): "with the missing header fields ({detail})",
    ("structure", Reason.DUPLICATE_FIELDS): "with each header field only once ({detail})",
    ("structure", Reason.BAD_DATE): "with a right Date",
    ("structure", Reason.EIGHT_BIT_HEADER): "with encoded words in the header",
    ("structure", Reason.FORGED_FIELDS): "without forged header fields",
}
_ORDER = {key: number for number, key in enumerate(_CURES)}
# What is found instead, where that weighs something or is asked for: {(check, reason): reason of the good result}.
_INSTEAD: Mapping[tuple[str, Reason], Reason] = {
    ("greylist", Reason.GREYLISTED): Reason.GREYLIST_PASSED,
    ("recipient", Reason.RECIPIENT_UNKNOWN): Reason.OK,
    ("recipient", Reason.RELAY_DENIED): Reason.OK,
    ("recipient", Reason.RECIPIENT_INTERNAL): Reason.OK,
}


def steps(items: Items, trust: TrustClass) -> Iterator[Step]:
    """Every single change of what was found, each bad finding becoming its good result."""
    yield from _signatures(items)
    yield from _senders(items)
    for place, item in items:
        if item.check == "dmarc" and item.reason in _NOT_ALIGNED and not domain_of(item):
            yield Step("with a DMARC pass", frozenset({place}), (_passed(item),))
    yield from _cures(items)
    yield from without_thresholds(items)
    for place, item in items:
        row = FAILURE.get(item.check)
        if item.reason in FAILED and row is not None and row.meaning(trust) is OnFailure.DEFER:
            yield Step(f"if {asked_text(item)} had answered", frozenset({place}), (_passed(item),))


def without_thresholds(items: Items) -> Iterator[Step]:
    """A mailbox without SCL thresholds of its own."""
    for place, item in items:
        if has_thresholds(item):
            others = {name: value for name, value in item.properties.items() if name not in PROPERTIES}
            yield Step("without the mailbox's own thresholds", frozenset({place}), (replace(item, properties=others),))


def _signatures(items: Items) -> Iterator[Step]:
    """A DKIM pass of each author domain, then of each domain whose signature failed."""
    signed = {item.detail for _, item in items if item.check == "dkim" and item.result is Result.PASS}
    authors = [domain_of(item) for _, item in items if item.check == "dmarc" and item.reason in _NOT_ALIGNED]
    claimed = [item.detail for _, item in items if item.check == "spoof" and item.reason in _CLAIMS]
    failed = [item.detail for _, item in items if item.check == "dkim" and item.result is not Result.PASS]
    wanted = [name for name in dict.fromkeys((*authors, *claimed, *failed)) if name and name not in signed]
    for domain in wanted[:_MAX_DOMAINS]:
        replaced = {
            place
            for place, item in items
            if item.check == "dkim" and (item.detail == domain or item.reason is Reason.NOT_SIGNED)
        }
        passed = Evidence("dkim", Stage.DATA, Result.PASS, Reason.OK, detail=domain, properties={"header.d": domain})
        drops, adds = _consequences(items, domain)
        yield Step(f"with a DKIM pass of {domain}", frozenset(replaced) | drops, (passed, *adds))


def _senders(items: Items) -> Iterator[Step]:
    """An SPF pass of the reverse-path, or of the HELO name behind a null one."""
    for place, item in items:
        if item.check == "spf" and item.result is not Result.PASS:
            domain = domain_of(item)
            drops, adds = _consequences(items, domain) if domain else (frozenset[int](), ())
            words = f"with an SPF pass of {domain}" if domain else "with an SPF pass of the reverse-path"
            yield Step(words, drops | {place}, (_passed(item), *adds))


def _consequences(items: Items, domain: str) -> tuple[frozenset[int], tuple[Evidence, ...]]:
    """What else changes when SPF or DKIM stands for `domain` itself: aligned, however strict the record is."""
    drops, adds = set(), []
    several = (
        sum(item.check == "dmarc" for _, item in items) > 1
    )  # authors: then a pass of one says nothing (RFC 9989 5.3.1)
    for place, item in items:
        if item.check == "dmarc" and item.reason in _NOT_ALIGNED and domain_of(item) == domain:
            drops.add(place)
            adds.append(_passed(item, Reason.NO_AUTHOR_DOMAIN if several else Reason.OK))
        elif item.check == "spoof" and item.detail == domain:
            drops.add(place)
    return frozenset(drops), tuple(adds)


def _cures(items: Items) -> Iterator[Step]:
    """Findings that could be gone, like ones together; of DNS lists each, then all."""
    gone: dict[tuple[str, Reason, str], list[tuple[int, Evidence]]] = {}
    for place, item in items:
        known = (item.check, item.reason) in _CURES
        claim = item.check == "spoof" and item.detail and item.reason in _CLAIMS
        if item.check in ("spf", "dkim", "content") or (item.check == "dmarc" and item.reason in _NOT_ALIGNED) or claim:
            continue  # thought through elsewhere
        if item.reason in FAILED or (item.measured or 0.0) < 0 or not (known or item.result is Result.FAIL):
            continue
        like = item.detail if item.check == "dnsbl" or not known else ""
        gone.setdefault((item.check, item.reason, like), []).append((place, item))
    listed = [entry for (check, *_), found in gone.items() if check == "dnsbl" for entry in found]
    for (check, reason, _), found in sorted(gone.items(), key=lambda entry: _ORDER.get(entry[0][:2], len(_ORDER))):
        _, first = found[0]
        instead = _INSTEAD.get((check, reason))
        words = fill(_CURES.get((check, reason), f'without "{finding_text(first)}"'), first)
        adds = () if instead is None else (_passed(first, instead),)
        yield Step(words, frozenset(place for place, _ in found), adds)
    if len({item.detail for _, item in listed}) > 1:
        zones = list(dict.fromkeys(item.detail for _, item in listed))
        names = f"{', '.join(zones[:-1])} and {zones[-1]}" if len(zones) <= _MAX_NAMED else "all DNS lists"
        yield Step(f"without the listings at {names}", frozenset(place for place, _ in listed))


def _passed(item: Evidence, reason: Reason = Reason.OK) -> Evidence:
    """The good result in the place of `item`."""
    return Evidence(
        item.check, item.stage, Result.PASS, reason, item.scope, item.detail, item.recipient, properties=item.properties
    )
