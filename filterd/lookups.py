"""Owns what one connection or mail transaction asked DNS: how much it may ask, and every answer it got.

The answers go into the evidence record, so that checks can be run again later without DNS (`RecordedResolver`).
Must not know who asked, nor what an answer means for mail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import DnsAnswer, DnsStatus, Resolver

# Different questions of one message.  RFC 7208 4.6.4 lets one SPF check cost 111 (ten mx of ten names), and there are
# two; real mail asks 10 to 20.  Above it the rest is unknown, never guilty (TemporaryError "budget").
BUDGET = 250
MAX_RECORDED = 65_536  # octets of records kept of one message: a hostile zone shall not fill the ledger's disk

_Key = tuple[str, str]


class Lookups:
    """The notebook of one connection or transaction: distinct questions, in the order in which they were answered."""

    def __init__(self, budget: int = BUDGET) -> None:
        """`budget`: how many different questions may be asked."""
        self._budget = budget
        self._asked: set[_Key] = set()
        self._noted: dict[_Key, dict[str, Any]] = {}
        self._room = MAX_RECORDED

    def of(self, resolver: Resolver, share: float = 1.0) -> Resolver:
        """`resolver`, with everything asked through it noted here and counted; `share` of the budget is all that it gets."""
        return _Noted(self, resolver, max(1, int(self._budget * share)))

    @property
    def asked(self) -> int:
        """How many different questions were asked."""
        return len(self._asked)

    def record(self) -> list[dict[str, Any]]:
        """What was answered, as JSON: name, type, status (also servfail, timeout, refused …), records, ttl, authentic.

        An answer for which there was no room stands there with `cut` in place of its records.
        """
        return list(self._noted.values())

    def spend(self, key: _Key, left: int) -> bool:
        """Whether the question is a new one, of which `left` may be asked.  Raises TemporaryError("budget")."""
        if key in self._asked:
            return False
        if left <= 0 or len(self._asked) >= self._budget:
            raise TemporaryError(f"no DNS look-ups are left of the {self._budget} for this message", "budget")
        self._asked.add(key)
        return True

    def note(self, key: _Key, outcome: DnsAnswer | TemporaryError) -> None:
        """What came of it; an answer is never replaced by a failure that a later, hastier question met."""
        entry: dict[str, Any] = {"name": key[0], "type": key[1]}
        if isinstance(outcome, TemporaryError):
            if key not in self._noted:
                self._noted[key] = {**entry, "status": outcome.kind}
            return
        entry |= {"status": outcome.status.value, "ttl": outcome.ttl, "authentic": outcome.authentic}
        before = self._noted.get(key)
        if before is not None and "ttl" in before:
            return
        size = sum(map(len, outcome.records))
        if size > self._room:
            entry["cut"] = True
        else:
            self._room -= size
            entry["records"] = list(outcome.records)
        self._noted[key] = entry


@dataclass(slots=True)
class _Noted:
    """A Resolver that notes; `left`: new questions that may be asked through it."""

    lookups: Lookups
    resolver: Resolver
    left: int

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        key = _key(name, rdtype)
        self.left -= self.lookups.spend(key, self.left)
        try:
            answer = await self.resolver.query(name, rdtype, deadline)
        except TemporaryError as error:
            self.lookups.note(key, error)
            raise
        self.lookups.note(key, answer)
        return answer


class RecordedResolver:
    """A Resolver that answers from `Lookups.record`; what was not asked then is unknown now (kind "unrecorded").

    Of several outcomes of one question (that of the connection, that of the transaction) an answer counts before a failure.
    """

    def __init__(self, recorded: Iterable[Mapping[str, Any]]) -> None:
        self._recorded: dict[_Key, Mapping[str, Any]] = {}
        for entry in recorded:
            key = _key(str(entry["name"]), str(entry["type"]))
            if "records" in entry or "records" not in self._recorded.get(key, {}):
                self._recorded[key] = entry

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        """The recorded answer or failure."""
        entry = self._recorded.get(_key(name, rdtype))
        if entry is None or entry.get("cut"):
            raise TemporaryError(f"the answer for {rdtype} of {name[:100]} was not recorded", "unrecorded")
        if "ttl" not in entry:
            raise TemporaryError(f"there was no answer for {rdtype} of {name[:100]}", str(entry["status"]))
        return DnsAnswer(
            DnsStatus(entry["status"]), tuple(entry["records"]), int(entry["ttl"]), bool(entry["authentic"])
        )


def _key(name: str, rdtype: str) -> _Key:
    # outside ASCII, lower() would make an ASCII name of another one (k of the Kelvin sign), whose answer it would then be
    return (name.lower() if name.isascii() else name).removesuffix("."), rdtype.upper()
