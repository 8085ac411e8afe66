"""Owns how an address is turned into a key: HMAC-SHA-256 under the site's key, so that no list holds addresses.  RFC 2104.

The same in the script that pushes (deploy/exchange): key = first 16 octets of HMAC(site key, address in lower case, UTF-8),
where lower case is what .NET's ToLowerInvariant makes: each letter by itself, into one letter.
Must not know where keys are kept.
"""

from __future__ import annotations

import hmac

KEY_BYTES = 16  # 128 bits: with a million addresses two share a key once in 10^26 sites
SITE_KEY_BYTES = 32  # of HMAC-SHA-256 (RFC 2104 section 3: as long as the hash)


def lower_case(text: str) -> str:
    """`text` letter by letter in lower case, as ToLowerInvariant of .NET.

    Python's lower() looks at the whole word (a final sigma) and may make two letters of one (U+0130): those stay as they are.
    Letters that are younger than the tables of the Windows that pushes are not known to it; write such addresses in lower case.
    """
    if text.isascii():
        return text.lower()
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def address_key(site_key: bytes, address: str) -> bytes:
    """The key of a whole address `user@domain`, or of a domain written `@domain`; any case, not lowered by anybody else."""
    return hmac.digest(site_key, lower_case(address).encode("utf-8", "surrogatepass"), "sha256")[:KEY_BYTES]


def key_name(site_key: bytes) -> str:
    """By what a list or a snapshot says which site's key it was made with; tells nothing about the key."""
    return hmac.digest(site_key, b"name of this key", "sha256")[:4].hex()
