"""What does the content look like?  The trained Bayesian classifier as a check.

Owns: turning a classification into evidence.  Must not know: features or training (classifier/), caps and thresholds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.classifier.features import to_octets
from filterd.classifier.model import Model
from filterd.classifier.stream import ConnectionFacts
from filterd.errors import TemporaryError
from filterd.mail.evidence import Evidence, Reason, Result, Stage

# Above this the decoding may take long enough that other sessions would notice; it gets a thread.  Ordinary mail of 90 KB takes 3 ms,
# 60 KB of tags made for it 30.
_THREAD_OCTETS = 32_768


@dataclass(slots=True)
class Content:
    """The check; `model` is replaced as a whole when another one is promoted, None when none could be loaded."""

    model: Model | None
    abstain: float
    name: ClassVar[str] = "content"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        message, model = ctx.message, self.model
        if message is None:
            return ()
        if model is None:
            raise TemporaryError("no content model could be loaded; see the log and `filterd doctor`", "no_model")
        facts = ConnectionFacts(
            client_ip=str(ctx.connection.client_ip),
            helo=ctx.connection.helo,
            client_name=ctx.connection.client_name,
            mail_from=ctx.envelope.mail_from if ctx.envelope else "",
        )
        if len(message) > _THREAD_OCTETS:
            found = await asyncio.to_thread(model.classify, message, facts)
        else:
            found = model.classify(message, facts)
        message.views["features"] = to_octets(found.features)
        if abs(found.log_odds) < self.abstain:
            reason, result, weight = Reason.UNSURE, Result.NEUTRAL, 0.0
        elif found.log_odds > 0:
            reason, result, weight = Reason.LOOKS_LIKE_SPAM, Result.FAIL, found.log_odds
        else:
            reason, result, weight = Reason.LOOKS_LIKE_HAM, Result.PASS, found.log_odds
        properties = {
            "model": model.name,
            "probability": f"{found.probability:.4f}",
            "seen": f"{found.seen:.3f}",
            "seen_here": f"{found.seen_here:.3f}",
            "familiar": "yes" if found.familiar else "no",
        }
        return (
            Evidence(
                self.name,
                self.stage,
                result,
                reason,
                measured=weight,
                properties=properties,
                clues=found.clues,
                log_text=f"log-odds {found.log_odds:.3f}",
            ),
        )
