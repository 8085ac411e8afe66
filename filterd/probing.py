"""Owns the wait for the receipt of a probe: whether one can be waited for here, whether it has come, what it says.

The receipt comes in as mail does and lies in the quarantine until this has read it.  Must not know how the probe is sent, nor
what is good or bad.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import dataclass

from filterd.adapters.directory import known_domains
from filterd.adapters.probe_addresses import ProbeAddresses
from filterd.checks.recipient import RECEIPT_CLASSES
from filterd.config import Config
from filterd.errors import ConfigError, FilterdError, PermanentError, StorageError
from filterd.exchange.receipt import Action, Receipt, read_receipt
from filterd.storage import probe_receipts, quarantine
from filterd.storage.database import Database, existing_database, now_ms

POLL_SECONDS = 0.5  # of looks into the database: an index finds it
_EARLY_MS = 300_000  # the clock of the node that takes the receipt may be behind ours
_CONNECT_SECONDS = 2.0  # to ourselves


class NoReceiptError(FilterdError):
    """No receipt can be waited for here; `remedy` says what would change that."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Came:
    """What has come to the address.

    Attributes:
        receipt: the last word on the message; None when none came.
        seconds: how long after the message that was.
        other: our id of a message to the address that is no receipt; empty when there is none.
        problem: why the last look failed; empty when it did not.
    """

    receipt: Receipt | None = None
    seconds: float = 0.0
    other: str = ""
    problem: str = ""


class ReceiptBox:
    """Where the receipt for one probe arrives."""

    def __init__(self, database: Database, address: str) -> None:
        self.address = address
        self._database = database
        self._seen: set[str] = set()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    async def wait(self, sent_ms: int, seconds: float, poll_seconds: float = POLL_SECONDS) -> Came:
        """Until a receipt says how it ended, or `seconds` are over; a delay is not the end.  `sent_ms`: Unix milliseconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        came = Came()
        while True:
            came = await asyncio.to_thread(self._look, sent_ms, came)
            if came.receipt is not None and came.receipt.chief.action is not Action.DELAYED:
                return came
            left = end - loop.time()
            if left <= 0:
                return came
            await asyncio.sleep(min(poll_seconds, left))

    def _look(self, sent_ms: int, came: Came) -> Came:
        receipt, seconds, other = came.receipt, came.seconds, came.other
        try:
            for item in probe_receipts.held(self._database, self.address, sent_ms - _EARLY_MS):
                if item.message_id in self._seen:
                    continue
                found = self._read(item.message_id)
                self._seen.add(item.message_id)
                if found is None:
                    other = item.message_id
                elif receipt is None or receipt.chief.action is Action.DELAYED:
                    receipt, seconds = found, max(0.0, (item.received_ms - sent_ms) / 1000)
        except StorageError as error:  # busy, perhaps: the next look tells
            return Came(receipt, seconds, other, str(error))
        return Came(receipt, seconds, other)

    def _read(self, id: str) -> Receipt | None:
        """What is read has done its work; what is no receipt stays where it is, for a person to look at.  Raises StorageError."""
        try:
            receipt = read_receipt(quarantine.body(self._database, id))
        except PermanentError:  # somebody has just deleted it
            return None
        if receipt is not None:
            with contextlib.suppress(StorageError):  # it is read; what stays goes with its retention
                probe_receipts.done(self._database, id, f"receipt read: {receipt.chief.action}", now_ms())
        return receipt


def open_box(config: Config) -> ReceiptBox:
    """An address that a receipt can come to, and where it can be read.  Nothing is made but the site's key.  Blocks.

    Raises NoReceiptError.
    """
    hostname = config.server.hostname
    _check_name(config, hostname)
    try:
        database = existing_database(config)
    except (StorageError, ConfigError) as error:
        remedy = "start filterd first, and run this on its machine as the user of its service"
        raise NoReceiptError(f"its database cannot be used here: {error}", remedy) from None
    try:
        if database.is_sqlite and not _is_running(config):  # another database may be that of other nodes
            raise NoReceiptError("filterd is not running, so nobody takes the receipt", "start filterd and ask again")
        return ReceiptBox(database, ProbeAddresses(config.state_dir).make(hostname))
    except ConfigError as error:
        database.close()
        remedy = "run this as the user of filterd's service"
        raise NoReceiptError(f"no address for it can be made: {error}", remedy) from None
    except NoReceiptError:
        database.close()
        raise


def _check_name(config: Config, hostname: str) -> None:
    found = known_domains(config).find(hostname)
    if found is not None:
        text = f"server.hostname {hostname} belongs to the accepted domain {found.name}: Exchange looks for the address in itself"
        raise NoReceiptError(text, "give server.hostname a name that is no accepted domain, such as filter.contoso.com")
    if hostname == config.reports.domain:
        text = "server.hostname is reports.domain, for which Exchange writes no receipts (filterd exchange setup)"
        raise NoReceiptError(text, "give reports.domain a name of its own")


def _is_running(config: Config) -> bool:
    """Whether somebody answers at a listener over which a receipt can come."""
    for listener in config.listeners:
        if listener.trust not in RECEIPT_CLASSES:
            continue
        with contextlib.suppress(OSError, UnicodeError):
            address = (_reachable(listener.address), listener.port)
            with socket.create_connection(address, _CONNECT_SECONDS):
                return True
    return False


def _reachable(address: str) -> str:
    """Where somebody answers who listens there: on all addresses is on the loopback too."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if not found.is_unspecified:
        return address
    return "127.0.0.1" if found.version == 4 else "::1"
