"""Did the client take turns?  RFC 5321 3.1 (wait for the greeting), RFC 2920 3.1 (wait for the answer to EHLO).

Owns: the names of what the front end has seen.  Must not know: what it costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage


@dataclass(slots=True)
class Manners:
    """The check."""

    name: ClassVar[str] = "manners"
    stage: ClassVar[Stage] = Stage.HELO
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        client = ctx.connection
        if client.trust is not TrustClass.INTERNET:
            return ()
        seen = ((client.early, Reason.EARLY_TALKER), (client.unasked_pipelining, Reason.UNASKED_PIPELINING))
        return [
            Evidence(self.name, self.stage, Result.FAIL, reason, Scope.CONNECTION) for is_so, reason in seen if is_so
        ]
