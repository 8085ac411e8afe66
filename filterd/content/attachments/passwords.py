"""Owns finding the password of an archive in the text that brings it, in English, German, French and Spanish.

Must not know archives; a text that only speaks of a password gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_PASSWORDS = 8
_MAX_TEXT = 32_768  # octets of text that are looked at
_WORD = (
    r"pass(?:word|code|phrase|wort)?|pwd?|pin|kenn?wort|zugangs?code|mot\s{1,2}de\s{1,2}passe|mdp"
    r"|contrase(?:ñ|n)a|clave|senha|wachtwoord"
)
_PHRASE = re.compile(
    rf"(?<![\w-])(?:{_WORD})(?![\w-])[^\w\n]{{0,3}}(?:(?:is|ist|lautet|est|es|zip|archive?|archiv)\b)?"
    r"\s{0,8}(?:[:=\-–>]{1,3}|\bis\b|\bist\b|\blautet\b|\best\b|\bes\b)\s{0,8}"
    r"[\"'“”„«»‘’(<\[]{0,2}([^\s\"'“”„«»‘’<>\[\]]{3,40})",
    re.I,
)
# What stands behind "password:" in honest mail that does not give it away.
_NO_PASSWORDS = (
    "see siehe will wird werden folgt follows sent send not nicht same gleich your ihr ihre the das der die den per via by "
    "in im on an a separately separat separate telefonisch phone sms to be been required needed needs erforderlich protected "
    "geschützt reset change ändern expired expires forgotten vergessen votre vous sera envoyé su sus será enviada por for für "
    "and und or oder et y with mit que you if this that our unser always only nur has hat can kann must muss please bitte "
    "valid gültig available one"
)
_NO_PASSWORD = frozenset(_NO_PASSWORDS.split())


def passwords(texts: Iterable[str]) -> tuple[str, ...]:
    """What the texts give as password, in order, at most MAX_PASSWORDS; never raises."""
    found: dict[str, None] = {}
    left = _MAX_TEXT
    for text in texts:
        for match in _PHRASE.finditer(text[:left]):
            word = match[1].rstrip(".,;:!?)")
            if len(word) >= 3 and word.lower() not in _NO_PASSWORD and not word.lower().startswith(("http", "www.")):
                found[word] = None
        left -= min(len(text), left)
    return tuple(found)[:MAX_PASSWORDS]
