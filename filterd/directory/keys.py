"""Owns how an address is turned into a key: HMAC-SHA-256 under the site's key, so that no list holds addresses.  RFC 2104.

The same in the script that pushes (deploy/exchange): key = first 16 octets of HMAC(site key, address in lower case, UTF-8).
Must not know where keys are kept.
"""

from __future__ import annotations

import hmac

KEY_BYTES = 16  # 128 bits: with a million addresses two share a key once in 10^26 sites
SITE_KEY_BYTES = 32  # of HMAC-SHA-256 (RFC 2104 section 3: as long as the hash)


def address_key(site_key: bytes, address: str) -> bytes:
    """The key of a whole address `user@domain`, or of a domain written `@domain`; any case."""
    return hmac.digest(site_key, address.lower().encode("utf-8", "surrogatepass"), "sha256")[:KEY_BYTES]
