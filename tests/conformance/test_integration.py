"""authentication_milter's 67 runs: a message, a client and a DNS zone, through our stages to Authentication-Results."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import Any

import dns.rrset
import pytest

from filterd.adapters.tallies import SharedTallies
from filterd.checks.base import CheckContext
from filterd.checks.lists import NetworkTable
from filterd.checks.registry import LIVE_ONLY, Parts, build
from filterd.config import Config
from filterd.deadline import Deadline
from filterd.engine.pipeline import Pipeline
from filterd.mail.address import parse_mailbox
from filterd.mail.authres import METHODS, authentication_results
from filterd.mail.envelope import Connection, Envelope, parse_ip
from filterd.mail.evidence import Evidence, Reason, Stage
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.doubles import ScriptedDirectory
from tests.support.material import conformance_dir

# The clock of the runs: after the newest signature in them, before any expires.
NOW = 1_600_000_000.0
SUITE = ("integration", "fastmail-authentication-milter")
LOCAL = (
    "they leave out clients that their configuration calls local or trusted; here the listener says so: all is asked"
)
MAPPED = "their configuration gives this client another address, with a name"
NO_PTR = "no PTR data is published: permerror (RFC 8601 2.7.3); fail there"
# Where we differ, by run (without ".eml" and ".smtp") or configuration and by method ("*": every method), and why.
DIFFERENCES: dict[tuple[str, str], str] = {
    ("google_apps_good.timeout", "*"): "their milter is made to time out; a time-out of ours: tests/unit/engine",
    ("google_apps_good_dryrun", "*"): "their dry run writes no field",
    ("dmarc_reject_hard", "*"): "they refuse the message, so that there is no field to compare (RFC 9989 7.4)",
    **{(f"google_apps_good{more}", name): LOCAL for more in (".local", "_case.local", ".trusted", ".8bit")
       for name in ("spf", "dmarc", "iprev")},
    **{("google_apps_headers", name): LOCAL for name in ("spf", "dmarc", "iprev")},
    **{(f"google_apps_good_map{more}", name): MAPPED for more in ("", "_cidr") for name in ("spf", "iprev")},
    ("google_apps_bad_space", "dmarc"): "a reverse-path with a blank is none here (RFC 5321 4.1.2; refused by SMTP)",
    ("google_apps_bad_space", "spf"): "the same: the HELO identity is asked about, which has no record",
    ("dmarc_reject_wl", "dkim"): "signed with rsa-sha1: policy (RFC 8301 3.1), pass there",
    **{(f"spam_headers{more}", "dmarc"): "From has an open quotation and an address: one author domain can be read, with no"
       " record: none; they cannot read it: permerror" for more in ("", "_hide_none", "_spf_hide_none")},
    **{(f"config/hide_none{more}", name): "this configuration writes no result none and no iprev"
       for more in ("", ".smtp") for name in ("spf", "dkim", "iprev")},
}  # fmt: skip


def cases() -> list[Any]:
    try:
        folder = conformance_dir()
    except pytest.skip.Exception:
        return []
    data = json.loads(folder.joinpath(*SUITE, "cases.json").read_text("utf-8"))
    return [pytest.param(case, id=case["id"].removesuffix(".eml")) for case in data]


@cache
def world() -> dict[tuple[str, str], list[str]]:
    """The suite's zone file: one record a line, names absolute, with or without TTL and class."""
    records: dict[tuple[str, str], list[str]] = {}
    path = conformance_dir().joinpath(*SUITE, "zonefile")
    for line in path.read_text("utf-8").splitlines():
        if not line.strip() or line.startswith(";"):
            continue
        words = line.split()
        name, rest = words[0].rstrip("."), words[1:]
        while rest and (rest[0].isdigit() or rest[0] == "IN"):
            rest.pop(0)
        if len(rest) < 2 or rest[0] not in ("A", "AAAA", "TXT", "MX", "PTR", "CNAME"):
            continue
        rrset = dns.rrset.from_text("x.", 300, "IN", rest[0], " ".join(rest[1:]).strip("( )"))
        (value,) = rrset
        if rest[0] == "TXT":
            text = b"".join(value.strings).decode("latin-1")
        elif rest[0] == "MX":
            text = f"{value.preference} {value.exchange.to_text(omit_final_dot=True)}"
        else:
            text = value.to_text().rstrip(".")
        known = records.setdefault((name, rest[0]), [])
        if text not in known:
            known.append(text)
    return records


def judge(case: dict[str, Any]) -> list[Evidence]:
    folder = conformance_dir().joinpath(*SUITE)
    octets = (folder / case["message"]).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    path = case["mail_from"].split(">")[0].lstrip("<")
    connection = Connection(parse_ip(case["client_ip"]), helo=case["helo"])
    envelope = Envelope("ID", parse_mailbox(path))
    parts = Parts(
        MapResolver(world()), ScriptedDirectory(), NetworkTable([]), None, SharedTallies.alone(), clock=lambda: NOW
    )
    pipeline = Pipeline(check for check in build(Config(), parts) if check.name not in LIVE_ONLY)

    async def scene() -> list[Evidence]:
        found: list[Evidence] = []
        for stage in (Stage.CONNECT, Stage.HELO, Stage.MAIL, Stage.DATA):
            ctx = CheckContext(
                connection,
                Deadline.after(20),
                tuple(found),
                envelope if stage in (Stage.MAIL, Stage.DATA) else None,
                None,
                Message(octets) if stage is Stage.DATA else None,
            )
            found += await pipeline.run(stage, ctx)
        return found

    return asyncio.run(scene())


def said(found: list[Evidence], method: str) -> list[str]:
    checks = [check for check, name in METHODS.items() if name == method and check != "spf_helo"]  # theirs has one spf
    return sorted(item.result.value for item in found if item.check in checks)


@pytest.mark.parametrize("case", cases() or [pytest.param(None, id="suite-absent")])
def test_authentication_milter(case: dict[str, Any] | None) -> None:
    if case is None:
        conformance_dir()
        return
    found = judge(case)
    name = case["id"].removesuffix(".eml").removesuffix(".smtp")
    for method in ("spf", "dkim", "dmarc", "iprev"):
        ours, theirs = said(found, method), sorted(case["expected_methods"].get(method, []))
        known = [key for key in ((name, method), (name, "*"), (case["config"], method)) if key in DIFFERENCES]
        if method == "iprev" and ours == ["permerror"] and theirs == ["fail"]:
            assert [item.reason for item in found if item.check == "rdns"] == [Reason.NO_PTR], NO_PTR
        elif ours != theirs:
            assert known, f"{method}: {ours} here, {theirs} there: {[item.log_text for item in found]}"
    field = authentication_results("test.module", found)
    assert all(f"{item.check}=".encode() in field for item in found if item.check in ("spf", "dkim", "dmarc"))


def test_every_named_difference_is_one() -> None:
    """A name in the list that differs no longer must go."""
    seen: set[tuple[str, str]] = set()
    for param in cases():
        (case,) = param.values
        found = judge(case)
        name = case["id"].removesuffix(".eml").removesuffix(".smtp")
        for method in ("spf", "dkim", "dmarc", "iprev"):
            if said(found, method) != sorted(case["expected_methods"].get(method, [])):
                seen |= {(name, method), (name, "*"), (case["config"], method)}
    if not seen:
        conformance_dir()
    assert not set(DIFFERENCES) - seen
