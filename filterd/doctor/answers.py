"""Owns the look at what Exchange has answered to the workers.  Must not know a connection."""

from __future__ import annotations

from filterd import metrics
from filterd.config import Config
from filterd.doctor.finding import Finding, ok, warn
from filterd.exchange.answers import Kind, meaning_of_kind

# What a single message may deserve; all other kinds are about the way between us and Exchange.
_ABOUT_MAIL = frozenset({Kind.OTHER, Kind.CONTENT, Kind.TIMEOUT, Kind.PROTOCOL, Kind.LINE_ENDS})


def heard(config: Config) -> list[Finding]:
    """What Exchange has refused since the workers started, by what it means; nothing before they ever ran."""
    what, folder = "exchange, answers", config.state_dir / "run" / "metrics"
    if not any(folder.glob("*.db")):
        return []
    counted: dict[str, float] = {}
    slow = False
    for name, labels, value in metrics.samples(folder):
        if name == "filterd_upstream_answers_total":
            counted[labels["kind"]] = counted.get(labels["kind"], 0.0) + value
        slow = slow or (name == "filterd_upstream_back_pressure" and value > 0)
    found = []
    if slow:
        text = "Exchange has too much to do: we send less, clients are asked to come again"
        found.append(warn(what, text, meaning_of_kind(Kind.BACK_PRESSURE).remedy))
    for kind in Kind:
        count = int(counted.get(kind.value, 0))
        if count and kind not in _ABOUT_MAIL:
            means = meaning_of_kind(kind)
            found.append(warn(what, f"{count} x since the start: {means.meaning}", means.remedy))
    return found or [ok(what, "nothing that is not about single messages, since the workers started")]
