"""The openspf suites (RFC 7208: 203 tests, RFC 4408: 191) through filterd.auth.spf."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml

from filterd.auth.spf import check_spf
from filterd.deadline import Deadline
from tests.support.dns import MapResolver
from tests.support.material import conformance_dir

# Where the suite and we differ, and why.  Key: "suite/test".
DIFFERENCES: dict[str, str] = {}


def resolver_of(zone: dict[str, list[Any]]) -> MapResolver:
    """The suite's zone as a resolver.  SPF records are doubled as TXT unless the name has TXT of its own."""
    records: dict[tuple[str, str], list[str]] = {}
    failing: set[str | tuple[str, str]] = set()
    for name, entries in zone.items():
        key = name.lower().removesuffix(".")
        has_txt = any(isinstance(e, dict) and "TXT" in e for e in entries)
        timeouts = False
        for entry in entries:
            if entry == "TIMEOUT":
                timeouts = True
                continue
            ((rdtype, value),) = entry.items()
            if rdtype == "SPF":
                if has_txt:
                    continue
                rdtype = "TXT"
            if rdtype == "TXT" and value == "NONE":
                continue
            if value == "TIMEOUT":
                failing.add((key, rdtype))
                continue
            records.setdefault((key, rdtype), []).append(text_of(rdtype, value))
        if timeouts:
            have = {t for n, t in records if n == key}
            failing.update((key, t) for t in ("A", "AAAA", "MX", "PTR", "TXT") if t not in have)
    return MapResolver(records, failing, kind="timeout")


def text_of(rdtype: str, value: Any) -> str:
    if rdtype == "MX":
        return f"{value[0]} {value[1]}"
    if rdtype == "TXT":
        joined = "".join(value) if isinstance(value, list) else value
        return str(joined).encode("utf-8").decode("latin-1")
    return str(value)


def cases() -> list[Any]:
    out: list[Any] = []
    try:
        folder = conformance_dir()
    except pytest.skip.Exception:
        return out
    for suite in ("rfc7208", "rfc4408"):
        path = folder / "spf" / "openspf" / f"{suite}-tests.yml"
        for scenario in yaml.safe_load_all(Path(path).read_text("utf-8")):
            for name, test in scenario["tests"].items():
                out.append(pytest.param(scenario["zonedata"], test, id=f"{suite}/{name}"))
    return out


@pytest.mark.parametrize(("zone", "test"), cases() or [pytest.param({}, None, id="suite-absent")])
def test_openspf(zone: dict[str, list[Any]], test: dict[str, Any] | None, request: pytest.FixtureRequest) -> None:
    if test is None:
        conformance_dir()  # skips by name
        return
    outcome = asyncio.run(
        check_spf(
            resolver_of(zone),
            ipaddress.ip_address(test["host"]),
            test.get("mailfrom") or "",
            test["helo"],
            Deadline.after(20),
        )
    )
    expected = test["result"] if isinstance(test["result"], list) else [test["result"]]
    agrees = outcome.result.value in expected
    wanted = test.get("explanation")
    if wanted is not None and agrees:
        agrees = outcome.explanation == ("" if wanted == "DEFAULT" else wanted)
    if request.node.callspec.id in DIFFERENCES:
        assert not agrees, "no longer different: take it out of DIFFERENCES"
    else:
        assert agrees, f"{outcome} instead of {test['result']} {wanted!r}"
