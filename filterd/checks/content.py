"""What does the content look like?  The trained Bayesian classifier as a check.

Owns: turning a classification into evidence.  Must not know: features or training (classifier/), caps and thresholds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.classifier.features import to_octets
from filterd.classifier.finding import said
from filterd.classifier.model import Classification, Model
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.errors import TemporaryError
from filterd.mail.evidence import Evidence, Stage
from filterd.mail.message import Message

log = logging.getLogger(__name__)

# Above this the decoding may take long enough that other sessions would notice; it gets a thread.  Ordinary mail of 90 KB takes 3 ms,
# 60 KB of tags made for it 30.
_THREAD_OCTETS = 32_768


@dataclass(slots=True)
class Content:
    """The check; `model` is replaced as a whole when another one is promoted, None when none could be loaded.

    `shadow` is a candidate that scores the same mail: it stands in the record, and weighs nothing.
    """

    model: Model | None
    abstain: float
    shadow: Model | None = None
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
            found, beside = await asyncio.to_thread(_classified, model, self.shadow, message, facts)
        else:
            found, beside = _classified(model, self.shadow, message, facts)
        message.views["features"] = to_octets(found.features)
        reason, result, weight = said(found.log_odds, self.abstain)
        properties = {
            "model": model.name,
            "probability": f"{found.probability:.4f}",
            "seen": f"{found.seen:.3f}",
            "seen_here": f"{found.seen_here:.3f}",
            "familiar": "yes" if found.familiar else "no",
            **beside,
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


def _classified(
    model: Model, shadow: Model | None, message: Message, facts: ConnectionFacts
) -> tuple[Classification, dict[str, str]]:
    """What the model says, and the properties that tell what the shadow says of the same stream; none when it fails."""
    if shadow is None:
        return model.classify(message, facts), {}
    stream = content_stream(message, facts)
    found = model.judge(stream)
    try:
        log_odds, familiar = shadow.weigh(stream)
    except Exception:  # a fault in the shadow costs the comparison, never the message
        log.exception("the shadow model failed", extra={"model": shadow.name})
        metrics.CHECK_FAILURES.labels("content_shadow", "crashed").inc()
        return found, {}
    return found, {
        "shadow_model": shadow.name,
        "shadow_log_odds": f"{log_odds:.6f}",
        "shadow_familiar": "yes" if familiar else "no",
    }
