"""`filterd reports list | show | accept | reject | withdraw | reporters`: what people report, its review, and whose word counts."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from filterd.commands.options import add_config, add_json, print_json, printable, table, time_text
from filterd.config import load_config
from filterd.errors import ConfigError, PermanentError
from filterd.learning.provenance import TEXTS, reporter_key
from filterd.learning.trust import State
from filterd.storage import ledger, pins, reports, words
from filterd.storage.database import Database, open_database
from filterd.storage.reports import Report

_BY = "command line"
_LIMIT = 1000  # storage's own bound of a page


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("reports", help="what people report, and its review").add_subparsers(
        required=True, metavar="ACTION"
    )
    shown = group.add_parser("list", help="reports, newest first")
    state = shown.add_mutually_exclusive_group()
    state.add_argument("--held", action="store_true", help="only those that wait for a review")
    state.add_argument(
        "--unlearned", action="store_true", help="only those that count and teach nothing yet: too few people say so"
    )
    state.add_argument("--state", choices=[state.value for state in State], help="only those in this state")
    shown.add_argument("--hold", choices=sorted(TEXTS), help="only those held for this reason, now or once")
    shown.add_argument("--reporter", metavar="MAILBOX", help="only those of this person")
    shown.add_argument("--limit", type=int, default=100, metavar="N", help=f"at most, up to {_LIMIT} (default 100)")
    shown.set_defaults(run=run_list)
    show = group.add_parser("show", help="one report: its message, who says so, and why it waits")
    show.set_defaults(run=run_show)
    accept = group.add_parser("accept", help="it is right: it counts as an administrator's word; ham is pinned")
    accept.set_defaults(run=run_decide, accepted=True)
    reject = group.add_parser("reject", help="it is wrong: it is never learned, and costs its reporter trust")
    reject.set_defaults(run=run_decide, accepted=False)
    withdraw = group.add_parser("withdraw", help="unlearn: the next training leaves it out")
    withdraw.set_defaults(run=run_withdraw)
    show.add_argument("id", type=int, help="number of the report, as shown by list")
    for command in (accept, reject, withdraw):
        command.add_argument("ids", type=int, nargs="+", metavar="id", help="numbers of reports, as shown by list")
    reporters = group.add_parser("reporters", help="who reports, and how far their word was found right")
    reporters.add_argument("--limit", type=int, default=100, metavar="N", help=f"at most, up to {_LIMIT} (default 100)")
    reporters.set_defaults(run=run_reporters)
    for command in (shown, show, reporters):
        add_json(command)
    for command in (shown, show, accept, reject, withdraw, reporters):
        add_config(command)


def run_list(options: argparse.Namespace) -> int:
    """Print reports."""
    config = load_config(options.config)
    database = open_database(config)
    state = State.HELD.value if options.held else options.state
    ids = words.unlearned(database, config.learning.agreement) if options.unlearned or options.held else []
    found = reports.list_reports(
        database,
        state=state,
        ids=ids if options.unlearned else None,
        hold=options.hold,
        reporter=reporter_key(options.reporter) if options.reporter else None,
        limit=_limit(options.limit),
    )
    if options.json:
        print_json([_plain(report) for report in found])
        return 0
    if not found:
        print("No report waits for a review." if options.held else "There is no such report.")
        _hint(options, ids)
        return 0
    rows = [
        (
            *(str(report.id), time_text(report.created_ms)[:16], report.label.value),
            *(() if options.held else (_state(report),)),  # all of them are: the room is for which message it is
            *(", ".join(report.holds), report.reporter, report.message_id or report.name or "-"),
        )
        for report in found
    ]
    state_head = () if options.held else ("state",)
    print(table(rows, ("id", "when (UTC)", "says", *state_head, "held for", "reporter", "message")))
    if len(found) == options.limit:
        print(f"\nOnly the newest {options.limit} are shown.")
    _hint(options, ids)
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print one report; exit status 1 when there is none."""
    database = open_database(load_config(options.config))
    report = reports.get(database, options.id)
    if report is None:
        return _none(options.id)
    standing = words.standing_of(database, report.reporter)
    pinned = bool(pins.of_report(database, report.id))
    if options.json:
        more = {"trust": standing.trust, "agreed": standing.agreed, "disagreed": standing.disagreed, "pinned": pinned}
        print_json({**_plain(report), **more})
        return 0
    lines = [
        ("report", f"{report.id}, {report.label.value}, {_state(report)}"),
        ("reporter", f"{report.reporter} (trust {standing.trust:.2f}: {_right(standing.agreed, standing.disagreed)})"),
        ("came", f"{time_text(report.created_ms)} by {report.source}"),
        *_message(database, report),
        ("campaign", report.campaign or "none"),
        *(("held for", TEXTS.get(hold, hold)) for hold in report.holds),
        ("learns from", _source(report)),
    ]
    if report.note:
        lines.append(("note", report.note))
    if report.decided_ms is not None:
        lines.append(("reviewed", f"{time_text(report.decided_ms)} by {report.decided_by}"))
    if report.withdrawn_ms is not None:
        lines.append(("withdrawn", f"{time_text(report.withdrawn_ms)} by {report.withdrawn_by}"))
    if pinned:
        lines.append(("pinned", "no model may call it spam"))
    for name, text in lines:
        print(f"{name:<12} {printable(text)}")
    return 0


