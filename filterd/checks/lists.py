"""Is the client on this site's own allow or block list?  Address, network or range.

Owns: the look-up.  Must not know: where entries are kept, what being listed leads to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from filterd.checks.base import CheckContext
from filterd.mail.envelope import IPAddress
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.network import parse_range

Kind = Literal["allow", "block"]


class NetworkTable:
    """Networks by prefix length: a look-up costs one dictionary access per length in use."""

    def __init__(self, entries: Iterable[tuple[str, Kind, str]] = ()) -> None:
        """`entries`: (address, network or first-last; allow or block; comment).  Raises ValueError for anything else.

        A range counts as the networks it is made of, and of each of them the most specific one decides.
        """
        self._by_length: dict[tuple[int, int], dict[int, tuple[Kind, str]]] = {}
        for text, kind, comment in entries:
            for network in parse_range(text):
                table = self._by_length.setdefault((network.version, network.prefixlen), {})
                key = int(network.network_address)
                if table.get(key, ("block", ""))[0] == "block":  # allow wins over block for the same network
                    table[key] = (kind, comment)
        self._lengths = sorted(self._by_length, key=lambda item: -item[1])

    def look_up(self, address: IPAddress) -> tuple[Kind, str] | None:
        """(allow or block, comment) of the most specific network that holds `address`."""
        bits = 32 if address.version == 4 else 128
        number = int(address)
        for version, length in self._lengths:
            if version != address.version:
                continue
            shift = bits - length
            entry = self._by_length[version, length].get(number >> shift << shift)
            if entry is not None:
                return entry
        return None


@dataclass(slots=True)
class Lists:
    """The check; `table` is replaced as a whole when entries change."""

    table: NetworkTable
    name: ClassVar[str] = "lists"
    stage: ClassVar[Stage] = Stage.CONNECT
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        entry = self.table.look_up(ctx.connection.client_ip)
        if entry is None:
            return ()
        kind, comment = entry
        allowed = kind == "allow"
        return (
            Evidence(
                self.name,
                self.stage,
                Result.PASS if allowed else Result.FAIL,
                Reason.ALLOW_LISTED if allowed else Reason.BLOCK_LISTED,
                Scope.CONNECTION,
                log_text=comment,
            ),
        )
