"""Owns the address that the receipt for a probe comes back to: who may make one, and how long it counts.

The local-part holds the time, eight random octets and a MAC under the site's key (RFC 2104): whoever has the key can check it,
nobody else can make one, and nothing need be kept.  RFC 5321 4.5.3.1.1, 2.4 (the case of it may not survive).
Must not know where the key lies, nor the time.
"""

from __future__ import annotations

import base64
import hmac
import re

PREFIX = "filterd-probe-"
LIFETIME_SECONDS = 3600  # a delivery takes seconds; after an hour nobody waits any more
EARLY_SECONDS = 300  # clocks of two nodes with one key
NONCE_BYTES = 8
_TIME_BYTES = 4  # Unix seconds until 2106
_MAC_BYTES = 16  # 128 bits; base 32 of all 28 octets has 45 characters, and a local-part 64
_LABEL = b"receipt for a probe\0"  # no address has a NUL: nothing that directory/keys.py makes can be one of these
_TOKEN = re.compile(r"[a-z2-7]{45}")


def make_local(key: bytes, domain: str, at: int, nonce: bytes) -> str:
    """The local-part of an address at `domain` (A-labels); `at` in Unix seconds, `nonce` of NONCE_BYTES random octets."""
    begin = at.to_bytes(_TIME_BYTES, "big") + nonce
    return PREFIX + _text(begin + _mac(key, begin, domain))


def is_fresh(local: str, now: float) -> bool:
    """Whether it has the form of such a local-part, and a time that still counts.  Needs no key, and costs next to nothing."""
    octets = _octets(local)
    if octets is None:
        return False
    age = now - int.from_bytes(octets[:_TIME_BYTES], "big")
    return -EARLY_SECONDS <= age < LIFETIME_SECONDS


def is_genuine(key: bytes, local: str, domain: str, now: float) -> bool:
    """Whether somebody with this key made it for `domain` within the last hour."""
    octets = _octets(local)
    if octets is None or not is_fresh(local, now):
        return False
    begin, mac = octets[:-_MAC_BYTES], octets[-_MAC_BYTES:]
    return hmac.compare_digest(mac, _mac(key, begin, domain))


def _mac(key: bytes, begin: bytes, domain: str) -> bytes:
    text = _LABEL + begin + domain.lower().encode("utf-8", "surrogatepass")
    return hmac.digest(key, text, "sha256")[:_MAC_BYTES]


def _text(octets: bytes) -> str:
    return base64.b32encode(octets).decode("ascii").rstrip("=").lower()


def _octets(local: str) -> bytes | None:
    token = local.lower()
    if not token.startswith(PREFIX) or not _TOKEN.fullmatch(token := token.removeprefix(PREFIX)):
        return None
    octets = base64.b32decode(token.upper() + "===")
    return octets if _text(octets) == token else None  # one text for each: the bit that is left over is none
