"""Owns who sends a report: Exchange's user identity token.  RFC 7519, RFC 7515, RFC 7518 3.3; Microsoft's ExIdTok.V1.

The token says for which page it was made (aud) and names the mailbox by a unique id, not by address.  It also names an address
(appctx.amurl) to fetch keys from: we fetch nothing, because whoever writes a token would choose where we connect to.  The keys are those of
the configured certificates, and no other counts.  Must not know HTTP or the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.types import Options

MAX_TOKEN = 8192  # characters; real ones have 1,200 to 1,500
LEEWAY_SECONDS = 300  # between Exchange's clock and ours, as Kerberos allows
_MAX_UID = 512  # a GUID, "@" and a host name
_VERSION = "ExIdTok.V1"
_MAX_SECONDS = 2**40  # far beyond any time, so that arithmetic stays small
# Times are looked at by us: Exchange writes them as texts, and a reader that takes what is no time would be too kind.
_OPTIONS: Options = {
    "strict_aud": True,  # one audience, ours; not a list that ours is in
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}


class IdentityError(Exception):
    """The token does not prove who asks; the text is for our log alone."""


def user_of(token: str, page: str, keys: Mapping[str, RSAPublicKey], now: float) -> str:
    """The unique id of the mailbox (msexchuid) that a token speaks for, in lower case.  Raises IdentityError.

    Args:
        page: address of our page as it stands in the manifest, which Exchange writes into the token as its audience.
        keys: of the certificates that Exchange signs with, by thumbprint.
        now: Unix seconds.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise IdentityError("longer than any token, or not ASCII")
    claims = _signed(token, page, keys)
    if _seconds(claims, "nbf") > now + LEEWAY_SECONDS:
        raise IdentityError("not valid yet; compare the clocks")
    if _seconds(claims, "exp") <= now - LEEWAY_SECONDS:
        raise IdentityError("expired")
    return _unique_id(claims.get("appctx"))


def user_key(unique_id: str) -> str:
    """What is kept of the unique id: SHA-256, hex.

    Microsoft's advice is to join it with amurl, which tells servers apart; here the certificate does, and amurl changes with a host name.
    """
    return hashlib.sha256(unique_id.encode()).hexdigest()


def _signed(token: str, page: str, keys: Mapping[str, RSAPublicKey]) -> dict[str, Any]:
    """The claims of a token that one of the keys signed for our page."""
    try:
        header = jwt.get_unverified_header(token)
        thumbprint = header.get("x5t")
        key = keys.get(thumbprint.rstrip("=")) if isinstance(thumbprint, str) else None
        if key is None:
            raise IdentityError("signed with a certificate that is not in reports.exchange_certificate")
        if header.get("alg") != "RS256" or header.get("typ") != "JWT" or "crit" in header:
            raise IdentityError("alg, typ or crit are not those of an Exchange token")
        return jwt.decode(token, key, algorithms=["RS256"], audience=page, options=_OPTIONS)
    except jwt.InvalidAudienceError:
        raise IdentityError("made for another page than ours; compare reports.public_url with the manifest") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise IdentityError(f"not a token that we can verify: {type(error).__name__}") from None


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 13:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_SECONDS:
        raise IdentityError(f"{name} is no time")
    return value


def _unique_id(context: Any) -> str:
    if isinstance(context, str):  # some servers write the object as a text
        try:
            context = json.loads(context)
        except (ValueError, RecursionError):
            raise IdentityError("appctx is no JSON") from None
    if not isinstance(context, dict) or context.get("version") != _VERSION:
        raise IdentityError(f"appctx is not that of {_VERSION}")
    found = context.get("msexchuid")
    if not isinstance(found, str) or not 0 < len(found) <= _MAX_UID or not found.isascii() or not found.isprintable():
        raise IdentityError("appctx has no usable msexchuid")
    return found.lower()
