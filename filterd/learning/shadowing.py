"""Owns when a model that scores beside the one in use has shown enough, and whether what it showed stops it.  Pure.

Must not know how a message is decided again, nor where the counts are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

_HOUR_MS = 3_600_000


class Outcome(StrEnum):
    """What a look at a shadow comes to."""

    WAITING = "waiting"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Compared:
    """How far live mail was compared.

    Attributes:
        started_ms: Unix milliseconds from which the model scores beside the one in use.
        cursor: last row of the ledger that was looked at; None before the first look.
        messages: that both have scored.
        stricter, milder: those of them for which something stricter, or milder, would have been done.
        wanted: stricter ones that people have reported as spam: to stop them is what it was made for.
        changes: number of flips by "action -> would".
        text: what it came to so far, for people.
        ready: whether it has shown enough, and nothing stops it.
    """

    started_ms: int
    cursor: int | None = None
    messages: int = 0
    stricter: int = 0
    milder: int = 0
    wanted: int = 0
    changes: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    ready: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], started_ms: int) -> Compared:
        """What `as_dict` wrote; a shadow that nobody has looked at yet began at `started_ms`."""
        cursor = data.get("cursor")
        return cls(
            started_ms=int(data.get("started_ms", started_ms)),
            cursor=None if cursor is None else int(cursor),
            messages=int(data.get("messages", 0)),
            stricter=int(data.get("stricter", 0)),
            milder=int(data.get("milder", 0)),
            wanted=int(data.get("wanted", 0)),
            changes={str(key): int(count) for key, count in dict(data.get("changes", {})).items()},
            text=str(data.get("text", "")),
            ready=bool(data.get("ready", False)),
        )

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "started_ms": self.started_ms,
            "cursor": self.cursor,
            "messages": self.messages,
            "stricter": self.stricter,
            "milder": self.milder,
            "wanted": self.wanted,
            "changes": dict(self.changes),
            "text": self.text,
            "ready": self.ready,
        }

    def with_message(self, action: str, would: str, strictness: int, wanted: bool = False) -> Compared:
        """One message more; `strictness` is above 0 when `would` is stricter than `action`, 0 when they are equal.

        `wanted`: people say that it is spam.
        """
        changes = dict(self.changes)
        if strictness:
            key = f"{action} -> {would}"
            changes[key] = changes.get(key, 0) + 1
        return replace(
            self,
            messages=self.messages + 1,
            stricter=self.stricter + (strictness > 0),
            milder=self.milder + (strictness < 0),
            wanted=self.wanted + (strictness > 0 and wanted),
            changes=changes,
        )


def judge(compared: Compared, at_ms: int, hours: int, messages: int, most_stricter: float) -> tuple[Outcome, str]:
    """(what it comes to, the same for people).

    Args:
        hours, messages: how long it must have scored, and how many.
        most_stricter: share of the messages whose verdict may become stricter, without the wanted ones.
    """
    share = (compared.stricter - compared.wanted) / compared.messages if compared.messages else 0.0
    percent = f"{100 * share:.2g} %"
    if compared.wanted:
        percent = f"{compared.wanted} reported as spam, others {percent}"
    seen = f"{compared.messages} messages, {compared.stricter} stricter ({percent}), {compared.milder} milder"
    passed = (at_ms - compared.started_ms) / _HOUR_MS
    if passed < hours or compared.messages < messages:
        return Outcome.WAITING, f"{seen}; {max(0.0, passed):.0f} of {hours} hours, needs {messages} messages"
    if share > most_stricter:
        return Outcome.REFUSED, f"{seen}; more than {100 * most_stricter:g} % would be judged stricter"
    return Outcome.READY, f"{seen}; within {100 * most_stricter:g} %"
