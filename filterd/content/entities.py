"""Owns the decoding of character references (HTML 13.5, XML 1.0 4.1) in octets.  Must not know what they stand in."""

from __future__ import annotations

import html


def unescape(data: bytes) -> bytes:
    """UTF-8 `data` with its references decoded; what is no UTF-8 in it is replaced, if there is any reference.  Never raises."""
    if b"&" not in data:
        return data
    return html.unescape(data.decode("utf-8", "replace")).encode("utf-8", "replace")
