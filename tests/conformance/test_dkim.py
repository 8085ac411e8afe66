"""OpenDKIM's 81 cases, mail-auth's 6 and dkimpy's samples through filterd.auth.dkim."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from filterd.auth import dkim
from filterd.auth.dkim import DkimOutcome, verify_dkim
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.material import conformance_dir

LENGTH = "octets after l= are not signed: pass there, policy here (RFC 6376 8.2, RFC 8601 policy)"
WHOLE = "their library refuses the message as a whole; here each signature has a result of its own"
# Where the suite and we differ (with rsa-sha1 let in), and why.
DIFFERENCES: dict[str, str] = {
    **dict.fromkeys(["t-test101", "t-test12", "t-test13", "t-test14", "t-test15"], LENGTH),
    **dict.fromkeys(["t-test28", "t-test29", "t-test30", "t-test31"], LENGTH),
    "t-test102": "asks for a list of fields that must be signed, which is an option of their library",
    "t-test104": "t= in the future: RFC 6376 3.5 says MAY ignore; here the (broken) signature decides: fail",
    "t-test119": "body fails before the end-of-header check of their library would",
    "t-test130": WHOLE,
    "t-test58": "malformed header, no signature: none here",
    "t-test66": "From without an address is DMARC's matter; here the (broken) signature decides: fail",
}
NO_STATUS = {"t-test59", "t-test134"}  # the suite tests lack of memory or disk there: no result is expected


def verify(octets: bytes, keys: dict[str, str], now: int) -> list[DkimOutcome]:
    text = octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n")
    resolver = MapResolver({(name, "TXT"): [record] for name, record in keys.items()})
    return asyncio.run(verify_dkim(resolver, Message(text), now, Deadline.after(20)))


def summary(outcomes: list[DkimOutcome]) -> str:
    """The best result of all signatures, as a suite with one status per message states it."""
    order = ["pass", "policy", "fail", "temperror", "permerror"]
    found = {outcome.result.value for outcome in outcomes}
    return next((word for word in order if word in found), "none")


def load(suite: str) -> tuple[Path, list[dict[str, Any]], dict[str, str]]:
    folder = conformance_dir() / "dkim" / suite
    data = json.loads((folder / "cases.json").read_text("utf-8"))
    return folder, data["cases"], data.get("dns_txt", {})


def ids(suite: str) -> list[str]:
    try:
        return [case["id"] for case in load(suite)[1]]
    except pytest.skip.Exception:
        return ["absent"]


@pytest.mark.parametrize("case_id", ids("opendkim"))
def test_opendkim_with_sha1_let_in(case_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 of the cases are signed with rsa-sha1; they show the core only when it is let in."""
    folder, cases, keys = load("opendkim")
    case = next(case for case in cases if case["id"] == case_id)
    monkeypatch.setitem(dkim.ALGORITHMS, "rsa-sha1", ("rsa", "sha1"))
    outcomes = verify((folder / case["message"]).read_bytes(), keys, 1_200_000_000)
    if case_id in NO_STATUS:
        assert summary(outcomes) != "pass"
    elif case_id in DIFFERENCES:
        assert summary(outcomes) != case["expected"], "no longer different: take it out of DIFFERENCES"
    else:
        assert summary(outcomes) == case["expected"], f"{outcomes} {case['title']} {case['opendkim_status']}"


@pytest.mark.parametrize("case_id", ids("opendkim"))
def test_opendkim_as_shipped_passes_nothing_with_sha1(case_id: str) -> None:
    folder, cases, keys = load("opendkim")
    case = next(case for case in cases if case["id"] == case_id)
    outcomes = verify((folder / case["message"]).read_bytes(), keys, 1_200_000_000)
    assert not [o for o in outcomes if o.algorithm == "rsa-sha1" and o.result not in (Result.POLICY, Result.PERMERROR)]
    if case["expected"] == "pass" and "rsa-sha256" in case["algorithms"] and case_id not in DIFFERENCES:
        assert summary(outcomes) == "pass"


@pytest.mark.parametrize("case_id", ids("stalwart-mail-auth"))
def test_mail_auth(case_id: str) -> None:
    folder, cases, _ = load("stalwart-mail-auth")
    case = next(case for case in cases if case["id"] == case_id)
    outcomes = verify((folder / case["message"]).read_bytes(), case["dns_txt"], 1_600_000_000)
    assert outcomes
    assert all(outcome.result == Result.PASS for outcome in outcomes), outcomes


@pytest.mark.parametrize("name", ["rfc6376.signed.msg", "rfc6376.signed.rsa.msg"])
def test_samples_of_rfc_8463(name: str) -> None:
    """The message of RFC 6376 signed by dkimpy with the keys of RFC 8463 appendix A."""
    octets = (conformance_dir() / "dkim" / "dkimpy-data" / name).read_bytes()
    keys = load("stalwart-mail-auth")[1][0]["dns_txt"]
    outcomes = verify(octets, keys, 1_600_000_000)
    assert outcomes
    assert {outcome.result for outcome in outcomes} == {Result.PASS}, outcomes
