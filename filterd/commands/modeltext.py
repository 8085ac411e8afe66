"""Owns what `filterd models` prints for people, at a width of 100 columns.  Must not know where the facts come from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filterd.commands.options import printable, table, time_text

WIDTH = 100
_EVENT_WORDS = ("before", "to", "state", "gate", "reason", "newer", "position", "signed_by", "new_reports", "error")
_GATE = {"passed": "passed", "refused": "refused", "not_enough_evidence": "too few messages", "": "not judged here"}
# How a criterion of the gate is called in three words.
_CRITERIA = {
    "pins": "pinned mail",
    "regression": "shipped set",
    "false_positives": "good mail held",
    "caught": "spam missed",
    "log_loss": "worse odds",
    "senders": "sender blocked",
    "campaigns": "campaign passed",
}


def all_models(found: Sequence[Mapping[str, Any]]) -> str:
    """The table of all models; `*` is in use, `~` scores beside it.  Under it, whole, why one cannot be used."""
    rows = [
        (
            "*" if item["active"] else "~" if item["shadow"] else "",
            item["name"],
            item["state"],
            time_text(item["created_ms"])[:10] if item["created_ms"] is not None else "",
            str(item["position"] or ""),
            gate_words(item),
            item["model"],
        )
        for item in found
    ]
    lines = [table(rows, ("", "name", "state", "made (UTC)", "reports", "gate", "model"))]
    for item in found:
        if item["error"]:
            lines += _wrapped("!  ", f"{item['name']} cannot be used: {item['error']}")
    return "\n".join([*lines, "* in use   ~ in shadow"])


def gate_words(item: Mapping[str, Any]) -> str:
    """The gate's verdict in a few words."""
    if item["name"] == "seed":
        return ""
    stopped = [_CRITERIA.get(name, name) for name in item["stopped_by"] if name != "evidence"]
    if item["gate"] == "refused" and stopped:
        return f"refused: {stopped[0]}" + (f" +{len(stopped) - 1}" if len(stopped) > 1 else "")
    return _GATE.get(str(item["gate"]), str(item["gate"]))


def one_model(item: Mapping[str, Any]) -> str:
    """Everything about one model."""
    parts = [_head(item), _gate(item["gate_report"]), _shadow(item), _history(item["events"])]
    return "\n\n".join(part for part in parts if part)


def _head(item: Mapping[str, Any]) -> str:
    training = item["training"]
    place = "in use" if item["active"] else "in shadow" if item["shadow"] else item["state"].replace("_", " ")
    signed = {"own": "by this site", "trusted": "by a trusted key", "shipped": "comes with the program", "no": "NO"}
    facts = [("model", item["model"]), ("signed", signed.get(item["signed"], item["signed"]))]
    if item["error"]:
        facts.append(("CANNOT BE USED", item["error"]))
    if item["created_ms"] is not None:
        reports = f", of the reports up to {item['position']}" if item["position"] else ""
        facts.append(("made", f"{time_text(item['created_ms'])} by {item['created_by']}{reports}"))
    if learned := training.get("learned"):
        mode = " from scratch" if training.get("mode") == "scratch" else f" on top of {training.get('base', '?')}"
        facts.append(("learned", f"{learned.get('ham', 0)} good, {learned.get('spam', 0)} spam{mode}"))
    if item["lineage"]:
        older = ", ".join(
            each["name"] + ("" if each["state"] == "shipped" else f" ({each['state'].replace('_', ' ')})")
            for each in item["lineage"]
        )
        facts.append(("made beside", older))
    return "\n".join([f"{item['name']}: {place}", *_facts(facts)])


def _gate(report: Mapping[str, Any]) -> str:
    if not report:
        return ""
    lines = [f"GATE: {_GATE.get(str(report.get('verdict')), report.get('verdict'))}"]
    for criterion in report.get("criteria", ()):
        mark = "ok" if criterion["passed"] else "few" if criterion["name"] == "evidence" else "STOP"
        lines += _wrapped(f"  {mark:<5}{criterion['name']:<17}", criterion["text"])
        if criterion["messages"]:
            lines += _wrapped(" " * 24, " ".join(criterion["messages"]))
    if "candidate" in report and "active" in report:
        lines += ["", *_figures(report["candidate"], report["active"])]
    return "\n".join(lines)


def _figures(candidate: Mapping[str, Any], active: Mapping[str, Any]) -> list[str]:
    def row(text: str, count: str, total: str, limits: str) -> tuple[str, str, str]:
        this, other = (_share(each[count], each[total], each[limits]) for each in (candidate, active))
        return f"  {text}", this, other

    rows = [
        row("good mail called spam", "false_positives", "ham", "false_positive_limits"),
        row("spam caught", "caught", "spam", "caught_limits"),
        ("  log-loss", f"{candidate['log_loss']:.4f}", f"{active['log_loss']:.4f}"),
    ]
    return table(rows, ("  on held-out mail", "this model", "the one in use then")).splitlines()


def _share(count: int, total: int, limits: Sequence[float]) -> str:
    return f"{count} of {total} ({100 * limits[0]:.1f} to {100 * limits[1]:.1f} %)" if total else "none"


