"""Our own SQL functions say the same on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import literal, select

from filterd.storage.database import Database
from filterd.storage.functions import fold, list_length


def test_fold_knows_umlauts(db: Database) -> None:
    with db.read() as connection:
        assert connection.scalar(select(fold("ÄRGER"))) == "ärger"


@pytest.mark.parametrize(("packed", "length"), [("[]", 0), ('["a"]', 1), ('["a", "b, c"]', 2)])
def test_how_long_a_list_is(db: Database, packed: str, length: int) -> None:
    with db.read() as connection:
        assert connection.scalar(select(list_length(literal(packed)))) == length
