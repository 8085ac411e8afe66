"""Owns the words of a login: AUTH PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login), lines of RFC 4954 section 4 in, steps out.

Must not know accounts, TLS, nor how often somebody may try.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Protocol

from filterd.mail.reply import Reply

MAX_LINE = 12_288  # octets of one line, RFC 4954 section 4
MAX_USER = 255  # octets; RFC 4616 section 2 asks for at least 255
MAX_PASSWORD = 1024  # octets; far above any pass phrase, and what a hash has to work through

_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
_NOT_BASE64 = Reply(501, "5.5.2", "Cannot decode the base64 of this line")
_MALFORMED = Reply(501, "5.5.2", "Malformed authentication exchange")
_TOO_LONG = Reply(500, "5.5.6", "Authentication exchange line is too long")  # RFC 4954 section 6
_INVALID = Reply(535, "5.7.8", "Authentication credentials invalid")


@dataclass(frozen=True, slots=True)
class Challenge:
    """Say 334 and `text`, then give the client's next line to `step`.

    Attributes:
        text: base64, may be empty.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The exchange is complete.

    Attributes:
        user: 1..MAX_USER octets of UTF-8 without NUL, otherwise as the client wrote it.
        password: 1..MAX_PASSWORD octets of UTF-8 without NUL; never printed with this object.
    """

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """The exchange is over without credentials.

    Attributes:
        reason: for the log; holds nothing of what the client sent.
        reply: what the client is told.
    """

    reason: str
    reply: Reply


Step = Challenge | Credentials | Fault


class Mechanism(Protocol):
    """One exchange; an object serves for one, `start` comes first.  Neither method ever raises."""

    def start(self, initial: str | None) -> Step:
        """The step after the AUTH command with this initial response; None when it had none, "=" for an empty one."""
        ...

    def step(self, line: str) -> Step:
        """The step after a line (without CRLF) that answers a challenge; "*" cancels."""
        ...


class Plain:
    """PLAIN: [authorization identity] NUL user NUL password, at once.  See Mechanism."""

    def __init__(self) -> None:
        self._waiting = False

    def start(self, initial: str | None) -> Step:
        """See Mechanism.start."""
        if initial is None:
            self._waiting = True
            return Challenge("")
        return self._read(_initial(initial))

    def step(self, line: str) -> Step:
        """See Mechanism.step."""
        if not self._waiting:
            return _out_of_turn()
        self._waiting = False
        return self._read(_answer(line))

    def _read(self, message: bytes | Fault) -> Step:
        if isinstance(message, Fault):
            return message
        parts = message.split(b"\0", 3)
        if len(parts) != 3:
            return Fault("PLAIN message has not three parts", _MALFORMED)
        identity, user, password = parts
        if identity not in (b"", user):  # nobody here may act for somebody else
            return Fault("authorization identity differs from the user", _INVALID)
        return _credentials(user, password)


class Login:
    """LOGIN: asks for the user, then for the password.  See Mechanism."""

    # The draft's own prompts: some clients look at them to know what is asked for.
    _USERNAME = base64.b64encode(b"Username:").decode()
    _PASSWORD = base64.b64encode(b"Password:").decode()

    def __init__(self) -> None:
        self._asked = ""
        self._user = b""

    def start(self, initial: str | None) -> Step:
        """See Mechanism.start; an initial response is the user, which the draft does not know but clients send."""
        if initial is None:
            self._asked = self._USERNAME
            return Challenge(self._USERNAME)
        return self._take_user(_initial(initial))

    def step(self, line: str) -> Step:
        """See Mechanism.step."""
        asked, self._asked = self._asked, ""
        if not asked:
            return _out_of_turn()
        answer = _answer(line)
        if asked == self._USERNAME:
            return self._take_user(answer)
        return answer if isinstance(answer, Fault) else _credentials(self._user, answer)

    def _take_user(self, answer: bytes | Fault) -> Step:
        if isinstance(answer, Fault):
            return answer
        self._user, self._asked = answer, self._PASSWORD
        return Challenge(self._PASSWORD)


MECHANISMS: dict[str, type[Plain] | type[Login]] = {"PLAIN": Plain, "LOGIN": Login}  # keyword of AUTH, upper case


def _out_of_turn() -> Fault:
    return Fault("no answer was asked for", _MALFORMED)


def _initial(text: str) -> bytes | Fault:
    return b"" if text == "=" else _decode(text)


def _answer(line: str) -> bytes | Fault:
    return Fault("cancelled by the client", _CANCELLED) if line == "*" else _decode(line)


def _decode(text: str) -> bytes | Fault:
    if len(text) > MAX_LINE:
        return Fault(f"line is longer than {MAX_LINE} octets", _TOO_LONG)
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one
        return Fault("line is not base64", _NOT_BASE64)


def _credentials(user: bytes, password: bytes) -> Step:
    for name, value, limit in (("user", user, MAX_USER), ("password", password, MAX_PASSWORD)):
        if not value:
            return Fault(f"{name} is empty", _INVALID)
        if len(value) > limit:
            return Fault(f"{name} is longer than {limit} octets", _INVALID)
        if b"\0" in value:
            return Fault(f"{name} has a NUL", _MALFORMED)
    try:
        return Credentials(user.decode(), password.decode())
    except UnicodeDecodeError:
        return Fault("user or password is not UTF-8", _MALFORMED)
