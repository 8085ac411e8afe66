"""Owns the file of what is known of Exchange's safelist format: which ways fitted the first known address, which one both.

It is verified by two different addresses, and used only then.  Must not know where the attribute comes from, nor what people are
told.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from filterd.directory.keys import address_key
from filterd.directory.safelist import VARIANTS, Variant, variant_named

log = logging.getLogger(__name__)

_NAME = "safelist.json"
_VERSION = 1
_MAX_BYTES = 65_536  # all 288 names are 9 KB


class State(StrEnum):
    """How far the calibration is."""

    NEW = "new"  # nothing is known
    BEGUN = "begun"  # one address, or ways that both addresses fit
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known.

    Attributes:
        fitting: the ways that every address so far fits; exactly one when it is verified.
        seen: keys of the addresses so far (directory/keys.py): the file holds none.
        begun_ms, verified_ms: Unix milliseconds; 0 for not yet.
    """

    fitting: tuple[Variant, ...] = ()
    seen: tuple[str, ...] = ()
    begun_ms: int = 0
    verified_ms: int = 0

    @property
    def state(self) -> State:
        """How far it is."""
        if self.verified_ms:
            return State.VERIFIED
        return State.BEGUN if self.seen else State.NEW


def with_address(
    known: Calibration, site_key: bytes, address: str, fitting: tuple[Variant, ...], now_ms: int
) -> Calibration:
    """What is known after `fitting` (not empty) were found for `address`.

    The same address again says nothing new.  What contradicts everything before is believed: the calibration begins anew, and
    safe senders are off until it is verified again.
    """
    key = address_key(site_key, address).hex()
    if key in known.seen and set(known.fitting) <= set(fitting):
        return known
    both = tuple(variant for variant in known.fitting if variant in fitting)
    if key in known.seen or not both:  # also at the very beginning
        return Calibration(fitting, (key,), now_ms)
    seen = (*known.seen, key)
    if len(both) > 1:
        return Calibration(both, seen, known.begun_ms)
    return Calibration(both, seen, known.begun_ms, known.verified_ms or now_ms)


def path_of(state_dir: Path) -> Path:
    """The file; who uses what it says looks at its time now and then."""
    return state_dir / "directory" / _NAME


def verified(state_dir: Path) -> Variant | None:
    """The way in which entries become four octets; None until it is verified.  Never raises."""
    known = load(state_dir)
    return known.fitting[0] if known.state is State.VERIFIED else None


def load(state_dir: Path) -> Calibration:
    """What is known; a file that cannot be read is nothing known, with a line in the log."""
    path = path_of(state_dir)
    try:
        with path.open("rb") as file:
            return _read(json.loads(file.read(_MAX_BYTES)))
    except FileNotFoundError:
        return Calibration()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        remedy = "remove it and run `filterd directory calibrate` again; until then safe senders of LDAP are off"
        log.error("safelist calibration unusable", extra={"file": str(path), "error": str(error), "remedy": remedy})
        return Calibration()


def save(state_dir: Path, known: Calibration) -> None:
    """Put it in place: durable and whole, or not at all.  Raises OSError."""
    path = path_of(state_dir)
    document = {
        "version": _VERSION,
        "fitting": [variant.name for variant in known.fitting],
        "seen": list(known.seen),
        "begun_ms": known.begun_ms,
        "verified_ms": known.verified_ms,
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _read(document: dict[str, object]) -> Calibration:
    """Raises ValueError, KeyError or TypeError for anything that `save` did not write."""
    names, seen = document["fitting"], document["seen"]
    begun_ms, verified_ms = document["begun_ms"], document["verified_ms"]
    if document["version"] != _VERSION or not isinstance(names, list) or not isinstance(seen, list):
        raise ValueError("not of this program")
    if not isinstance(begun_ms, int) or not isinstance(verified_ms, int):
        raise ValueError("not of this program")
    fitting = tuple(variant for name in names[: len(VARIANTS)] if (variant := variant_named(str(name))) is not None)
    if len(fitting) != len(names) or bool(seen) != bool(fitting) or (verified_ms and len(fitting) != 1):
        raise ValueError("not of this program")
    return Calibration(fitting, tuple(map(str, seen)), begun_ms, verified_ms)
