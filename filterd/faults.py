"""Owns the named points of the hand-over at which a test may end the process or let the disk fail.

It is in the product because only the real code, in the real processes, can show what a death between two steps leaves behind.
Without FILTERD_FAULTS in the environment every point is one look into an empty dict, and nothing else can arm one: no key, no
option, no request.  With it, each worker says so in its log.  Must not know what happens at its points.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import signal
from collections.abc import Callable, Mapping

from filterd.errors import ConfigError

log = logging.getLogger(__name__)

VARIABLE = "FILTERD_FAULTS"

# Every await of the hand-over lies between two of these, in this order.  docs/custody.md says what a death there means.
POINTS: Mapping[str, str] = {
    "handoff.started": "the message is decided about, and nothing is written",
    "custody.taken": "the writer has a batch, and no transaction is open",
    "custody.written": "all rows of a batch are written and not committed",
    "custody.committed": "a batch is committed, and nobody who waits for it knows",
    "handoff.begun": "the ledger has the message, open",
    "upstream.connecting": "a connection to upstream is about to be opened",
    "upstream.connected": "upstream has greeted and answered EHLO",
    "upstream.mail": "upstream has answered MAIL",
    "upstream.rcpt": "upstream has answered for every recipient",
    "upstream.ready": "upstream waits for the message, and nothing of it has left",
    "upstream.sending": "a part of the message has left, and more is to come",
    "upstream.sent": "the end of the message is handed to the socket, and upstream has not answered it",
    "upstream.taken": "upstream has answered the message",
    "handoff.next": "upstream has the copies of some recipients, and those of others with other fields come next",
    "handoff.delivered": "upstream's answer is known, and nothing of it is written",
    "bodies.written": "a body is in its temporary file, not yet synced",
    "bodies.named": "a body has its file and name on disk, and no row",
    "handoff.finished": "the terminal states are durable, and the client has no answer",
    "smtp.answering": "the answer to the message is known, and nothing of it is written",
    "smtp.answered": "the answer to the message is handed to the socket",
}

_WORD = re.compile(r"([a-z.]{1,40})=([a-z]{1,10})(?:@([1-9][0-9]{0,5}))?")
_Act = Callable[[str], None]


def _kill(name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(number: int) -> _Act:
    def act(name: str) -> None:
        raise OSError(number, f"{os.strerror(number)} (armed by {VARIABLE})", name)

    return act


def _crash(name: str) -> None:
    raise RuntimeError(f"{name}: armed by {VARIABLE}")


_ACTIONS: Mapping[str, _Act] = {
    "kill": _kill,
    "eio": _fail(errno.EIO),
    "enospc": _fail(errno.ENOSPC),
    "crash": _crash,
}


class _Fault:
    """What happens at one point: at the `nth` time only, or each time when that is 0."""

    def __init__(self, name: str, action: str, nth: int) -> None:
        self._name = name
        self._action = action
        self._nth = nth
        self._times = itertools.count(1)  # next() is one step for several threads, unlike adding 1 to a number

    def __call__(self) -> None:
        if self._nth in (0, next(self._times)):
            log.error("armed fault", extra={"point": self._name, "action": self._action})
            _ACTIONS[self._action](self._name)


_armed: dict[str, _Fault] = {}


def reach(name: str) -> None:
    """Say that the point `name` is reached.  Raises what a test armed there, and nothing otherwise."""
    if name in _armed:
        _armed[name]()


def arm(text: str) -> None:
    """Arm "POINT=ACTION[@NTH]" for each of the parts between semicolons, and nothing else; "" disarms all.

    ACTION is kill (SIGKILL to this process), eio or enospc (OSError) or crash (RuntimeError); it is done at the NTH time that
    this process reaches the point, without NTH each time.  Raises ConfigError that names what cannot be used.
    """
    faults, problems = {}, []
    for word in filter(None, (part.strip() for part in text.split(";"))):
        match = _WORD.fullmatch(word)
        if match is None:
            problems.append(f"{VARIABLE}: expected POINT=ACTION[@NTH], found {word[:80]!r}")
        elif match[1] not in POINTS:
            problems.append(f"{VARIABLE}: expected a point of {', '.join(POINTS)}, found {match[1]!r}")
        elif match[2] not in _ACTIONS:
            problems.append(f"{VARIABLE}: expected an action of {', '.join(_ACTIONS)}, found {match[2]!r}")
        elif match[1] in faults:
            problems.append(f"{VARIABLE}: expected each point once, found {match[1]!r} again")
        else:
            faults[match[1]] = _Fault(match[1], match[2], int(match[3] or 0))
    if problems:
        raise ConfigError(problems)
    _armed.clear()
    _armed.update(faults)


def warn_if_armed() -> None:
    """One line in the log that nobody overlooks, when anything is armed."""
    if _armed:
        log.critical(
            "FAULTS ARE ARMED: this process fails on purpose; never let it see real mail",
            extra={"variable": VARIABLE, "points": sorted(_armed)},
        )


# Here and not in a command: what is armed must not depend on who asked first, and a wrong word must end every process at once.
try:
    arm(os.environ.get(VARIABLE, ""))
except ConfigError as error:
    raise SystemExit(f"filterd: {error}") from None
