"""Owns the arguments of MAIL and RCPT: text in, a value or the reply that says what is wrong out.

RFC 5321 4.1.1.2, 4.1.1.3, 4.1.2; RFC 1870, 3461, 4954, 6152, 6531.  What is tolerated is listed in
docs/smtp.md.  Must not know the state of the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from filterd.mail.address import Mailbox, parse_mailbox, split_path
from filterd.mail.envelope import Recipient
from filterd.mail.reply import Reply

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")  # RFC 5321 4.1.2
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"  # RFC 3461 section 4
# Parameter -> (EHLO keyword that offers it, what its value must look like; None: no value).
_Table = dict[str, tuple[str, re.Pattern[str] | None]]
_MAIL: _Table = {
    "SIZE": ("SIZE", re.compile(r"[0-9]{1,20}")),
    "BODY": ("8BITMIME", re.compile(r"(?i:7BIT|8BITMIME)")),
    "RET": ("DSN", re.compile(r"(?i:FULL|HDRS)")),
    "ENVID": ("DSN", re.compile(rf"{_XTEXT}{{1,100}}")),
    "SMTPUTF8": ("SMTPUTF8", None),
    "AUTH": ("AUTH", re.compile(rf"<>|{_XTEXT}{{1,500}}")),  # RFC 4954 5: to be taken wherever AUTH is; not passed on
}
_RCPT: _Table = {
    "NOTIFY": ("DSN", re.compile(r"(?i:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2})")),
    "ORCPT": ("DSN", re.compile(rf"[A-Za-z0-9-]{{1,40}};(?:{_XTEXT}|[\u0080-\U0010ffff]){{1,500}}")),
}
# Controls, unusual spaces, direction marks: nobody can see them in a log, and some end lines elsewhere.
_UNPRINTABLE = Reply(501, "5.5.4", "Characters that cannot be printed are not allowed here")
_NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "Characters beyond ASCII: MAIL needs the SMTPUTF8 parameter")


@dataclass(frozen=True, slots=True)
class MailArguments:
    """What MAIL said.

    Attributes:
        reverse_path: None is the null reverse-path.
        parameters: as written.
        size: what SIZE declared, in octets; 0 when it did not.
        smtputf8: whether addresses may be internationalized.
    """

    reverse_path: Mailbox | None
    parameters: tuple[str, ...]
    size: int
    smtputf8: bool


def parse_mail(argument: str, extensions: Collection[str]) -> MailArguments | Reply:
    """The argument of MAIL, where `extensions` were offered (none after HELO)."""
    if not argument.isprintable():
        return _UNPRINTABLE
    if argument[:5].upper() != "FROM:":
        return Reply(501, "5.5.4", "Syntax: MAIL FROM:<address>")
    split = split_path(argument[5:])
    if split is None:
        return Reply(501, "5.1.7", "Reverse-path must be in angle brackets: MAIL FROM:<user@example.org>")
    path, rest = split
    parameters = _parameters(rest, _MAIL, extensions)
    if isinstance(parameters, Reply):
        return parameters
    reverse_path = None
    if path:
        reverse_path = parse_mailbox(path)
        if reverse_path is None:
            return Reply(501, "5.1.7", "Reverse-path is not a valid address")
        if not path.isascii() and "SMTPUTF8" not in parameters:
            return _NEEDS_SMTPUTF8
    return MailArguments(reverse_path, tuple(rest.split()), int(parameters.get("SIZE") or 0), "SMTPUTF8" in parameters)


def parse_rcpt(argument: str, extensions: Collection[str], smtputf8: bool, hostname: str) -> Recipient | Reply:
    """The argument of RCPT.  <Postmaster> without a domain is ours (RFC 5321 4.1.1.3): it gets `hostname`."""
    if not argument.isprintable():
        return _UNPRINTABLE
    if argument[:3].upper() != "TO:":
        return Reply(501, "5.5.4", "Syntax: RCPT TO:<address>")
    split = split_path(argument[3:])
    if split is None:
        return Reply(501, "5.1.3", "Forward-path must be in angle brackets: RCPT TO:<user@example.org>")
    path, rest = split
    parameters = _parameters(rest, _RCPT, extensions)
    if isinstance(parameters, Reply):
        return parameters
    mailbox = Mailbox(path, hostname) if path.lower() == "postmaster" else parse_mailbox(path)
    if mailbox is None:
        return Reply(501, "5.1.3", "Forward-path is not a valid address")
    if not smtputf8 and not (path.isascii() and rest.isascii()):  # the rest: ORCPT (RFC 6533 section 3)
        return _NEEDS_SMTPUTF8
    return Recipient(mailbox, tuple(rest.split()))


def _parameters(text: str, table: _Table, extensions: Collection[str]) -> dict[str, str] | Reply:
    """Keyword -> value of every parameter, or the reply about the first bad one."""
    found: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            return Reply(501, "5.5.4", "Malformed parameter")
        keyword, value = match[1].upper(), match[2] or ""
        extension, pattern = table.get(keyword, ("", None))
        if extension not in extensions:
            return Reply(555, "5.5.4", f"Parameter {keyword[:20]} is not supported")
        good = pattern.fullmatch(value) if pattern else not value
        if not good or keyword in found:
            return Reply(501, "5.5.4", f"Parameter {keyword} has a bad value" if not good else f"{keyword} given twice")
        found[keyword] = value
    return found
