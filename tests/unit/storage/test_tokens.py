"""Owns the tests of the API's tokens."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from filterd.errors import PermanentError
from filterd.storage import tokens
from filterd.storage.database import Database
from filterd.storage.schema import tokens as table


def test_a_token_is_known_again(db: Database) -> None:
    plain = tokens.create(db, "console", ["read", "release", "read"], expires_ms=2**50)
    assert re.fullmatch(r"fd_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", plain)
    info = tokens.verify(db, plain)
    assert info is not None
    assert (info.name, info.scopes, info.expires_ms) == ("console", ("read", "release"), 2**50)
    assert tokens.list_tokens(db) == (info,)


def test_the_plain_text_is_stored_nowhere(db: Database) -> None:
    secret = tokens.create(db, "x", ["read"]).rpartition("_")[2]
    with db.read() as connection:
        assert secret not in repr(connection.execute(select(table)).all())


def test_wrong_ones(db: Database) -> None:
    plain = tokens.create(db, "x", ["read"])
    other = tokens.create(db, "y", ["admin"])
    changed = plain[:-1] + ("A" if plain[-1] != "A" else "B")
    mixed = other[:16] + plain[16:]  # the id of one, the secret of another
    for wrong in ("", "fd_", plain + "x", plain[:-1], changed, mixed, plain.upper(), "ä" * 59, plain + "\n"):
        assert tokens.verify(db, wrong) is None


def test_expiry_and_revocation(db: Database) -> None:
    plain = tokens.create(db, "x", ["read"], expires_ms=5000)
    assert tokens.verify(db, plain, at_ms=4999) is not None
    assert tokens.verify(db, plain, at_ms=5000) is None
    (info,) = tokens.list_tokens(db)
    assert tokens.revoke(db, info.id)
    assert not tokens.revoke(db, info.id)
    assert tokens.verify(db, plain, at_ms=1) is None


def test_bad_ones_name_the_field(db: Database) -> None:
    with pytest.raises(PermanentError, match=r"^name: "):
        tokens.create(db, " ", ["read"])
    with pytest.raises(PermanentError, match=r"^scopes: "):
        tokens.create(db, "x", [])
