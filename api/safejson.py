"""Owns JSON that stays harmless even when a program pastes it into a page: < > & are written as escapes.  RFC 8259 7."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"}


class SafeJson(Response):
    """A JSON answer for hostile text; pure ASCII."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The same value for every JSON reader, no markup for any other."""
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        for char, escape in _ESCAPES.items():
            text = text.replace(char, escape)
        return text.encode("ascii")
