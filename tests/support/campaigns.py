"""Owns sightings of messages that are more or less alike, for tests of the index.  Not part of the product."""

from __future__ import annotations

import random
from collections.abc import Sequence

from filterd.content.fingerprint import BINS, KEYS
from filterd.ports import CampaignSighting, TerminalState

HOUR = 3_600_000
NOW = 500_000 * HOUR  # the begin of an hour


def bins(text: int | str) -> list[int]:
    """The bins of the text of that number."""
    return [random.Random(f"{text} {number}").randrange(1 << 16) for number in range(BINS)]


def sighting(
    id: str,
    text: int,
    changed: int = 0,
    at_ms: int = NOW,
    state: TerminalState = TerminalState.FORWARDED,
    subject: str = "offer",
    header_from: str = "a@example.com",
) -> CampaignSighting:
    """A message whose text has this number, with so many of its bins changed, the last ones first."""
    same = BINS - changed
    return sighting_of(id, bins(text)[:same] + bins(id)[same:], at_ms, state, subject, header_from)


def sighting_of(
    id: str,
    values: Sequence[int],
    at_ms: int = NOW,
    state: TerminalState = TerminalState.FORWARDED,
    subject: str = "offer",
    header_from: str = "a@example.com",
) -> CampaignSighting:
    """A message with these bins; key n is made of the bins from 8n on, so that a test says which keys are shared."""
    sketch = b"".join(value.to_bytes(2, "little") for value in values)
    parts = [sketch[16 * number : 16 * number + 8] for number in range(KEYS)]
    keys = tuple(int.from_bytes(part, "little", signed=True) for part in parts)
    return CampaignSighting(id, at_ms, state, keys, sketch, header_from, subject)


def exact(id: str, text: int, at_ms: int = NOW) -> CampaignSighting:
    """A message with little text."""
    return CampaignSighting(id, at_ms, TerminalState.FORWARDED, (text,), b"", "a@example.com", "short")
