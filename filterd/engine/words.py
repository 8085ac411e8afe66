"""Owns what findings are called when people read them: in the sum, in the log of the sandbox, in the nearest change.

Short, without a full stop, with the domain, zone or field that it is about.  Must not know weights or decisions.
"""

from __future__ import annotations

from collections.abc import Mapping

from filterd.mail.evidence import Evidence, Reason

_MAX_TEXT = 200  # characters; a domain has at most 253
# Properties that name the domain or address a finding is about, the first that is there (RFC 8601 2.7).
_NAMES = ("smtp.mailfrom", "smtp.helo", "header.d", "header.from", "client_name", "policy.iprev")
REST = "rest of the message"  # what the clues leave over

# {of}: " of example.com", or nothing when the domain is not known; {detail}: the finding's own.
_FINDINGS: Mapping[tuple[str, Reason], str] = {
    ("lists", Reason.ALLOW_LISTED): "on the own allow list",
    ("lists", Reason.BLOCK_LISTED): "on the own block list",
    ("dnsbl", Reason.LISTED): "listed by {detail}",
    ("rdns", Reason.OK): "reverse name{of} leads back to the client",
    ("rdns", Reason.NO_PTR): "client without a reverse name",
    ("rdns", Reason.PTR_UNCONFIRMED): "the client's reverse name does not lead back to it",
    ("manners", Reason.EARLY_TALKER): "client spoke before the greeting",
    ("manners", Reason.UNASKED_PIPELINING): "client sent commands without waiting for the answer",
    ("greylist", Reason.GREYLISTED): "greylisted, must come again",
    ("greylist", Reason.GREYLIST_PASSED): "came again after greylisting",
    ("helo", Reason.HELO_SYNTAX): "HELO name is no host name",
    ("helo", Reason.HELO_BARE_ADDRESS): "HELO name is a bare address",
    ("helo", Reason.HELO_FOREIGN_LITERAL): "HELO name is somebody else's address",
    ("helo", Reason.HELO_UNQUALIFIED): "HELO name without a domain",
    ("helo", Reason.HELO_OUR_NAME): "HELO name is ours",
    ("spf", Reason.OK): "SPF pass{of}",
    ("spf", Reason.SPF_FAIL): "SPF fail{of}",
    ("spf", Reason.SPF_SOFTFAIL): "SPF softfail{of}",
    ("spf", Reason.SPF_NEUTRAL): "SPF neutral{of}",
    ("spf", Reason.NO_RECORD): "no SPF record{of}",
    ("spf", Reason.BAD_RECORD): "unusable SPF record{of}",
    ("spf_helo", Reason.HELO_NOT_AUTHORIZED): "SPF fail of the HELO name{of}",
    ("dkim", Reason.OK): "DKIM pass{of}",
    ("dkim", Reason.SIGNATURE_INVALID): "broken DKIM signature{of}",
    ("dmarc", Reason.OK): "DMARC pass{of}",
    ("dmarc", Reason.NOT_ALIGNED_NONE): "DMARC fail{of}, which asks for nothing",
    ("dmarc", Reason.NOT_ALIGNED_QUARANTINE): "DMARC fail{of}, which asks to quarantine",
    ("dmarc", Reason.NOT_ALIGNED_REJECT): "DMARC fail{of}, which asks to refuse",
    ("dmarc", Reason.NO_AUTHOR_DOMAIN): "not exactly one author domain",
    ("spoof", Reason.OWN_DOMAIN): "author claims our domain {detail} without proof",
    ("spoof", Reason.OWN_REVERSE_PATH): "reverse-path claims our domain {detail} without proof",
    ("structure", Reason.MALFORMED): "malformed: {detail}",
    ("mime", Reason.MALFORMED): "malformed MIME: {detail}",
    ("structure", Reason.MISSING_FIELDS): "missing header fields: {detail}",
    ("structure", Reason.DUPLICATE_FIELDS): "header fields that may stand only once: {detail}",
    ("structure", Reason.BAD_DATE): "bad Date: {detail}",
    ("structure", Reason.EIGHT_BIT_HEADER): "unencoded letters in the header: {detail}",
    ("structure", Reason.FORGED_FIELDS): "forged header fields: {detail}",
    ("structure", Reason.BAD_MESSAGE_ID): "bad Message-ID: {detail}",
    ("structure", Reason.FORGED_MAILER): "forged mailer: {detail}",
    ("structure", Reason.NO_NAMED_RECIPIENT): "To names nobody: {detail}",
    ("structure", Reason.SUBJECT_CAPITALS): "subject in capitals",
    ("attachments", Reason.ATTACHMENT_EXECUTABLE): "program attached: {detail}",
    ("attachments", Reason.ATTACHMENT_SCRIPT): "script attached: {detail}",
    ("attachments", Reason.ATTACHMENT_SHORTCUT): "shortcut attached: {detail}",
    ("attachments", Reason.ATTACHMENT_SYSTEM_FILE): "system file attached: {detail}",
    ("attachments", Reason.ATTACHMENT_DISGUISED): "disguised attachment: {detail}",
    ("attachments", Reason.ATTACHMENT_BOMB): "archive bomb: {detail}",
    ("attachments", Reason.ATTACHMENT_UNFINISHED): "attachment that cannot be looked at to its end: {detail}",
    ("attachments", Reason.ATTACHMENT_AUTO_MACRO): "document with macros that run by themselves: {detail}",
    ("attachments", Reason.ATTACHMENT_SMUGGLING): "HTML attachment that builds a file: {detail}",
    ("attachments", Reason.ATTACHMENT_PASSWORD): "encrypted attachment with its password in the text: {detail}",
    ("attachments", Reason.ATTACHMENT_MACRO): "document with macros: {detail}",
    ("attachments", Reason.ATTACHMENT_ACTIVE): "active content attached: {detail}",
    ("attachments", Reason.ATTACHMENT_ENCRYPTED): "encrypted attachment: {detail}",
    ("attachments", Reason.ATTACHMENT_DISK_IMAGE): "disk image attached: {detail}",
    ("attachments", Reason.ATTACHMENT_DATABASE): "database attached: {detail}",
    ("attachments", Reason.ATTACHMENT_UNREADABLE): "attachment that cannot be read: {detail}",
    ("attachments", Reason.ATTACHMENT_UNCOMMON): "uncommon attachment: {detail}",
    ("links", Reason.LINK_TEXT_OTHER_HOST): "link text names another host: {detail}",
    ("links", Reason.LINK_LOOKALIKE): "link to a look-alike: {detail}",
    ("links", Reason.LINK_BARE_ADDRESS): "link to the bare address {detail}",
    ("links", Reason.LINK_USERINFO): "link with a name before the host {detail}",
    ("url_lists", Reason.LISTED): "{detail} is listed",
    ("impersonation", Reason.IMPERSONATED_NAME): "name of {detail} at a foreign address",
    ("impersonation", Reason.IMPERSONATED_ADDRESS): "our address {detail} as the name of a foreign one",
    ("impersonation", Reason.IMPERSONATED_LOCAL_PART): "local part {detail} of a protected person at a foreign address",
    ("impersonation", Reason.LOOKALIKE_DOMAIN): "look-alike domain: {detail}",
    ("impersonation", Reason.LOOKALIKE_WORDS): "domain with words added: {detail}",
    ("impersonation", Reason.LOOKALIKE_ENDING): "same name with another ending: {detail}",
    ("impersonation", Reason.REPLY_TO_ELSEWHERE): "answers go to {detail}",
    ("impersonation", Reason.FIRST_CONTACT): "first mail of this sender",
    ("malware", Reason.MALWARE_FOUND): "malware {detail}",
    ("malware", Reason.MALWARE_SUSPECTED): "suspected malware {detail}",
    ("malware", Reason.MALWARE_NOT_SCANNED): "too large for the malware scan",
    ("content", Reason.LOOKS_LIKE_HAM): "content looks like ham",
    ("content", Reason.LOOKS_LIKE_SPAM): "content looks like spam",
    ("content", Reason.UNSURE): "content is unsure",
    ("recipient", Reason.RECIPIENT_INTERNAL): "the recipient takes mail from authenticated senders only",
    ("correspondent", Reason.CORRESPONDENT): "somebody here wrote to this sender",
    ("outbound_rate", Reason.RATE_EXCEEDED): "too many recipients in an hour",
    ("senders", Reason.SAFE_SENDER): "the recipient trusts this sender: {detail}",
    ("senders", Reason.BLOCKED_SENDER): "the recipient has blocked this sender: {detail}",
    ("hybrid", Reason.HYBRID_MAIL): "mail of our own Exchange Online: {detail}",
    ("recipient", Reason.USER_REPORT): "an address that users report mail to",
    ("recipient", Reason.PROBE_RECEIPT): "an address that the receipt for a probe comes to",
}

