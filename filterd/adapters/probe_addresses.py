"""Owns the making and checking of addresses for receipts of probes with the site's key as it lies on the disk.

Nothing is remembered: another process, or another node with the same key, knows an address that this one made.
Must not know what a receipt says (filterd/exchange/receipt.py), nor what is done with one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from filterd.adapters.site_key import path_of, site_key
from filterd.errors import ConfigError, TemporaryError
from filterd.exchange.probe_address import NONCE_BYTES, is_fresh, is_genuine, make_local


class ProbeAddresses:
    """Addresses for receipts at any domain, with the key of one site."""

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix seconds."""
        self._state_dir = state_dir
        self._clock = clock

    def make(self, domain: str) -> str:
        """A new address at `domain`; the site's key is made at first use.  Blocks.  Raises ConfigError."""
        key = site_key(self._state_dir)
        return f"{make_local(key, domain, int(self._clock()), secrets.token_bytes(NONCE_BYTES))}@{domain}"

    def knows(self, local: str, domain: str) -> bool:
        """Whether a receipt for a probe of this site may come there now.  Blocks.

        The key is read each time: it may have been made since this process began, by the command that sent the probe.
        Raises TemporaryError when it cannot be read: Exchange shall try again, a receipt is sent only once.
        """
        now = self._clock()
        if not is_fresh(local, now) or not path_of(self._state_dir).exists():
            return False
        try:
            return is_genuine(site_key(self._state_dir), local, domain, now)
        except ConfigError as error:
            raise TemporaryError(f"cannot tell whether this is a receipt for a probe: {error}", "broken") from None
