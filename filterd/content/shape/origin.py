"""Owns what a header section says about the program that wrote it: MIME, mailers, bulk mail, fields.  RFC 2045, RFC 2369, RFC 8058.

A mailer's name is cheap to write; what the real one always writes beside it is forgotten.
Must not know which mailers are good.
"""

from __future__ import annotations

import re

from filterd.mail.message import Message

_MAX_VALUE = 1_000  # octets of a field that are read
_MAX_LINE = 998  # RFC 5322 2.1.1, octets without CRLF
_FEW_FIELDS = 7
_MANY_FIELDS = 60

_BULK = (b"bulk", b"list", b"junk")
_BULK_FIELDS = ("feedback-id", "x-campaign", "x-campaignid", "x-csa-complaints", "x-sg-eid", "x-mailgun-sid", "list-id")
_USUAL = {
    "from": "From",
    "to": "To",
    "subject": "Subject",
    "date": "Date",
}  # "Reply-to" and "Content-type" are honest mailers'
_SINGLE = ("date", "from", "sender", "reply-to", "to", "cc", "message-id", "in-reply-to", "references", "subject")
_OUTLOOK = re.compile(rb"microsoft (?:office )?outlook", re.I)
_EXPRESS = re.compile(rb"microsoft outlook express|microsoft windows (?:live )?mail", re.I)
_VERSION = re.compile(rb"[0-9]")
_SCRIPT = re.compile(rb"php|perl|python|mailer\b|smtp", re.I)


def mime_facts(message: Message, facts: list[str]) -> None:
    """Of the MIME fields of the message itself."""
    kind, version = message.all("content-type"), message.all("mime-version")
    if kind and not version:
        facts.append("mime-version-missing")
    elif version and not kind:
        facts.append("mime-type-missing")
    elif not version:
        facts.append("mime-none")
        return
    if not kind:
        return
    value = kind[0].body[:_MAX_VALUE].lower()
    if b"text/html" in value:
        facts.append("mime-html-alone")
    if value.lstrip().startswith(b"text/"):
        if b"charset" not in value:
            facts.append("mime-no-charset")
        coding = message.all("content-transfer-encoding")
        if coding and b"base64" in coding[0].body[:100].lower():
            facts.append("mime-text-in-base64")
    elif b"multipart/" in value and b"boundary" not in value:
        facts.append("mime-no-boundary")
    if len(version) > 1 or len(kind) > 1:
        facts.append("mime-twice")


def mailer_facts(message: Message, facts: list[str]) -> None:
    """Of X-Mailer, User-Agent and what belongs to them."""
    mailer, agent = message.all("x-mailer"), message.all("user-agent")
    has_ole = bool(message.all("x-mimeole"))
    if not mailer and not agent:
        facts.append("mailer-none")
        if has_ole:
            facts.append("mailer-mimeole-alone")
    elif mailer and agent:
        facts.append("mailer-two")
    if message.all("x-msmail-priority") and not has_ole:
        facts.append("mailer-msmail-priority-alone")
    priority = message.all("x-priority")
    if priority and priority[0].body[:40].strip()[:1] in (b"1", b"2"):
        facts.append("priority-high")
    if not mailer:
        return
    value = mailer[0].body[:_MAX_VALUE]
    if not value.strip():
        facts.append("mailer-empty")
        return
    if _EXPRESS.search(value):
        if not has_ole:
            facts.append("mailer-outlook-express-without-mimeole")
    elif _OUTLOOK.search(value):
        if not (has_ole or message.all("thread-index") or message.all("x-originatororg")):
            facts.append("mailer-outlook-without-its-fields")
        if not message.all("mime-version"):
            facts.append("mailer-outlook-without-mime")
    if not _VERSION.search(value):
        facts.append("mailer-no-version")
    if _SCRIPT.search(value):
        facts.append("mailer-script")


def bulk_facts(message: Message, facts: list[str]) -> None:
    """Of mail that says it went to many."""
    unsubscribe = message.all("list-unsubscribe")
    if unsubscribe:
        facts.append("bulk-unsubscribe")
        if message.all("list-unsubscribe-post"):
            facts.append("bulk-one-click")
        return
    precedence = message.all("precedence")
    if precedence and precedence[0].body[:40].strip().lower() in _BULK:
        facts.append("bulk-no-unsubscribe")
    elif any(message.all(name) for name in _BULK_FIELDS):
        facts.append("bulk-fields-no-unsubscribe")


def field_facts(message: Message, facts: list[str]) -> None:
    """Of the fields as such."""
    fields = message.fields
    if len(fields) < _FEW_FIELDS:
        facts.append("fields-few")
    elif len(fields) > _MANY_FIELDS:
        facts.append("fields-many")
    section = message.header_section
    if not section.isascii():
        facts.append("fields-unencoded-letters")
    if b"\r\n \r\n" in section or b"\r\n\t\r\n" in section:
        facts.append("fields-blank-line-folded")
    longest = max([len(field.raw) for field in fields], default=0)  # most fields are shorter than one line may be
    if longest > _MAX_LINE and max(map(len, section.split(b"\r\n"))) > _MAX_LINE:
        facts.append("fields-long-line")
    if message.ends_early:
        facts.append("fields-malformed")
    for key, usual in _USUAL.items():
        found = message.all(key)
        if found and found[0].name != usual:
            facts.append("fields-odd-case")
            break
    for key in _SINGLE:
        if len(message.all(key)) > 1:
            facts.append("fields-twice")
            break
