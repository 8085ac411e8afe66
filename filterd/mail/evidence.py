"""Owns what a check found: an append-only value that nobody edits.  Result words: RFC 8601 section 2.7.

Must not know what a finding costs (engine/policy.py) or how it was obtained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Stage(StrEnum):
    """The SMTP command at which something is known."""

    CONNECT = "connect"
    HELO = "helo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Scope(StrEnum):
    """How far a finding reaches."""

    CONNECTION = "connection"
    TRANSACTION = "transaction"
    RECIPIENT = "recipient"


class Result(StrEnum):
    """RFC 8601 section 2.7; used for every check, not only for authentication."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - the word of RFC 8601, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Reason(StrEnum):
    """The closed list of things that can be found; engine/policy.py has what each one weighs."""

    OK = "ok"
    # the guard around every check
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    CRASHED = "crashed"
    # own lists
    ALLOW_LISTED = "allow_listed"
    BLOCK_LISTED = "block_listed"
    # DNS lists
    LISTED = "listed"
    NOT_LISTED = "not_listed"
    ZONE_REFUSED = "zone_refused"
    ZONE_SUSPENDED = "zone_suspended"
    # reverse DNS
    NO_PTR = "no_ptr"
    PTR_UNCONFIRMED = "ptr_unconfirmed"
    # taking turns
    EARLY_TALKER = "early_talker"
    UNASKED_PIPELINING = "unasked_pipelining"
    # how much, how often
    RATE_EXCEEDED = "rate_exceeded"
    HARVESTING = "harvesting"
    GREYLISTED = "greylisted"
    GREYLIST_PASSED = "greylist_passed"
    # HELO
    HELO_SYNTAX = "helo_syntax"
    HELO_BARE_ADDRESS = "helo_bare_address"
    HELO_FOREIGN_LITERAL = "helo_foreign_literal"
    HELO_UNQUALIFIED = "helo_unqualified"
    HELO_OUR_NAME = "helo_our_name"
    # recipients
    RECIPIENT_UNKNOWN = "recipient_unknown"
    RELAY_DENIED = "relay_denied"
    RECIPIENT_INTERNAL = "recipient_internal"
    USER_REPORT = "user_report"
    PROBE_RECEIPT = "probe_receipt"
    # SPF, DKIM, DMARC
    NO_RECORD = "no_record"
    SPF_FAIL = "spf_fail"
    SPF_SOFTFAIL = "spf_softfail"
    SPF_NEUTRAL = "spf_neutral"
    BAD_RECORD = "bad_record"
    NOT_SIGNED = "not_signed"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNATURE_UNUSABLE = "signature_unusable"
    ARC_BROKEN = "arc_broken"
    HELO_AUTHORIZED = "helo_authorized"
    HELO_NOT_AUTHORIZED = "helo_not_authorized"
    HELO_NO_RESULT = "helo_no_result"
    NOT_ALIGNED_NONE = "not_aligned_none"
    NOT_ALIGNED_QUARANTINE = "not_aligned_quarantine"
    NOT_ALIGNED_REJECT = "not_aligned_reject"
    NOT_ALIGNED_BUT_SEALED = "not_aligned_but_sealed"
    NO_AUTHOR_DOMAIN = "no_author_domain"
    OWN_DOMAIN = "own_domain"
    OWN_REVERSE_PATH = "own_reverse_path"
    # the shape of the message
    MALFORMED = "malformed"
    MISSING_FIELDS = "missing_fields"
    DUPLICATE_FIELDS = "duplicate_fields"
    BAD_DATE = "bad_date"
    EIGHT_BIT_HEADER = "eight_bit_header"
    FORGED_FIELDS = "forged_fields"
    BAD_MESSAGE_ID = "bad_message_id"
    FORGED_MAILER = "forged_mailer"
    NO_NAMED_RECIPIENT = "no_named_recipient"
    SUBJECT_CAPITALS = "subject_capitals"
    # attachments
    ATTACHMENT_EXECUTABLE = "attachment_executable"
    ATTACHMENT_SCRIPT = "attachment_script"
    ATTACHMENT_SHORTCUT = "attachment_shortcut"
    ATTACHMENT_SYSTEM_FILE = "attachment_system_file"
    ATTACHMENT_DISGUISED = "attachment_disguised"
    ATTACHMENT_BOMB = "attachment_bomb"
    ATTACHMENT_UNFINISHED = "attachment_unfinished"
    ATTACHMENT_AUTO_MACRO = "attachment_auto_macro"
    ATTACHMENT_SMUGGLING = "attachment_smuggling"
    ATTACHMENT_PASSWORD = "attachment_password"  # noqa: S105 - the name of a finding
    ATTACHMENT_MACRO = "attachment_macro"
    ATTACHMENT_ACTIVE = "attachment_active"
    ATTACHMENT_ENCRYPTED = "attachment_encrypted"
    ATTACHMENT_DISK_IMAGE = "attachment_disk_image"
    ATTACHMENT_DATABASE = "attachment_database"
    ATTACHMENT_UNREADABLE = "attachment_unreadable"
    ATTACHMENT_UNCOMMON = "attachment_uncommon"
    # malware
    MALWARE_FOUND = "malware_found"
    MALWARE_SUSPECTED = "malware_suspected"
    MALWARE_NOT_SCANNED = "malware_not_scanned"
    # links
    LINK_TEXT_OTHER_HOST = "link_text_other_host"
    LINK_LOOKALIKE = "link_lookalike"
    LINK_BARE_ADDRESS = "link_bare_address"
    LINK_USERINFO = "link_userinfo"
    # playing somebody
    IMPERSONATED_NAME = "impersonated_name"
    IMPERSONATED_ADDRESS = "impersonated_address"
    IMPERSONATED_LOCAL_PART = "impersonated_local_part"
    LOOKALIKE_DOMAIN = "lookalike_domain"
    LOOKALIKE_WORDS = "lookalike_words"
    LOOKALIKE_ENDING = "lookalike_ending"
    REPLY_TO_ELSEWHERE = "reply_to_elsewhere"
    FIRST_CONTACT = "first_contact"
    # what the recipient says of the sender, and who wrote to whom
    SAFE_SENDER = "safe_sender"
    BLOCKED_SENDER = "blocked_sender"
    CORRESPONDENT = "correspondent"
    # mail of the own Exchange Online that must not come this way
    HYBRID_MAIL = "hybrid_mail"
    # content
    LOOKS_LIKE_HAM = "looks_like_ham"
    LOOKS_LIKE_SPAM = "looks_like_spam"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Clue:
    """One readable part of the content weight.

    Attributes:
        text: what stands in the message, shortened, printable.
        log_odds: natural log-odds it adds; positive means spam.
    """

    text: str
    log_odds: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one check found at one stage.

    Attributes:
        check: name of the check, as registered (checks/registry.py).
        detail: which of several like things was looked at (a zone, a signature's domain); part of the identity.
        measured: natural log-odds that the check itself measured or was configured with (content, zone weight);
            None when the policy table alone knows the weight.
        recipient: the forward-path's mailbox when scope is RECIPIENT.
        properties: machine-readable facts (RFC 8601 ptype.property names where they exist).
        clues: the parts of `measured` that people can read; they need not add up, the remainder is shown as such.
        log_text: for the log and the trace, never for the client.
        elapsed_ms: wall time of the check.
    """

    check: str
    stage: Stage
    result: Result
    reason: Reason
    scope: Scope = Scope.TRANSACTION
    detail: str = ""
    recipient: str | None = None
    measured: float | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    clues: tuple[Clue, ...] = ()
    log_text: str = ""
    elapsed_ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The JSON form that is stored in the evidence record and answered by the API: what is no number is null there."""
        return {
            "check": self.check,
            "stage": self.stage.value,
            "result": self.result.value,
            "reason": self.reason.value,
            "scope": self.scope.value,
            "detail": self.detail,
            "recipient": self.recipient,
            "measured": self.measured if self.measured is not None and math.isfinite(self.measured) else None,
            "properties": dict(self.properties),
            "clues": [{"text": c.text, "log_odds": c.log_odds} for c in self.clues if math.isfinite(c.log_odds)],
            "log_text": self.log_text,
            "elapsed_ms": round(self.elapsed_ms, 3),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evidence:
        """The value that `as_dict` wrote; raises KeyError or ValueError on anything else."""
        return cls(
            check=str(data["check"]),
            stage=Stage(data["stage"]),
            result=Result(data["result"]),
            reason=Reason(data["reason"]),
            scope=Scope(data["scope"]),
            detail=str(data["detail"]),
            recipient=data["recipient"],
            measured=data["measured"],
            properties=dict(data["properties"]),
            clues=tuple(Clue(str(c["text"]), float(c["log_odds"])) for c in data["clues"]),
            log_text=str(data["log_text"]),
            elapsed_ms=float(data["elapsed_ms"]),
        )
