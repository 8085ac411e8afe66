"""Owns how the header section reads for the classifier: which fields count, and what of them.  RFC 5322 3.6.

Fields that the receiving site or a scanner adds are dropped: they are not there yet when a message is judged, and a learner
would only learn the site's own opinion.  Dates, queue ids and random strings are reduced to their shape: they identify a
message or a year, not spam.  Must not know parts or the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from filterd.mail.message import HeaderField, decode_words

MAX_LINES = 100
MAX_VALUE = 240  # octets of a value; long lists of recipients or references would push the text out of the prefix
MAX_RECEIVED = 4  # topmost Received fields that are read: the nearest hops say most

_DROPPED_NAMES = """
    return-path delivered-to x-original-to delivery-date envelope-to status x-status lines content-length bytes
    x-uid x-uidl x-keywords x-imap x-imapbase x-account-key x-evolution x-evolution-source x-apparently-to
    x-envelope-to x-envelope-from x-gm-thrid x-gm-labels x-folder authentication-results received-spf
    arc-authentication-results x-received x-mime-autoconverted x-greylist x-policyd-weight x-rc-spam x-rc-virus
    xlevel xstatus xchecker-version x-fid x-pstn-levels x-pstn-settings x-pstn-addresses x-pmx-version x-ironport-av
    ironport-sdr x-brightmail-tracker x-bogosity x-crm114-status x-crm114-version x-razor x-pyzor
    x-originalarrivaltime x-forefront-antispam-report x-exchange-antispam-report-test
    x-exchange-antispam-report-cfa-test x-eopattributedmessage x-eoptenantattributedmessage
    x-auto-response-suppress-received x-rspamd-server x-rspamd-queue-id x-rspamd-action x-dspam-result
    x-dspam-processed x-dspam-confidence x-dspam-probability x-dspam-signature x-getmail-retrieved-from-mailbox
    x-ms-exchange-transport-endtoendlatency x-ms-exchange-processed-by-bccfoldering resent-date x-original-date
    x-extloop1 x-amp-result x-amp-file-uploaded
"""
_DROPPED = frozenset(_DROPPED_NAMES.split())
_DROPPED_PREFIXES = (
    "x-filterd-",
    "x-mozilla-",
    "x-ms-exchange-organization-",
    "x-ms-exchange-forest-",
    "x-ms-exchange-crosspremises-",
    "x-ms-exchange-crosstenant-",
    "x-ms-exchange-antispam-",
    "x-ms-exchange-transport-",
    "x-microsoft-antispam",
    "x-ms-office365-filtering-",
    "x-barracuda-",
    "x-asg-",
    "x-proofpoint-",
    "x-ironport-",
    "x-bitdefender",
    "x-amavis",
    "x-tm-as-",
    "x-me-proxy",
)
_SCANNER_WORDS = ("spam", "virus", "scann", "dcc-", "sophos", "mimedefang")
_SIGNATURES = frozenset(
    {"dkim-signature", "x-google-dkim-signature", "domainkey-signature", "arc-seal", "arc-message-signature"}
)
_REFERENCES = frozenset({"message-id", "in-reply-to", "references", "resent-message-id", "content-id"})

_SIGNER = re.compile(r"(?:^|;)\s{0,40}([dsac])\s{0,8}=\s{0,8}([^;\s]{1,100})")
_QUEUE_ID = re.compile(r"\s(?:id|for|with|via)\s{1,8}([^\s;]{1,200})", re.I)
_DIGITS = re.compile(r"[0-9]")
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_BOUNDARY = re.compile(r"boundary\s{0,8}=.{0,200}", re.I | re.S)
_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(.{0,40})", re.S)
_RUNS = re.compile(r"(?:[a-z]+|[0-9]+)", re.I)


def is_added_on_receipt(key: str) -> bool:
    """Whether the lower-case field name is one that receiving sites, mailboxes or scanners add."""
    return key in _DROPPED or key.startswith(_DROPPED_PREFIXES) or any(word in key for word in _SCANNER_WORDS)


def header_lines(fields: Iterable[HeaderField]) -> tuple[list[str], list[str]]:
    """("name: value" lines as the classifier reads them, the names in order), both bounded by MAX_LINES."""
    lines: list[str] = []
    names: list[str] = []
    received = 0
    for item in fields:
        key = item.key
        if is_added_on_receipt(key):
            continue
        if len(names) >= MAX_LINES:
            break
        if key == "received":
            received += 1
            if received <= MAX_RECEIVED:
                lines.append("received: " + received_clause(item.value[:600]))
            continue
        names.append(key or "?")
        lines.append(f"{key or '?'}: {_reduced(key, item)}")
    if received:
        lines.append(f"hops {min(received, 20)}")
    return lines, names


def received_clause(value: str) -> str:
    """A Received field without its time, queue id and recipient: what is left is who handed over to whom, and how."""
    clause = value.rpartition(";")[0] or value
    words = clause.split()
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
            continue
        if word.lower() in {"id", "for"}:
            skip = True
            continue
        kept.append(word)
    return " ".join(kept)[:160]


def shape(text: str) -> str:
    """Runs of letters as `a`, runs of digits as `9`, everything else as it is; at most 40 characters."""
    return _RUNS.sub(lambda match: "9" if match[0][0].isdigit() else "a", text[:200])[:40]


def _reduced(key: str, item: HeaderField) -> str:
    if key in _SIGNATURES:
        value = item.value[:1000]
        return " ".join(f"{tag}={text}" for tag, text in _SIGNER.findall(value) if tag == "d")
    value = item.value[:2000]
    if key in _REFERENCES:
        return " ".join(f"{shape(local)} @{domain}" for local, domain in _identifiers(value))
    if key in {"date", "resent-date"}:
        match = _TIME.search(value)
        return ("time" + match[1]) if match else "no time"
    if "=?" in value:
        value = decode_words(value)
    if key == "content-type":
        value = _BOUNDARY.sub(lambda match: _DIGITS.sub("0", match[0]), value)
    value = _LONG_WORD.sub(lambda match: match[0][:12], value)
    return " ".join(value.split())[:MAX_VALUE]


def _identifiers(value: str) -> list[tuple[str, str]]:
    """(local part, domain) of the first and the last message identifier."""
    words = value.replace("<", " ").replace(">", " ").split()
    chosen = words if len(words) <= 2 else [words[0], words[-1]]
    out = []
    for word in chosen:
        local, _, domain = word.rpartition("@")
        out.append((local, domain[:100]))
    return out
