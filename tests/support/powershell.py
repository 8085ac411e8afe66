"""Owns how tests read PowerShell without having one: a grammar, and what a verbatim string means by the language specification."""

from __future__ import annotations

from collections.abc import Iterator

import tree_sitter
import tree_sitter_powershell

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
_QUOTES = "'\u2018\u2019\u201a\u201b"  # PowerShell Language Specification 3.0, 2.3.5.2: single-quote-character


def nodes(script: str) -> Iterator[tree_sitter.Node]:
    """Every node of the script, in its order."""
    waiting = [_PARSER.parse(script.encode()).root_node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)


def errors(script: str) -> list[str]:
    """What the grammar does not understand, with its line."""
    return [
        f"line {node.start_point[0] + 1}: {(node.text or b'').decode()[:80]!r}"
        for node in nodes(script)
        if node.type == "ERROR" or node.is_missing
    ]


def commands(script: str) -> list[str]:
    """Names of the commands in order."""
    return [(node.text or b"").decode() for node in nodes(script) if node.type == "command_name"]


def parameters(script: str) -> dict[str, set[str]]:
    """Command -> the parameters that it is ever called with, those of a splatted hash table too."""
    tables: dict[str, set[str]] = {}
    found: dict[str, set[str]] = {}
    for node in nodes(script):
        if node.type == "assignment_expression" and node.children:
            keys = {_text(key) for key in _below(node) if key.type == "key_expression"}
            tables[_text(node.children[0]).strip().lstrip("$")] = keys
        elif node.type == "command" and node.children[0].type == "command_name":
            given = found.setdefault(_text(node.children[0]), set())
            for child in (child for part in node.children for child in part.children):
                if child.type == "command_parameter":
                    given.add(_text(child).strip("-:"))
                elif _text(child).startswith("@") and _text(child)[1:] in tables:
                    given |= tables[_text(child)[1:]]
    return found


def _text(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()


def _below(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    waiting = [node]
    while waiting:
        yield (one := waiting.pop())
        waiting += one.children


def strings(script: str) -> list[str]:
    """Verbatim strings, read by the specification."""
    return [
        read_literal(node.text.decode())
        for node in nodes(script)
        if node.type == "verbatim_string_characters" and node.text is not None
    ]


def read_literal(text: str) -> str:
    """The value of exactly one verbatim string.  Raises ValueError when `text` is anything else, or more."""
    if len(text) < 2 or text[0] not in _QUOTES:
        raise ValueError(f"no verbatim string: {text!r}")
    value, at = "", 1
    while at < len(text):
        if text[at] not in _QUOTES:
            value += text[at]
        elif at + 1 < len(text) and text[at + 1] in _QUOTES:
            value += text[at]  # two of them stand for the first
            at += 1
        elif at + 1 == len(text):
            return value
        else:
            raise ValueError(f"the string ends before the text does: {text!r}")
        at += 1
    raise ValueError(f"the string does not end: {text!r}")
