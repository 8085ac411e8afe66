"""Owns the running of a stage: all its checks together, under one deadline, each behind the guard.

Must not know what a check looks at, nor what its findings lead to.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from filterd import metrics
from filterd.checks.base import Check, CheckContext
from filterd.deadline import Deadline
from filterd.engine.tables import STAGES
from filterd.errors import FilterdError, TemporaryError
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage

log = logging.getLogger(__name__)

_SCOPE = {
    Stage.CONNECT: Scope.CONNECTION,
    Stage.HELO: Scope.CONNECTION,
    Stage.MAIL: Scope.TRANSACTION,
    Stage.RCPT: Scope.RECIPIENT,
    Stage.DATA: Scope.TRANSACTION,
}


class Pipeline:
    """The registered checks, in waves: a check runs as soon as those it names in `after` are done."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self._waves: dict[Stage, list[list[Check]]] = {stage: [] for stage in Stage}
        by_stage: dict[Stage, list[Check]] = {stage: [] for stage in Stage}
        for check in checks:
            by_stage[check.stage].append(check)
        for stage, waiting in by_stage.items():
            self._waves[stage] = _in_waves(waiting)

    async def run(self, stage: Stage, ctx: CheckContext) -> list[Evidence]:
        """Everything the checks of `stage` found, in registered order; never raises for a failing check."""
        waves = self._waves[stage]
        if not waves:
            return []
        started = time.perf_counter()
        ctx = replace(ctx, deadline=ctx.deadline.within(STAGES[stage].seconds))
        found: list[Evidence] = []
        for wave in waves:
            seen = replace(ctx, evidence=ctx.evidence + tuple(found))
            if len(wave) == 1:
                found.extend(await _guarded(wave[0], seen))
                continue
            results = await asyncio.gather(*(_guarded(check, seen) for check in wave))
            for items in results:
                found.extend(items)
        metrics.STAGE_SECONDS.labels(stage.value).observe(time.perf_counter() - started)
        return found


def _in_waves(checks: Sequence[Check]) -> list[list[Check]]:
    waves: list[list[Check]] = []
    waiting = list(checks)
    names = {check.name for check in checks}
    done: set[str] = set()
    while waiting:
        ready = [c for c in waiting if all(a in done or a not in names for a in c.after)]
        if not ready:
            raise FilterdError(f"checks wait for each other: {', '.join(c.name for c in waiting)}")
        waves.append(ready)
        done |= {c.name for c in ready}
        waiting = [c for c in waiting if c not in ready]
    return waves


async def _guarded(check: Check, ctx: CheckContext) -> list[Evidence]:
    """Result, time-out and crash all come back as evidence; one failing check cannot cancel its neighbours."""
    started = time.perf_counter()
    try:
        async with ctx.deadline.timeout():
            found = list(await check(ctx))
    except TimeoutError:
        return [_failed(check, ctx, Reason.TIMEOUT, "timeout", f"no answer within the {check.stage} stage", started)]
    except TemporaryError as error:
        return [_failed(check, ctx, Reason.UNAVAILABLE, error.kind, str(error), started)]
    except Exception as error:  # the guard's whole purpose: a fault in a check is evidence, counted and logged
        log.exception("check crashed", extra={"check": check.name, "id": ctx.envelope.id if ctx.envelope else ""})
        return [_failed(check, ctx, Reason.CRASHED, "crashed", f"{type(error).__name__}: {error}"[:500], started)]
    elapsed = (time.perf_counter() - started) * 1000
    for item in found:
        if item.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
            metrics.CHECK_FAILURES.labels(check.name, item.reason.value).inc()
    return [replace(item, elapsed_ms=elapsed) for item in found]


def _failed(check: Check, ctx: CheckContext, reason: Reason, kind: str, text: str, started: float) -> Evidence:
    metrics.CHECK_FAILURES.labels(check.name, kind).inc()
    return Evidence(
        check=check.name,
        stage=check.stage,
        result=Result.TEMPERROR,
        reason=reason,
        scope=_SCOPE[check.stage],
        recipient=ctx.recipient.mailbox.key if ctx.recipient else None,
        log_text=text,
        elapsed_ms=(time.perf_counter() - started) * 1000,
    )


def stage_deadline(stage: Stage) -> Deadline:
    """Until when the checks of `stage` may take, from now."""
    return Deadline.after(STAGES[stage].seconds)
