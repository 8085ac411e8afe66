"""Owns the measurement of an explained verdict: the decision, the search for the nearest change, the record.

Run: python -m benchmarks.explanation [--calls 500]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from filterd.engine.flip import nearest_change
from filterd.engine.policy import Policy, decide
from filterd.engine.record import evidence_record
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Scope, Stage

POLICY = Policy()
ANNA = "anna@example.org"
CLUES = tuple(Clue(f"text: word{number}", 0.3) for number in range(12))


def found(check: str, reason: Reason, result: Result = Result.PASS, detail: str = "", **properties: str) -> Evidence:
    """A finding; `smtp_mailfrom` names the property smtp.mailfrom."""
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return Evidence(check, Stage.CONNECT, result, reason, Scope.CONNECTION, detail, properties=named)


def evidence(content: float, dmarc: Reason = Reason.NOT_ALIGNED_NONE) -> list[Evidence]:
    """What is found about a usual message."""
    return [
        found("rdns", Reason.OK, client_name="mx.example.net"),
        *(found("dnsbl", Reason.NOT_LISTED, Result.NONE, f"{zone}.example") for zone in "abc"),
        found("helo", Reason.OK),
        found("spf", Reason.SPF_SOFTFAIL, Result.SOFTFAIL, smtp_mailfrom="example.com"),
        found("spf_helo", Reason.HELO_NO_RESULT, Result.NONE),
        replace(found("recipient", Reason.OK), recipient=ANNA),
        found("dkim", Reason.NOT_SIGNED, Result.NONE),
        found("arc", Reason.OK, Result.NONE),
        found("dmarc", dmarc, Result.FAIL, header_from="example.com"),
        found("structure", Reason.OK),
        replace(found("content", Reason.LOOKS_LIKE_SPAM, Result.FAIL), measured=content, clues=CLUES),
    ]


def measured(name: str, call: Callable[[], object], calls: int) -> None:
    """Print the median and p99 of `call` in microseconds of CPU."""
    times = []
    for _ in range(calls):
        started = time.thread_time()
        call()
        times.append((time.thread_time() - started) * 1e6)
    times.sort()
    print(f"{name:55}{statistics.median(times):8.0f} us median{times[int(len(times) * 0.99)]:8.0f} us p99")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    calls = parser.parse_args().calls
    spam, forged = evidence(6.3), evidence(-2.0, Reason.NOT_ALIGNED_QUARANTINE)
    unknown = [*spam[:7], replace(found("recipient", Reason.RECIPIENT_UNKNOWN, Result.FAIL), recipient=ANNA)]
    zones = [*(replace(found("dnsbl", Reason.LISTED, Result.FAIL, f"{z}.example"), measured=3.0) for z in "xyz"), *spam]
    bare = [replace(item, clues=()) for item in spam]
    measured("decide, content with 12 clues", lambda: decide(spam, POLICY, recipient=ANNA), calls)
    measured("decide, without clues", lambda: decide(bare, POLICY, recipient=ANNA), calls)
    for name, case, stage in (
        ("quarantined by content", spam, Stage.DATA),
        ("quarantined by DMARC", forged, Stage.DATA),
        ("accepted (only in a scan)", evidence(-2.0), Stage.DATA),
        ("unknown recipient", unknown, Stage.RCPT),
        ("three zones and content, refused", zones, Stage.DATA),
    ):
        change = nearest_change(case, POLICY, stage, ANNA)
        print(f"  {change.text if change else None}")
        measured(f"nearest change, {name}", lambda c=case, s=stage: nearest_change(c, POLICY, s, ANNA), calls)
    names = [f"user{number}@example.org" for number in range(100)]
    own = [replace(spam[7], recipient=name) for name in names]
    common = [item for item in spam if item.recipient is None]
    verdicts = [(name, decide([*common, item], POLICY, recipient=name)) for name, item in zip(names, own, strict=True)]
    everything = [*common, *own]
    measured("record of 100 recipients", lambda: evidence_record(everything, verdicts, policy=POLICY), calls)
    measured("record of 100 recipients, no change", lambda: evidence_record(everything, verdicts), calls)


if __name__ == "__main__":
    main()
