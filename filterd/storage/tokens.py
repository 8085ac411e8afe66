"""Owns the API's tokens: shown once, stored as a hash, compared in constant time.  Must not know what a scope allows."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from filterd.errors import PermanentError
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean, pack_list, unpack_list
from filterd.storage.schema import tokens

_FORM = re.compile(r"fd_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What is known of a token; never the token itself.

    Attributes:
        scopes: what it allows, as words.
        expires_ms: Unix milliseconds from which on it does not count; None = never.
        revoked_ms: since when it does not count; None = not revoked.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None


def create(db: Database, name: str, scopes: Iterable[str], expires_ms: int | None = None) -> str:
    """Make a token and return its plain text, which is stored nowhere.  Raises PermanentError that names the field."""
    if not name.strip() or len(name) > 200:
        raise PermanentError("name: expected 1 to 200 characters")
    wanted = sorted(set(scopes))
    if not wanted:
        raise PermanentError("scopes: expected at least one")
    id = secrets.token_hex(6)
    plain = f"fd_{id}_{secrets.token_urlsafe(32)}"
    row = {
        "id": id,
        "name": clean(name),
        "scopes": pack_list(wanted),
        "sha256": _hash(plain),
        "created_ms": now_ms(),
        "expires_ms": expires_ms,
        "revoked_ms": None,
    }
    with db.write() as connection:
        connection.execute(insert(tokens), row)
    return plain


def verify(db: Database, token: str, at_ms: int | None = None) -> TokenInfo | None:
    """What the token is, or None when it is unknown, wrong, expired or revoked.  Raises StorageError."""
    match = _FORM.fullmatch(token)
    if match is None:
        return None
    with db.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.id == match[1])).first()
    right = hmac.compare_digest(_hash(token), row.sha256 if row else _NOBODY)
    if row is None or not right:
        return None
    at = now_ms() if at_ms is None else at_ms
    if row.revoked_ms is not None or (row.expires_ms is not None and row.expires_ms <= at):
        return None
    return _info(row)


def revoke(db: Database, id: str) -> bool:
    """End a token's life; whether a living one was there."""
    living = (tokens.c.id == id, tokens.c.revoked_ms.is_(None))
    with db.write() as connection:
        return connection.execute(update(tokens).where(*living).values(revoked_ms=now_ms())).rowcount > 0


def list_tokens(db: Database) -> tuple[TokenInfo, ...]:
    """All tokens, oldest first."""
    with db.read() as connection:
        return tuple(_info(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_ms)))


def _hash(plain: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(plain.encode()).hexdigest()


def _info(row: Any) -> TokenInfo:
    return TokenInfo(row.id, row.name, unpack_list(row.scopes), row.created_ms, row.expires_ms, row.revoked_ms)
