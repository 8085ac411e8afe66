"""Owns the interfaces of what is remembered of traffic: counts, clients, correspondents, campaigns.  Must not know any implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from filterd.deadline import Deadline
from filterd.ports.custody import TerminalState

# ---------------------------------------------------------------- who may do how much


class Tallies(Protocol):
    """Counts what clients do, all workers of this machine together, in bounded memory; never waits and never fails.

    `kind` is a short name of ours (connections, messages …), `value` what is counted (a client network, a reverse-path).
    What is long past or no longer open is forgotten; under a flood of values some counts may start anew.
    """

    def enter(self, kind: str, value: str) -> int:
        """One more is open; how many are now.  The process's end closes what it left open."""
        ...

    def leave(self, kind: str, value: str) -> None:
        """One that was entered is over."""
        ...

    def add(self, kind: str, value: str, amount: int = 1, seconds: int = 60) -> int:
        """`amount` more have happened; how many in the last `seconds`, these too.  One kind has always the same seconds."""
        ...

    def count(self, kind: str, value: str, seconds: int = 60) -> int:
        """How many have happened in the last `seconds`."""
        ...


class Greylist(Protocol):
    """Remembers first attempts, clients that came again, and senders whose mail was taken; shared by all nodes.

    Times are Unix milliseconds.  Every method raises TemporaryError when the memory is not available in time.
    """

    async def attempt(self, network: str, mail_from: str, recipient: str, at_ms: int, deadline: Deadline) -> int:
        """When this triplet was first tried: `at_ms` if never, or not within greylist.retry_hours."""
        ...

    async def knows_client(self, network: str, at_ms: int, deadline: Deadline) -> bool:
        """Whether this client came again after a delay, within greylist.keep_days."""
        ...

    async def knows_sender(self, domain: str, at_ms: int, deadline: Deadline) -> bool:
        """Whether mail of this domain that passed SPF was taken, within greylist.keep_days."""
        ...

    async def remember_client(self, network: str, at_ms: int, deadline: Deadline) -> None:
        """This client came again after the delay."""
        ...

    async def remember_sender(self, domain: str, at_ms: int, deadline: Deadline) -> None:
        """Mail of this domain passed SPF and was taken.  Cheap when that is known already."""
        ...


# ---------------------------------------------------------------- correspondents


class Correspondents(Protocol):
    """Remembers whom our own people write to; shared by all nodes, addresses only as keyed hashes.  Times are Unix milliseconds."""

    async def knows(self, address: str, at_ms: int, deadline: Deadline) -> bool:
        """Whether somebody here wrote to `address` within outbound.correspondent_days.  Raises TemporaryError."""
        ...

    async def remember(self, addresses: Sequence[str], at_ms: int, deadline: Deadline) -> None:
        """Somebody here has written to these.  Raises TemporaryError."""
        ...


# ---------------------------------------------------------------- campaigns


@dataclass(frozen=True, slots=True)
class CampaignSighting:
    """One message that has its end, for the index of near-duplicates.

    Attributes:
        message_id: our id; counted once, however often it is added.
        at_ms: Unix milliseconds at which it came.
        state: FORWARDED, QUARANTINED or REJECTED.
        keys, sketch: of content.fingerprint.
    """

    message_id: str
    at_ms: int
    state: TerminalState
    keys: tuple[int, ...]
    sketch: bytes
    header_from: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """To which campaign a message belongs.

    Attributes:
        campaign: id of the campaign, which is that of its first message.
        like_hour: messages like it that had been counted before it for its clock hour and the one before.
        like_day: … for its clock hour and the 24 before.
        messages: of the campaign until now; 1 when nothing like it has come, 0 when the campaign itself is forgotten.
    """

    campaign: str
    like_hour: int
    like_day: int
    messages: int


class Campaigns(Protocol):
    """The index of near-duplicates, shared by all nodes.  Blocks: not for the mail path itself."""

    def add(self, sightings: Sequence[CampaignSighting]) -> None:
        """Count these messages, each in the campaign that it is most like, or in a new one.

        All or nothing.  Raises TemporaryError; then nothing was written.
        """
        ...

    def of_message(self, message_id: str) -> Membership | None:
        """To which campaign a message belongs; None when it was not counted, or is forgotten.  Raises TemporaryError."""
        ...
