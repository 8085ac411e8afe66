"""Owns reading what others state in Authentication-Results and ARC-Authentication-Results.  RFC 8601 2.2, RFC 8617 4.1.1.

A tolerant, linear reader: what is no result is left out, nothing is an error.  Must not know whom to believe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_PAYLOAD = 16_384  # octets; of a longer one nothing is read
MAX_RESULTS = 100  # statements of one payload that are read; real ones have up to 20
# Escaped character, special, run of blanks, run of anything else.  Every character is in exactly one of them.
_PIECE = re.compile(r"""\\.?|["();=]|[ \t\r\n]+|[^"();=\\ \t\r\n]+""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method's result, as stated.

    Attributes:
        method: lower-case, without version.
        result: lower-case.
        properties: by lower-case name ("header.from", "reason"); of a repeated one the first.
    """

    method: str
    result: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StatedResults:
    """One payload: who states it (lower-case), and what."""

    authserv_id: str
    results: tuple[MethodResult, ...] = ()

    def of(self, method: str) -> list[MethodResult]:
        """All results of that method."""
        return [result for result in self.results if result.method == method]


class _Statement:
    """What stands between two ";", read word by word: (word, None), and (name, value) for `name = value`."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str | None]] = []
        self._word: list[str] = []
        self._name: str | None = None  # "=" stands after it, and its value has not ended

    def add(self, text: str) -> None:
        self._word.append(text)

    def equals(self) -> None:
        if self._name is not None and self._word:
            self._word.append("=")  # within a value: base64, a mailbox
            return
        self.end_word()
        if self._name is None and self.items and self.items[-1][1] is None:
            self._name = self.items.pop()[0].lower()

    def end_word(self) -> None:
        if self._word:
            text = "".join(self._word)
            self.items.append((text, None) if self._name is None else (self._name, text))
            self._word, self._name = [], None

    def result(self) -> MethodResult | None:
        """The result, if `method = value` stands first; later words without "=" do not matter."""
        method, value = self.items[0] if self.items else ("", None)
        if value is None:
            return None
        properties: dict[str, str] = {}
        for name, stated in self.items[1:]:
            if stated is not None:
                properties.setdefault(name, stated)
        return MethodResult(method.partition("/")[0], value.lower(), MappingProxyType(properties))


def read_results(payload: bytes) -> StatedResults:
    """What stands after the name of the field (for ARC: after its instance)."""
    if len(payload) > MAX_PAYLOAD:
        return StatedResults("")
    first, *others = _statements(payload.decode("utf-8", "replace"))
    authserv_id = first.items[0][0].lower() if first.items and first.items[0][1] is None else ""
    results = [result for statement in others if (result := statement.result()) is not None]
    return StatedResults(authserv_id, tuple(results))


def _statements(text: str) -> list[_Statement]:
    """At least one.  A comment or quoted string without end takes the rest with it: nothing in it is a result."""
    statements = [_Statement()]
    depth, quoted = 0, False
    for match in _PIECE.finditer(text):
        piece, statement = match[0], statements[-1]
        if quoted:
            if piece == '"':
                quoted = False
            else:
                statement.add(piece[1:] if piece[0] == "\\" else piece)
        elif depth:
            depth += {"(": 1, ")": -1}.get(piece, 0)
        elif piece == "(" or piece[0] in " \t\r\n":
            statement.end_word()
            depth = int(piece == "(")
        elif piece == '"':
            quoted = True
        elif piece == "=":
            statement.equals()
        elif piece == ";":
            statement.end_word()
            if len(statements) > MAX_RESULTS:
                break
            statements.append(_Statement())
        else:
            statement.add(piece)
    if not quoted and not depth:
        statements[-1].end_word()
    return statements
