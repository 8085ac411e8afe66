"""Owns what is said about a bad value of the configuration, in an administrator's words.  Must not know the tables."""

from __future__ import annotations

from typing import Any

# What pydantic says in words of Python, by its type of error.
EXPECTED = {
    "string_type": "expected text in quotes",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "tuple_type": 'expected a list such as ["one", "two"]',
    "is_instance_of": "expected the path of a file or folder in quotes",
    "too_short": "expected at least one",
    "dict_type": "expected keys and values such as { key = 1 }",
    "model_type": "expected a table of its own",
}
PATTERNS = {
    r"^[a-z][a-z0-9_-]{0,30}$": "expected a short name of small letters, digits, - and _, which begins with a letter",
    r"^[A-Za-z][A-Za-z0-9-]{0,60}$": "expected the name of an attribute, such as mail",
    r"^(ldaps?://[^/\s]+)?$": "expected such as ldaps://dc1.example.org",
}


def explain(item: Any) -> str:
    """One error of pydantic with the path of its key: what was expected and, where it helps, what stands there."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key; remove it or see docs/configuration.md for the keys of this table"
    message = EXPECTED.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch":
        message = PATTERNS.get(item["ctx"]["pattern"], message)
    message = message[0].lower() + message[1:] if message else "bad value"
    found = item.get("input")
    shown = "" if isinstance(found, dict | tuple | list) or item["type"] == "missing" else f", found {found!r}"
    return f"{path}: {message}{shown}" if path else message  # what is about several tables names them itself
