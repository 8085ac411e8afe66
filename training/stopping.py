"""Owns what Ctrl-C and SIGTERM do while processes help: noted, and obeyed between two chunks.  Must not know what is done.

An exception out of a signal handler may strike inside joblib's pool, and the pool's own end has races then (joblib 1.6:
KeyError in ExecutorManagerThread): so no new work is given out, what is under way (under a second) comes home, and then
the handler that was there before is called.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked:
    """Whether the end was asked for.

    Attributes:
        number: the signal that asked; None: nobody did.
    """

    def __init__(self) -> None:
        self.number: int | None = None


@contextmanager
def asked_to_end() -> Iterator[Asked]:
    """Note the signals that have a Python handler; on leaving, hand the noted one to that handler.

    A second signal goes to its handler at once: whoever asks twice does not want to wait.  An error on the way out of work
    that was asked to end is a consequence of the end and is given up for it.  Outside the main thread nothing is noted.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    found = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {
        number: handler for number, handler in found.items() if callable(handler)
    }

    def note(number: int, frame: FrameType | None) -> None:
        if asked.number is not None:
            handlers[number](number, frame)
        asked.number = number

    for number in handlers:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if asked.number is not None:
            handlers[asked.number](asked.number, None)