def run_decide(options: argparse.Namespace) -> int:
    """The review of some reports; exit status 1 when one of them is not there, or cannot be decided: the others are."""
    database = open_database(load_config(options.config))
    status = 0
    for id in options.ids:
        if reports.get(database, id) is None:
            status = _none(id)
            continue
        try:
            report = reports.decide(database, id, options.accepted, _BY)
        except PermanentError as error:
            print(f"filterd: report {id}: {error}", file=sys.stderr)
            status = 1
        else:
            print(f"Report {report.id} is {_state(report)}.")
    return status


def run_withdraw(options: argparse.Namespace) -> int:
    """Withdraw reports; exit status 1 when one of them is not there, or was withdrawn before: the others are."""
    database = open_database(load_config(options.config))
    status = 0
    for id in options.ids:
        if reports.unlearn(database, id, _BY):
            print(f"Report {id} is withdrawn; the next training leaves it out.")
        else:
            status = _none(id)
    return status


def run_reporters(options: argparse.Namespace) -> int:
    """Print who reports."""
    found = words.list_reporters(open_database(load_config(options.config)), _limit(options.limit))
    if options.json:
        print_json([asdict(reporter) for reporter in found])
        return 0
    if not found:
        print("Nobody has reported anything.")
        return 0
    rows = [
        (
            *(f"{r.trust:.2f}", str(r.agreed), str(r.disagreed), str(r.counting), str(r.held)),
            *(str(r.overruled), str(r.withdrawn), time_text(r.last_ms)[:16], r.reporter),
        )
        for r in found
    ]
    head = ("trust", "right", "wrong", "counting", "held", "overruled", "withdrawn", "last (UTC)", "reporter")
    print(table(rows, head))
    return 0


def _plain(report: Report) -> dict[str, object]:
    return asdict(report)


def _hint(options: argparse.Namespace, unlearned: list[int]) -> None:
    """Where few people report, nothing is held and nothing is learned either: whoever looks after it must hear of that."""
    if options.held and unlearned:
        text = "report counts and teaches" if len(unlearned) == 1 else "reports count and teach"
        print(
            f"\n{len(unlearned)} {text} nothing yet, as too few people say the same: filterd reports list --unlearned"
        )


def _limit(limit: int) -> int:
    if not 1 <= limit <= _LIMIT:
        raise ConfigError([f"--limit: expected 1 to {_LIMIT}, found {limit}"])
    return limit


def _state(report: Report) -> str:
    return (
        f"{report.state.value} (trusted)" if report.trusted and report.state is State.COUNTING else report.state.value
    )


def _right(agreed: int, disagreed: int) -> str:
    return f"right {agreed}, wrong {disagreed}" if agreed or disagreed else "nothing is known"


def _source(report: Report) -> str:
    if not report.has_features:
        return "nothing: we do not know what the message said"
    return "our own record" if report.message_id else "what came with the report"


def _message(database: Database, report: Report) -> list[tuple[str, str]]:
    trace = ledger.trace(database, report.message_id) if report.message_id else None
    lines = [("message", report.message_id or "did not come through us"), ("Message-ID", report.name or "not known")]
    if trace is not None:
        lines += [("author", trace.message.header_from), ("subject", trace.message.subject)]
        lines.append(("our verdict", trace.message.action or "no longer known"))
    return lines


def _none(id: int) -> int:
    print(f"filterd: no such report {id}; see filterd reports list", file=sys.stderr)
    return 1
