"""Owns the question whether our supervisor still lives.  A part without it would hold its port against the next one.

Must not know what the part does.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
VARIABLE = "FILTERD_SUPERVISOR"  # its process id; a part that a person or a container started has none


async def watch_parent(gone: Callable[[], None]) -> None:
    """Call `gone` once when the process that started us has ended; returns at once when that was no supervisor."""
    if not os.environ.get(VARIABLE, "").isdigit():
        return
    parent = int(os.environ[VARIABLE])
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's death
        await asyncio.sleep(_LOOK_SECONDS)
    log.error("the supervisor is gone, stopping")
    gone()
