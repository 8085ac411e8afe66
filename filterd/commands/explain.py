"""Owns how an explained verdict reads on a terminal, for `scan` and `trace`.  Its form: engine/record.py, version 1 or 2.

Must not know where a verdict comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filterd.commands.options import printable, table

_BY_SCORE = ("tag_score", "quarantine_score", "reject_score")
_NAMED = 3  # recipients in one line


def explanation(verdict: Mapping[str, Any]) -> str:
    """The answer, what decided, what would have changed it, what was missing, and the sum."""
    change = verdict.get("nearest_change")
    facts = [
        ("Decided by", decided_by(verdict)),
        *([("Nearest change", change["text"])] if change else []),
        *(("Not known", line) for line in missing(verdict)),
        *([("SMTP answer", verdict["reply"])] if verdict["reply"] else []),
    ]
    lines = [f"{name + ':':<16}{printable(text)}" for name, text in facts]
    return "\n".join(
        [*lines, "", "What adds up to the score (log-odds: + speaks for spam, - for good mail):", summands(verdict)]
    )


def headline(verdict: Mapping[str, Any]) -> str:
    """The action and its numbers; in observe mode the action that was spared."""
    spared = f" (observe mode, else {verdict['would']})" if verdict["would"] != verdict["action"] else ""
    numbers = f"score {verdict['score']:+.3f}  probability of spam {verdict['probability']:.1%}  SCL {verdict['scl']}"
    return f"{verdict['action'].upper()}{spared}  {numbers}"


def decided_by(verdict: Mapping[str, Any]) -> str:
    """The row of the policy in words; where the score decided, what weighed most as well."""
    words = str(verdict.get("decided_by") or verdict["row"].replace("_", " "))  # version 1 has the name only
    heaviest = max(verdict["contributions"], key=lambda item: item["log_odds"], default=None)
    if verdict["row"] in _BY_SCORE and heaviest is not None and heaviest["log_odds"] > 0:
        return f"{words}; most of it: {heaviest['text']}"
    return words


def missing(verdict: Mapping[str, Any]) -> list[str]:
    """What could not be asked, and what that meant."""
    known = verdict.get("missing")
    if known is None:  # version 1 has names only
        return [", ".join(verdict["unavailable"])] if verdict["unavailable"] else []
    return [f"{item['text']}; {item['meaning']}" for item in known]


def summands(verdict: Mapping[str, Any]) -> str:
    """The contributions as a table, each with its clues, and the line that they add up to."""
    rows: list[tuple[str, str, str]] = []
    for item in verdict["contributions"]:
        check = item["check"].replace("cap:unfamiliar", "content").removeprefix("cap:")
        rows.append((_weight(item), check, item["text"]))
        rows += [("", "", f"{_weight(clue)}  {clue['text']}") for clue in item.get("clues", ())]
    return table([*rows, ("-------", "", ""), (f"{verdict['score']:+7.3f}", "", "score")], (" weight", "check", "why"))


def _weight(item: Mapping[str, Any]) -> str:
    return f"{item['log_odds']:+7.3f}"


def alike(verdicts: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Verdicts with the same explanation together, each with its recipients."""
    groups: list[tuple[dict[str, Any], Mapping[str, Any], list[str]]] = []
    for verdict in verdicts:
        same = {key: value for key, value in verdict.items() if key not in ("recipient", "reply")}
        known = next((names for key, _, names in groups if key == same), None)
        if known is None:
            groups.append((same, verdict, [verdict["recipient"]]))
        else:
            known.append(verdict["recipient"])
    return [(verdict, names) for _, verdict, names in groups]


def named(recipients: Sequence[str]) -> str:
    """Recipients in one line, the first of many."""
    shown = ", ".join(printable(name) for name in recipients[:_NAMED])
    more = len(recipients) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
