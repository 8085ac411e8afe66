"""Owns which zone a question is counted for.  The set is closed: names are the attackers' choice.

Must not know how questions are asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from filterd import metrics

_OTHER = "other"


class ZoneMeter:
    """The counters of one zone; a metric's child is looked up once, because that takes longer than counting."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.lookups = metrics.DNS_LOOKUPS.labels(zone)
        self.hits = metrics.DNS_CACHE_HITS.labels(zone)
        self.seconds = metrics.DNS_SECONDS.labels(zone)

    def failed(self, kind: str) -> None:
        """One look-up had no usable answer; kinds are the few of ports.Resolver."""
        metrics.DNS_FAILURES.labels(self.zone, kind).inc()


class Meters:
    """Finds the meter of a name: the configured zone it lies in, else the kind of name it is, else "other"."""

    def __init__(self, zones: Sequence[str] = ()) -> None:
        ends = dict.fromkeys([*(zone.lower() for zone in zones), "in-addr.arpa", "ip6.arpa"])
        self._by_end = [("." + end, ZoneMeter(end)) for end in ends]
        self._domainkey = ZoneMeter("_domainkey")
        self._dmarc = ZoneMeter("_dmarc")
        self._other = ZoneMeter(_OTHER)

    def of(self, name: str) -> ZoneMeter:
        """`name` in lower case, without final dot."""
        for end, meter in self._by_end:
            if name.endswith(end):
                return meter
        if name.startswith("_dmarc."):
            return self._dmarc
        return self._domainkey if "._domainkey." in name else self._other
