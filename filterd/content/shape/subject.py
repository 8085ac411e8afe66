"""Owns the shape of the Subject: tricks of writing, not its words.  RFC 5322 3.6.5, RFC 2047.

Must not know what a subject is about: that is the classifier's matter.
"""

from __future__ import annotations

import re

from filterd.mail.message import Message

_MAX_VALUE = 1_000  # characters that are read
_LONG = 150  # characters

_REPLY = re.compile(r"(?:re|aw|sv|antw|ref|vs)(?:\[\d{1,3}\])?\s{0,3}:", re.I)
_PADDED = re.compile("\\S[ \t\u00a0\u3000]{4,}\\S")
_SPACED = re.compile(r"(?:^|\s)(?:[A-Za-z0-9][ ._*-]){4,}[A-Za-z0-9](?:\s|$)")
_CODE = re.compile(r"[\[(]?(?=[a-z]{0,30}[0-9])(?=[0-9]{0,30}[a-z])[a-z0-9]{6,30}[\])]?", re.I)
_DIGIT = re.compile(r"[0-9]")
_ENCODED = re.compile(r"=\?([a-z0-9_-]{1,40})(?:\*[a-z-]{1,20})?\?([bq])\?([^?\s]{0,200})\?=", re.I)
_PLAIN_Q = re.compile(r"[a-z0-9_.,:;!-]{1,200}", re.I)
_MONEY = re.compile(r"[$€£]\s?\d|\d\s?(?:[$€£]|usd|eur|gbp)\b", re.I)
_PERCENT = re.compile(r"\d\s?%")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_LETTERS = re.compile(r"[^\W\d_]")
_PICTURE = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff]")


def subject_facts(message: Message, facts: list[str]) -> None:
    """Of the Subject field."""
    fields = message.all("subject")
    if not fields:
        facts.append("subject-missing")
        return
    raw = fields[0].value[:_MAX_VALUE]
    if not raw:
        facts.append("subject-empty")
        return
    text = raw
    if "=?" in raw:
        words = _ENCODED.findall(raw)
        if len({charset.lower() for charset, _, _ in words}) > 1:
            facts.append("subject-mixed-charsets")
        if words and all(kind in "qQ" and _PLAIN_Q.fullmatch(piece) for _, kind, piece in words):
            facts.append("subject-encoded-for-nothing")
        text = message.subject
        if text.isascii() and words and any(kind in "bB" for _, kind, _ in words):
            facts.append("subject-base64-for-nothing")
    elif not raw.isascii():
        facts.append("subject-unencoded-letters")
    if not text.isascii():
        if _UNSEEN.search(text):
            facts.append("subject-unseen-characters")
        if _PICTURE.search(text):
            facts.append("subject-picture")
    if _REPLY.match(text):
        if not message.all("in-reply-to") and not message.all("references"):
            facts.append("subject-re-without-reference")
    elif message.all("in-reply-to"):
        facts.append("subject-reference-without-re")
    if ("    " in text or "\t" in text or not text.isascii()) and _PADDED.search(text):
        facts.append("subject-padded")
    if _SPACED.search(text):
        facts.append("subject-spaced-letters")
    if len(text) > _LONG:
        facts.append("subject-long")
    if text.isupper() and len(_LETTERS.findall(text)) >= 10:
        facts.append("subject-all-capitals")
    if "!" in text:
        facts.append("subject-exclaims-twice" if text.count("!") > 1 else "subject-exclaims")
    if "?" in text and ("??" in text or "?!" in text):
        facts.append("subject-asks-twice")
    if _DIGIT.search(text):
        if _CODE.fullmatch(text.rpartition(" ")[2]):
            facts.append("subject-code-at-end")
        if _MONEY.search(text):
            facts.append("subject-money")
        if _PERCENT.search(text):
            facts.append("subject-percent")
