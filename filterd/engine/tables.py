"""Owns the three tables of policy: STAGES (time), FAILURE (what a missing answer means), WEIGHTS (what a finding costs).

Must not know how a check works.  A test demands exactly one FAILURE row per registered check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Reason, Stage
from filterd.mail.reply import Reply

# Reasons that mean "could not be known"; what that leads to stands in FAILURE.
FAILED = frozenset({Reason.TIMEOUT, Reason.UNAVAILABLE, Reason.CRASHED, Reason.ZONE_SUSPENDED})


@dataclass(frozen=True, slots=True)
class StageRow:
    """How long the checks of a stage may take together, in seconds; what passes it is Reason.TIMEOUT evidence."""

    seconds: float


# A client waits at least 5 minutes for each reply (RFC 5321 4.5.3.2) and 10 after end-of-data; impatient ones 30 s.
STAGES: Mapping[Stage, StageRow] = {
    Stage.CONNECT: StageRow(5.0),
    Stage.HELO: StageRow(5.0),
    Stage.MAIL: StageRow(10.0),
    Stage.RCPT: StageRow(10.0),
    Stage.DATA: StageRow(20.0),
}


class OnFailure(StrEnum):
    """What it means that something could not be known."""

    OPEN = "open"  # evidence only: the message goes on without it
    DEFER = "defer"  # 4yz: the client keeps the message


@dataclass(frozen=True, slots=True)
class FailureRow:
    """What a temporary error, time-out or crash of one thing means.

    Attributes:
        default: for every trust class without a row of its own.
        reply: what the client is told when it defers.
        stricter: rows for single trust classes.
    """

    default: OnFailure
    reply: Reply | None = None
    stricter: Mapping[TrustClass, OnFailure] = field(default_factory=dict)

    def meaning(self, trust: TrustClass) -> OnFailure:
        """The row for that trust class."""
        return self.stricter.get(trust, self.default)


_TRY_LATER = Reply(451, "4.3.0", "Temporary local problem, please try again later")

FAILURE: Mapping[str, FailureRow] = {
    # checks
    "lists": FailureRow(OnFailure.OPEN),
    "dnsbl": FailureRow(OnFailure.OPEN),
    "rdns": FailureRow(OnFailure.OPEN),
    "helo": FailureRow(OnFailure.OPEN),
    "manners": FailureRow(OnFailure.OPEN),
    "rate": FailureRow(OnFailure.OPEN),
    "sender_rate": FailureRow(OnFailure.OPEN),
    "outbound_rate": FailureRow(OnFailure.OPEN),
    "spf": FailureRow(OnFailure.OPEN),
    "spf_helo": FailureRow(OnFailure.OPEN),
    "recipient": FailureRow(
        OnFailure.DEFER, Reply(451, "4.4.3", "Recipient directory is not available, please try again later")
    ),
    "harvest": FailureRow(OnFailure.OPEN),
    "greylist": FailureRow(OnFailure.OPEN),
    "dkim": FailureRow(OnFailure.OPEN),
    "arc": FailureRow(OnFailure.OPEN),
    "dmarc": FailureRow(OnFailure.OPEN),
    "spoof": FailureRow(OnFailure.OPEN),
    "structure": FailureRow(OnFailure.OPEN),
    "mime": FailureRow(OnFailure.OPEN),
    "links": FailureRow(OnFailure.OPEN),
    "url_lists": FailureRow(OnFailure.OPEN),
    "impersonation": FailureRow(OnFailure.OPEN),
    "correspondent": FailureRow(OnFailure.OPEN),
    "content": FailureRow(OnFailure.OPEN),
    "senders": FailureRow(OnFailure.OPEN),
    "hybrid": FailureRow(OnFailure.OPEN),
    "attachments": FailureRow(OnFailure.OPEN),
    # malware.on_failure = "open" is the administrator's other choice (engine/policy.py)
    "malware": FailureRow(
        OnFailure.DEFER, Reply(451, "4.7.0", "The message cannot be examined now, please try again later")
    ),
    # not checks: the hand-over's own needs
    "storage": FailureRow(
        OnFailure.DEFER, Reply(451, "4.3.0", "Cannot record the message now, please try again later")
    ),
    "storage_full": FailureRow(
        OnFailure.DEFER, Reply(452, "4.3.1", "Insufficient system storage, please try again later")
    ),
    "upstream": FailureRow(
        OnFailure.DEFER, Reply(451, "4.4.1", "Next mail server is not reachable, please try again later")
    ),
    "upstream_in_doubt": FailureRow(
        OnFailure.DEFER, Reply(451, "4.4.2", "Next mail server did not confirm the message, please try again later")
    ),
    # of outbound mail whose domain has a key: unsigned, the world may refuse it; Exchange keeps it for two days
    "signing_key": FailureRow(
        OnFailure.DEFER,
        Reply(451, "4.3.5", "The signing key of this domain cannot be used now, please try again later"),
    ),
    "engine": FailureRow(OnFailure.DEFER, _TRY_LATER),
}


class Group(StrEnum):
    """Findings that say much the same thing share a bound."""

    CLIENT = "client"
    AUTHENTICATION = "authentication"
    SHAPE = "shape"
    LINKS = "links"
    IMPERSONATION = "impersonation"
    CONTENT = "content"
    ATTACHMENTS = "attachments"
    CORRESPONDENT = "correspondent"
    TRUST = "trust"


# Bounds of a group's sum in log-odds, (lowest, highest); content's comes from the configuration (content_cap).
# Client: enough for two agreeing lists to refuse.  Authentication says who sent it, not that it is wanted: little below 0.
CAPS: Mapping[Group, tuple[float, float]] = {
    Group.CLIENT: (-8.0, 12.0),
    Group.AUTHENTICATION: (-1.0, 5.0),
    Group.SHAPE: (0.0, 3.0),
    Group.LINKS: (0.0, 6.0),  # two agreeing lists of domains hold mail back, and refuse nothing alone
    Group.IMPERSONATION: (0.0, 2.9),  # below reject_without_content: a played name and content alone refuse nothing
    # Tagged or held mail of a sender whom the recipient trusts is let in, what others refuse is still held.
    Group.TRUST: (-3.0, 0.0),
    # Contacts are taken over, and write then from where they always did: knowing one tips doubtful mail, and no more.
    Group.CORRESPONDENT: (-1.0, 0.0),
    Group.ATTACHMENTS: (0.0, 2.5),  # tags by itself; what holds mail back is [attachments], by kind
}

GROUP_OF: Mapping[str, Group] = {
    "lists": Group.CLIENT,
    "dnsbl": Group.CLIENT,
    "rdns": Group.CLIENT,
    "helo": Group.CLIENT,
    "manners": Group.CLIENT,
    "rate": Group.CLIENT,
    "sender_rate": Group.CLIENT,
    "outbound_rate": Group.CLIENT,
    "harvest": Group.CLIENT,
    "greylist": Group.CLIENT,
    "recipient": Group.CLIENT,
    "spf": Group.AUTHENTICATION,
    "spf_helo": Group.AUTHENTICATION,
    "dkim": Group.AUTHENTICATION,
    "arc": Group.AUTHENTICATION,
    "dmarc": Group.AUTHENTICATION,
    "spoof": Group.AUTHENTICATION,
    "structure": Group.SHAPE,
    "mime": Group.SHAPE,
    "links": Group.LINKS,
    "url_lists": Group.LINKS,
    "impersonation": Group.IMPERSONATION,
    "correspondent": Group.CORRESPONDENT,
    "content": Group.CONTENT,
    "attachments": Group.ATTACHMENTS,
    "malware": Group.CONTENT,
    "senders": Group.TRUST,
    "hybrid": Group.CLIENT,
}

# Natural log-odds of spam.  First settings by judgement, kept small: what content has learned from the same facts must
# not be counted twice.  Missing pairs weigh 0; findings with `measured` (zones, content) bring their own.
WEIGHTS: Mapping[tuple[str, Reason], float] = {
    ("rdns", Reason.NO_PTR): 0.8,
    ("rdns", Reason.PTR_UNCONFIRMED): 0.4,
    ("manners", Reason.EARLY_TALKER): 2.5,
    ("manners", Reason.UNASKED_PIPELINING): 1.0,
    ("greylist", Reason.GREYLIST_PASSED): -0.5,
    ("helo", Reason.HELO_SYNTAX): 1.0,
    ("helo", Reason.HELO_BARE_ADDRESS): 1.0,
    ("helo", Reason.HELO_FOREIGN_LITERAL): 1.0,
    ("helo", Reason.HELO_UNQUALIFIED): 0.5,
    ("helo", Reason.HELO_OUR_NAME): 3.0,
    ("spf", Reason.OK): -0.3,
    ("spf", Reason.SPF_FAIL): 2.0,
    ("spf", Reason.SPF_SOFTFAIL): 0.8,
    ("spf", Reason.SPF_NEUTRAL): 0.2,
    ("spf", Reason.NO_RECORD): 0.2,
    ("spf", Reason.BAD_RECORD): 0.4,
    ("spf_helo", Reason.HELO_NOT_AUTHORIZED): 1.0,
    ("dkim", Reason.OK): -0.3,
    ("dkim", Reason.SIGNATURE_INVALID): 0.2,
    ("dmarc", Reason.OK): -0.5,
    # NOT_ALIGNED_NONE weighs nothing: p=none MUST NOT modify how mail is handled (RFC 9989 5.4)
    ("dmarc", Reason.NOT_ALIGNED_QUARANTINE): 2.5,
    ("dmarc", Reason.NOT_ALIGNED_REJECT): 4.0,
    ("dmarc", Reason.NO_AUTHOR_DOMAIN): 1.0,
    ("spoof", Reason.OWN_DOMAIN): 3.0,
    ("spoof", Reason.OWN_REVERSE_PATH): 1.0,
    ("structure", Reason.MALFORMED): 1.5,
    ("mime", Reason.MALFORMED): 1.0,
    ("structure", Reason.MISSING_FIELDS): 1.0,
    ("structure", Reason.DUPLICATE_FIELDS): 1.0,
    ("structure", Reason.BAD_DATE): 0.5,
    ("structure", Reason.EIGHT_BIT_HEADER): 0.3,
    ("structure", Reason.FORGED_FIELDS): 1.5,
    # at least ten times as frequent in spam as in ham in three folders of mail and more (docs/shape.md); the classifier
    # knows the same facts, so little of their log-likelihood ratio (2.3 and more) is given here
    ("structure", Reason.BAD_MESSAGE_ID): 0.8,
    ("structure", Reason.FORGED_MAILER): 0.8,
    ("structure", Reason.NO_NAMED_RECIPIENT): 0.5,
    ("structure", Reason.SUBJECT_CAPITALS): 0.3,
    # Ham and spam of the corpus that have it stand in docs/links.md and docs/impersonation.md.
    ("links", Reason.LINK_TEXT_OTHER_HOST): 0.3,  # newsletters count presses elsewhere, too
    ("links", Reason.LINK_LOOKALIKE): 1.0,
    ("links", Reason.LINK_BARE_ADDRESS): 1.5,
    ("links", Reason.LINK_USERINFO): 1.0,
    ("impersonation", Reason.IMPERSONATED_NAME): 2.0,  # bosses have private addresses that nobody told us
    ("impersonation", Reason.IMPERSONATED_ADDRESS): 2.0,
    ("impersonation", Reason.IMPERSONATED_LOCAL_PART): 1.0,
    ("impersonation", Reason.LOOKALIKE_DOMAIN): 1.5,
    ("impersonation", Reason.LOOKALIKE_WORDS): 1.0,
    # LOOKALIKE_ENDING weighs nothing: names belong to several owners, and ham has it as often as spam
    ("impersonation", Reason.REPLY_TO_ELSEWHERE): 1.0,
    ("impersonation", Reason.FIRST_CONTACT): 0.5,  # stands only beside another of these
    ("correspondent", Reason.CORRESPONDENT): -1.0,
    ("attachments", Reason.ATTACHMENT_EXECUTABLE): 2.0,
    ("attachments", Reason.ATTACHMENT_SCRIPT): 2.0,
    ("attachments", Reason.ATTACHMENT_SHORTCUT): 2.0,
    ("attachments", Reason.ATTACHMENT_SYSTEM_FILE): 2.0,
    ("attachments", Reason.ATTACHMENT_DISGUISED): 1.5,
    ("attachments", Reason.ATTACHMENT_BOMB): 2.0,
    ("attachments", Reason.ATTACHMENT_UNFINISHED): 2.0,
    ("attachments", Reason.ATTACHMENT_AUTO_MACRO): 2.0,
    ("attachments", Reason.ATTACHMENT_SMUGGLING): 2.0,
    ("attachments", Reason.ATTACHMENT_PASSWORD): 1.0,
    ("attachments", Reason.ATTACHMENT_MACRO): 0.5,
    ("attachments", Reason.ATTACHMENT_ACTIVE): 1.0,
    ("attachments", Reason.ATTACHMENT_ENCRYPTED): 0.5,
    ("attachments", Reason.ATTACHMENT_DISK_IMAGE): 1.0,
    ("attachments", Reason.ATTACHMENT_DATABASE): 0.3,
    ("attachments", Reason.ATTACHMENT_UNREADABLE): 0.7,
    ("attachments", Reason.ATTACHMENT_UNCOMMON): 0.2,
    # BLOCKED_SENDER weighs nothing: not to want somebody says nothing about the message; policy.blocked_senders decides
    ("senders", Reason.SAFE_SENDER): -3.0,
}

# SCL from the score: (below this score, SCL).  Exchange moves SCL > 4 to Junk (facts: exchange.md 1.6); the levels of tagged and
# quarantined mail stand in the configuration.
SCL_HAM = ((-3.0, 0), (0.0, 1), (1.0, 2))
SCL_DOUBTFUL = 4
SCL_REJECT = 9