def _shadow(item: Mapping[str, Any]) -> str:
    report, flips = item["shadow_report"], item["flips"]
    if not report:
        return ""
    count = report.get("messages", 0)
    counts = f"{count} messages, {report.get('stricter', 0)} judged stricter, {report.get('milder', 0)} milder"
    lines = [f"SHADOW: since {time_text(report['started_ms'])}, {counts}"]
    if report.get("text"):
        lines += _wrapped("  ", str(report["text"]))
    lines += [f"  {count:>6}  {change}" for change, count in sorted(dict(report.get("changes", {})).items())]
    if flips:
        rows = [
            (
                f"  {flip['message_id']}",
                time_text(flip["at_ms"]),
                f"{flip['action']} -> {flip['would']}",
                f"{flip['log_odds']:+.1f} -> {flip['would_log_odds']:+.1f}",
            )
            for flip in flips
        ]
        lines += table(rows, ("  message", "seen", "would change", "content log-odds")).splitlines()
    return "\n".join(lines)


def _history(found: Sequence[Mapping[str, Any]]) -> str:
    return "EVENTS\n" + history(found, named=False) if found else ""


def history(found: Iterable[Mapping[str, Any]], *, named: bool = True) -> str:
    """Events, newest first; details that a person wants, in one line or several."""
    lines: list[str] = []
    for event in found:
        who = f"{event['name']}: " if named and event["name"] else ""
        detail = event["detail"]
        words = [
            f"{key.replace('_', ' ')} {detail[key]}" for key in _EVENT_WORDS if detail.get(key) not in (None, "", 0)
        ]
        words += ["forced"] if detail.get("forced") else []
        words += [f"messages {' '.join(map(str, detail['messages']))}"] if detail.get("messages") else []
        words += [str(alarm.get("text", "")) for alarm in detail.get("alarms", ())]
        lines += _wrapped(
            f"  {time_text(event['at_ms'])}  {event['kind']:<15}  ",
            f"{who}by {event['actor']}" + "".join(f"; {word}" for word in words),
        )
    return "\n".join(lines) or "nothing happened yet"


def comparison(found: Mapping[str, Any]) -> str:
    """Two models side by side."""
    a, b = found["a"], found["b"]
    rows = [
        (f"  {text}", value(a), value(b))
        for text, value in (
            ("model", lambda side: side["model"]),
            ("base", lambda side: str(side["training"].get("base", ""))),
            ("learned good / spam", _learned),
            ("way", lambda side: str(side["training"].get("mode", ""))),
            ("ledger (digest)", lambda side: str(side["training"].get("ledger_sha256", ""))[:16]),
            ("local mail good / spam", lambda side: f"{side['local']['ham']} / {side['local']['spam']}"),
            ("slope, offset", lambda s: f"{s['calibration']['slope']:.3f}, {s['calibration']['offset']:+.3f}"),
        )
    ]
    weights = found["weights"]
    lines = [table(rows, ("", a["name"], b["name"])), ""]
    lines += _wrapped(
        "WEIGHTS: ",
        f"{100 * weights['changed']:.1f} % differ, the farthest by {weights['largest']:.3f}; "
        f"{100 * weights['top']:.0f} % of all movement is in the thousandth of them that moved most",
    )
    for title, part in (("SHIPPED SET", found["shipped"]), ("RECENT MAIL", found["recent"])):
        lines += [
            "",
            f"{title}: {part['messages']} messages, called spam {part['spam_a']} and {part['spam_b']}, {part['differ']} differ",
        ]
        if part["shown"]:
            shown = [
                (
                    f"  {item['message']}",
                    {True: "spam", False: "good", None: item["fate"]}[item["spam"]],
                    f"{item['a']:+.1f} -> {item['b']:+.1f}",
                    item["header_from"],
                )
                for item in part["shown"]
            ]
            lines.append(table(shown, ("  message", "is", "log-odds", "author")))
    return "\n".join(lines)


def _learned(side: Mapping[str, Any]) -> str:
    learned = side["training"].get("learned")
    return f"{learned.get('ham', 0)} / {learned.get('spam', 0)}" if isinstance(learned, Mapping) else ""


def drift(found: Mapping[str, Any] | None) -> str:
    """What the last daily look found."""
    if found is None:
        return "nobody has looked yet: the side service does once a day"
    lines = [f"{found['model']}, looked at {time_text(found['at_ms'])}"]
    now, reference = found.get("now"), found["reference"]
    if now is None:
        lines.append(f"  first look: {reference.get('messages', 0)} messages are what later days are held against")
        return "\n".join(lines)
    psi = found.get("psi")
    rows = [
        ("  messages", str(now["messages"]), str(reference["messages"])),
        ("  unknown features", f"{100 * now['unknown']:.1f} %", f"{100 * reference['unknown']:.1f} %"),
        (
            "  log-loss of reports",
            f"{now['log_loss']:.3f} ({now['reports']})",
            f"{reference['log_loss']:.3f} ({reference['reports']})",
        ),
        ("  stability index", "too few messages" if psi is None else f"{psi:.3f}", ""),
    ]
    lines.append(table(rows, ("", "last day", "reference")))
    for alarm in found["alarms"]:
        lines += _wrapped("  ALARM  ", str(alarm["text"]))
        lines += _wrapped("         ", " ".join(map(str, alarm["messages"])))
    if not found["alarms"]:
        lines.append("  no alarm")
    return "\n".join(lines)


def _facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [line for name, text in facts for line in _wrapped(f"  {name:<16}", text)]


def _wrapped(first: str, text: str) -> list[str]:
    """Lines of at most WIDTH columns, those after the first under the text of the first."""
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False
    ) or [first.rstrip()]
