"""Owns our own SQL functions, which each database is told in its words.  Must not know who asks with them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class fold(GenericFunction[str]):
    """Lower case of any script; SQLite's own lower() knows ASCII only."""

    inherit_cache = True
    name = "fold"


@compiles(fold, "postgresql")
def _fold_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f"lower({compiler.process(element.clauses, **kwargs)})"


class list_length(GenericFunction[int]):
    """Number of texts in a column that pack_list wrote."""

    inherit_cache = True
    name = "list_length"


@compiles(list_length, "sqlite")
def _list_length_sqlite(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f"json_array_length({compiler.process(element.clauses, **kwargs)})"


@compiles(list_length, "postgresql")
def _list_length_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f"json_array_length({compiler.process(element.clauses, **kwargs)}::json)"


def lower(text: Any) -> Any:
    """What `fold` does, for a connection of SQLite."""
    return text.lower() if isinstance(text, str) else text
