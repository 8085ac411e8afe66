"""Owns the icons: small PNG pictures, drawn when they are first asked for.  PNG (ISO/IEC 15948).

Each is a rounded square of one colour with a white sign: a barred circle (spam), a hook (phishing), a tick (not spam), an envelope (the
add-in).  Lines are drawn by distance, so that every size has smooth edges.  Must not know HTTP.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from functools import cache

Shape = Callable[[float, float], float]  # distance of a point from the sign's middle line; the square is -1 to 1

_LINE = 0.12  # half the width of a line, so that 16 pixels still show it
_CORNER = 0.3


def _segment(ax: float, ay: float, bx: float, by: float) -> Shape:
    length = (bx - ax) ** 2 + (by - ay) ** 2

    def distance(x: float, y: float) -> float:
        along = max(0.0, min(1.0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length))
        return math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay))

    return distance


def _circle(cx: float, cy: float, radius: float) -> Shape:
    return lambda x, y: abs(math.hypot(x - cx, y - cy) - radius)


def _lower_half(cx: float, cy: float, radius: float) -> Shape:
    ends = (_segment(cx - radius, cy, cx - radius, cy + 1e-6), _segment(cx + radius, cy, cx + radius, cy + 1e-6))
    full = _circle(cx, cy, radius)
    return lambda x, y: full(x, y) if y >= cy else min(end(x, y) for end in ends)


def _all(*shapes: Shape) -> Shape:
    return lambda x, y: min(shape(x, y) for shape in shapes)


SIGNS: dict[str, tuple[tuple[int, int, int], Shape]] = {
    "spam": ((0xB1, 0x0E, 0x1C), _all(_circle(0, 0, 0.56), _segment(-0.4, -0.4, 0.4, 0.4))),
    "phish": (
        (0x8A, 0x37, 0x07),
        _all(
            _circle(0.28, -0.58, 0.12),
            _segment(0.28, -0.42, 0.28, 0.22),
            _lower_half(-0.07, 0.22, 0.35),
            _segment(-0.42, 0.22, -0.42, -0.1),
            _segment(-0.42, -0.1, -0.18, 0.12),
        ),
    ),
    "ham": ((0x0E, 0x70, 0x0E), _all(_segment(-0.55, 0.05, -0.15, 0.45), _segment(-0.15, 0.45, 0.55, -0.4))),
    "app": (
        (0x0F, 0x54, 0x8C),
        _all(
            *(_segment(-0.6, -0.42, 0.6, -0.42), _segment(0.6, -0.42, 0.6, 0.42), _segment(0.6, 0.42, -0.6, 0.42)),
            *(_segment(-0.6, 0.42, -0.6, -0.42), _segment(-0.6, -0.38, 0, 0.1), _segment(0, 0.1, 0.6, -0.38)),
        ),
    ),
}


@cache
def icon(name: str, size: int) -> bytes:
    """The picture `name` with `size` x `size` pixels, as PNG."""
    colour, sign = SIGNS[name]
    rows = bytearray()
    for row in range(size):
        rows.append(0)  # filter type "none"
        for column in range(size):
            x, y = (2 * column + 1) / size - 1, (2 * row + 1) / size - 1
            white = _covered((_LINE - sign(x, y)) * size / 2)
            inside = _covered(-_square(x, y) * size / 2)
            rows += bytes(round(part + (255 - part) * white) for part in colour)
            rows.append(round(255 * inside))
    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)  # 8 bits, RGB with transparency
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _square(x: float, y: float) -> float:
    """Distance from a rounded square that fills the picture; negative inside."""
    dx, dy = abs(x) - 1 + _CORNER, abs(y) - 1 + _CORNER
    return math.hypot(max(dx, 0.0), max(dy, 0.0)) + min(max(dx, dy), 0.0) - _CORNER


def _covered(pixels: float) -> float:
    """How much of a pixel is covered, by the distance of its middle from the edge."""
    return max(0.0, min(1.0, pixels + 0.5))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
