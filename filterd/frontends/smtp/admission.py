"""Owns who may come in: connections together, by client network, and how often.  Counted for all workers of the machine.

Must not know sockets or the dialog.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from filterd import metrics
from filterd.config import ClientsConfig, LimitsConfig
from filterd.mail.envelope import IPAddress, TrustClass
from filterd.mail.network import client_network
from filterd.mail.reply import Reply
from filterd.ports import Tallies

_ALL = ("connections", "")
_PRESSURE = 0.8  # share of the connections from which on nobody is kept waiting on purpose
_FULL = Reply(421, "4.7.0", "Too many connections, try again later", close=True)
_TOO_MANY = Reply(421, "4.7.0", "Too many connections from your network, try again later", close=True)
_TOO_OFTEN = Reply(421, "4.7.0", "Too many connections from your network in a minute, try again later", close=True)


@dataclass(slots=True)
class Ticket:
    """The right of one connection to be here; `network` is the client network that it counts for."""

    admission: Admission
    network: str
    open: bool = True

    def leave(self) -> None:
        """The connection is over, or counts no longer."""
        if self.open:
            self.open = False
            self.admission.leave(self.network)


class Admission:
    """Counts the connections of this worker in `tallies`, which all workers share.

    Attributes:
        make_room: ends the longest idle connection of this worker; whether there was one.
        count: open connections of all workers when one was last counted.
        refused: connections that were refused by this worker.
    """

    def __init__(self, limits: LimitsConfig, clients: ClientsConfig, tallies: Tallies) -> None:
        """`limits`: those of the whole machine; connections_per_client comes with each listener."""
        self.limits = limits
        self.clients = clients
        self.tallies = tallies
        self.make_room: Callable[[], bool] = lambda: False
        self.count = 0
        self.refused = 0

    def enter(self, client: IPAddress, limits: LimitsConfig, trust: TrustClass) -> Ticket | Reply:
        """A ticket, which must be given back by `leave`, or the refusal.  `limits` and `trust` are the listener's."""
        network = client_network(client, self.clients.ipv4_prefix, self.clients.ipv6_prefix)
        often = self.clients.connections_per_minute
        if often and trust is TrustClass.INTERNET and self.tallies.add("connects", network) > often:
            return self._refuse("rate", _TOO_OFTEN)
        if self.tallies.enter("client", network) > limits.connections_per_client:
            self.tallies.leave("client", network)
            return self._refuse("client", _TOO_MANY)
        self.count = self.tallies.enter(*_ALL)
        if self.count > self.limits.connections and not self.make_room():
            self.leave(network)
            return self._refuse("total", _FULL)
        return Ticket(self, network)

    def _refuse(self, limit: str, reply: Reply) -> Reply:
        self.refused += 1
        metrics.REFUSED_CONNECTIONS.labels(limit).inc()
        return reply

    @property
    def pressed(self) -> bool:
        """Whether places are getting scarce."""
        return self.count >= self.limits.connections * _PRESSURE

    def leave(self, network: str) -> None:
        """A connection of `network` is over."""
        self.tallies.leave("client", network)
        self.tallies.leave(*_ALL)
        self.count -= 1