# Who was asked, as the subject of "… did not answer".
_ASKED: Mapping[str, str] = {
    "lists": "the own lists",
    "dnsbl": "the DNS list {detail}",
    "rdns": "DNS for the client's reverse name",
    "spf": "DNS for SPF{of}",
    "spf_helo": "DNS for SPF of the HELO name{of}",
    "recipient": "the recipient directory",
    "greylist": "the greylist",
    "dkim": "DNS for DKIM{of}",
    "arc": "DNS for ARC",
    "dmarc": "DNS for DMARC{of}",
    "spoof": "DNS for the proof that a domain of ours needs",
    "url_lists": "the DNS list {detail}",
    "content": "the content model",
    "malware": "the malware scanner",
    "attachments": "the look inside attachments",
    "correspondent": "the memory of whom people here wrote to",
}
_HOW: Mapping[Reason, str] = {
    Reason.TIMEOUT: "did not answer in time",
    Reason.UNAVAILABLE: "did not answer",
    Reason.CRASHED: "failed",
    Reason.ZONE_SUSPENDED: "is suspended",
}


def domain_of(item: Evidence) -> str:
    """The domain, name or address that a finding is about; empty when it names none."""
    return next((item.properties[name] for name in _NAMES if item.properties.get(name)), "")


def fill(template: str, item: Evidence) -> str:
    """A text with `{of}` and `{detail}` filled from a finding."""
    if "{" not in template:
        return template[:_MAX_TEXT]
    domain = domain_of(item)
    text = template.replace("{of}", f" of {domain}" if domain else "").replace("{detail}", item.detail)
    return text.strip(" :")[:_MAX_TEXT]


def finding_text(item: Evidence) -> str:
    """A finding as a contribution names it."""
    template = _FINDINGS.get((item.check, item.reason))
    if template is None:
        template = f"{'pass' if item.reason is Reason.OK else item.reason.value.replace('_', ' ')} {{detail}}"
    return fill(template, item)


def asked_text(item: Evidence) -> str:
    """Who was asked when a finding could not be made."""
    return fill(_ASKED.get(item.check, f"the check {item.check}"), item)


def missing_text(item: Evidence) -> str:
    """What could not be known, and why."""
    said = f" ({item.log_text[:_MAX_TEXT]})" if item.log_text else ""
    return f"{asked_text(item)} {_HOW.get(item.reason, 'is not known')}{said}"
