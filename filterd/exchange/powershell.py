"""Owns how values are written into PowerShell, so that no value can be anything but a value.  Must not know what scripts do.

PowerShell Language Specification 3.0, 2.3.5.2: what is a verbatim string literal, and which characters end it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# All of these are a single quote to PowerShell, each doubled stands for itself.
QUOTES = "'\u2018\u2019\u201a\u201b"
_MAX = 1024


class UnsafeValueError(ValueError):
    """A value that no script of ours may hold."""


def literal(value: str) -> str:
    """`value` as a verbatim string: nothing in it is expanded.  Raises UnsafeValueError for control characters and long ones."""
    if len(value) > _MAX:
        raise UnsafeValueError(f"expected at most {_MAX} characters, found {len(value)}")
    if not value.isprintable():
        raise UnsafeValueError(f"expected no control characters, found {value!r}")
    return "'" + "".join(c * 2 if c in QUOTES else c for c in value) + "'"


def array(values: Iterable[str]) -> str:
    """An array of strings, also of one or none."""
    return "@(" + ", ".join(literal(value) for value in values) + ")"


def value_of(value: str | int | bool | Iterable[str]) -> str:
    """Text, number, truth or list as PowerShell writes it."""
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, int):
        return str(value)
    return literal(value) if isinstance(value, str) else array(value)


def table(name: str, values: Mapping[str, str | int | bool | Iterable[str]], indent: str = "") -> list[str]:
    """Lines that put a hash table into `$name`, for splatting; keys are ours, values anybody's."""
    lines = [f"{indent}    {key} = {value_of(value)}" for key, value in values.items()]
    return [f"{indent}${name} = @{{", *lines, f"{indent}}}"]
