"""Owns deciding recorded messages again for a comparison of models.  Must not know which models, nor what follows."""

from __future__ import annotations

from dataclasses import dataclass

from filterd.config import Config
from filterd.engine.policy import Policy
from filterd.engine.replay import (
    beside,
    content_of,
    findings,
    replay,
    strictest,
    strictness,
    trust_of,
    with_content,
    without_content,
)
from filterd.mail.envelope import TrustClass
from filterd.mail.verdict import Action
from filterd.ports import EvidenceRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """What two models would do with a message.

    Attributes:
        action, would: under the model in use and the shadow, observe mode looked through; of several recipients one for whom it changes.
        log_odds, would_log_odds: of the content.
    """

    action: Action
    would: Action
    log_odds: float
    would_log_odds: float

    @property
    def strictness(self) -> int:
        """Above 0 when the shadow is stricter, 0 when nothing changes."""
        return strictness(self.would) - strictness(self.action)


class Redecider:
    """Decides records again under the present policy."""

    def __init__(self, config: Config) -> None:
        self._policy = Policy.of(config)
        self._abstain = config.model.abstain_log_odds
        self._trust = {listener.name: listener.trust for listener in config.listeners}

    def trust(self, record: EvidenceRecord, listener: str) -> TrustClass:
        """Class of the client; what older programs did not record is that of its listener."""
        return trust_of(record, TrustClass(self._trust.get(listener, TrustClass.INTERNET)))

    def compare(self, record: EvidenceRecord, listener: str, model: str, shadow: str) -> Difference | None:
        """What the shadow changes; None when one of the two did not judge this message.

        Args:
            model, shadow: as evidence names them.
        """
        evidence = findings(record)
        content = content_of(evidence)
        other = beside(content) if content is not None else None
        if content is None or other is None or (content.properties.get("model"), other.model) != (model, shadow):
            return None
        trust = self.trust(record, listener)
        present = replay(record, evidence, self._policy, trust)
        if not present:
            return None
        changed = with_content(evidence, other.log_odds, other.familiar, self._abstain)
        would = replay(record, changed, self._policy, trust)
        pairs = [(a.verdict.would, b.verdict.would) for a, b in zip(present, would, strict=True)]
        pairs.sort(key=lambda pair: strictness(pair[1]) - strictness(pair[0]))
        # of several recipients one whose copy fares worse, else one that fares better
        stricter = strictness(pairs[-1][1]) > strictness(pairs[-1][0])
        before, after = pairs[-1] if stricter else pairs[0]
        return Difference(before, after, content.measured or 0.0, other.log_odds)

    def decided_by_content(self, record: EvidenceRecord, listener: str = "") -> bool:
        """Whether something milder would have been done, had the content said nothing."""
        evidence = findings(record)
        if content_of(evidence) is None:
            return False
        trust = self.trust(record, listener)
        present = strictest(replay(record, evidence, self._policy, trust))
        silent = strictest(replay(record, without_content(evidence), self._policy, trust))
        return strictness(silent) < strictness(present)
