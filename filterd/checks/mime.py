"""Can the message's parts be read as mail programs read them?  RFC 2045, RFC 2046 5.1.

Owns: what is said about a body that is beyond the bounds of our reading, or broken.  Must not know: how parts are found
(content/mime.py), what stands in them, what a finding costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.content.view import view_of
from filterd.mail.evidence import Evidence, Reason, Result, Stage

# Markers of the walk and how people read them.  Of 14,235 real messages six have one of these, and all six are spam.
_WORDS = {
    "parts": "more parts than are looked at",
    "depth": "parts nested deeper than mail is",
    "octets": "more delimiters than can be followed",
    "boundary": "a multipart without a boundary that works",
    "twice": "two Content-Type or Content-Transfer-Encoding fields in one header",
    "part-header": "a part's header beyond all measure",
}


class Mime:
    """The check."""

    name: ClassVar[str] = "mime"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.message is None:
            return ()
        found = []
        for marker in view_of(ctx.message).markers:
            if marker in _WORDS:
                found.append(_WORDS[marker])
            elif marker.startswith("unreadable-"):  # what breaks our reading is a finding, never a pass
                found.append("the body cannot be read")
        if not found:
            return (Evidence(self.name, self.stage, Result.PASS, Reason.OK),)
        detail = ", ".join(dict.fromkeys(found))
        return (Evidence(self.name, self.stage, Result.FAIL, Reason.MALFORMED, detail=detail, log_text=detail),)
