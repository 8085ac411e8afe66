"""ValiMail's 95 validation and 17 signing tests and mail-auth's 2 chains through filterd.auth.arc and filterd.auth.seal."""

from __future__ import annotations

import asyncio
import json
import re
from functools import cache
from typing import Any

import pytest
import yaml

from filterd.auth.arc import ArcOutcome, verify_arc
from filterd.auth.canonical import relaxed_field
from filterd.auth.seal import load_signer, seal
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.material import conformance_dir

NOW = 1_500_000_000
WORDS = {"None": Result.NONE, "Pass": Result.PASS, "Fail": Result.FAIL}
# Where the suite states nothing, or something else than we: our result, and why.
DIFFERENCES: dict[str, tuple[Result, str]] = {
    "cv_fail_i2_as1_fail": (Result.FAIL, "the suite states no result; RFC 8617 5.2 step 3C: cv=fail below the newest seal is fail"),
    "ams_fields_c_na": (Result.FAIL, "no c= means simple/simple (RFC 6376 3.5, to which RFC 8617 4.1.2 leaves it); the suite signed relaxed/relaxed"),
}  # fmt: skip


@cache
def load(file: str) -> dict[str, dict[str, Any]]:
    """Every test of a file by name, with the keys and signing parameters of its group."""
    text = (conformance_dir() / "arc" / "valimail-arc-test-suite" / file).read_text("utf-8")
    return {
        name: {**{k: v for k, v in group.items() if k != "tests"}, **test}
        for group in yaml.safe_load_all(text)
        for name, test in group["tests"].items()
    }


def names(file: str) -> list[str]:
    try:
        return list(load(file))
    except pytest.skip.Exception:
        return ["absent"]


def verify(octets: bytes, keys: dict[str, str], now: int = NOW) -> ArcOutcome:
    resolver = MapResolver({(name, "TXT"): [record] for name, record in keys.items()})
    return asyncio.run(verify_arc(resolver, Message(octets), now, Deadline.after(20)))


@pytest.mark.parametrize("name", names("arc-validation-dev.yml"))
def test_valimail_validation(name: str) -> None:
    case = load("arc-validation-dev.yml")[name]
    outcome = verify(case["message"].encode().replace(b"\n", b"\r\n"), case["txt-records"])
    if name in DIFFERENCES:
        assert outcome.result == DIFFERENCES[name][0], outcome
        assert WORDS.get(case["cv"]) != outcome.result, "no longer different: take it out of DIFFERENCES"
    else:
        assert outcome.result == WORDS[case["cv"]], f"{outcome} {case['description']}"


def test_the_suite_is_whole() -> None:
    assert len(load("arc-validation-dev.yml")) == 95
    assert len(load("arc-sign-tests.yml")) == 17


@pytest.mark.parametrize("number", [0, 1])
def test_mail_auth(number: int) -> None:
    folder = conformance_dir() / "arc" / "stalwart-mail-auth"
    case = json.loads((folder / "cases.json").read_text("utf-8"))["cases"][number]
    outcome = verify((folder / case["message"]).read_bytes(), case["dns_txt"], 1_700_000_000)
    assert outcome.result == Result.PASS, outcome
    assert outcome.sets


def canonical(name: str, text: str) -> bytes:
    return relaxed_field(name, f"{name}: {text}".replace("\r\n", "\n").strip().replace("\n", "\r\n\t").encode())


def merged_results(message: Message, authserv_id: str) -> str:
    """What our Authentication-Results would state: the suite has it as fields of the message, one method in each or more."""
    bodies = [header.value for header in message.all("authentication-results")]
    ours = [body.partition(";")[2].strip() for body in bodies if body.startswith(authserv_id + ";")]
    return "; ".join([authserv_id, *ours])


@pytest.mark.parametrize("name", names("arc-sign-tests.yml"))
def test_valimail_signing(name: str) -> None:
    """AAR and AMS octet for octet (in canonical form); the AS of the suite covers white space of its own, ours must verify."""
    case = load("arc-sign-tests.yml")[name]
    octets = case["message"].encode().replace(b"\n", b"\r\n")
    message, keys = Message(octets), case["txt-records"]
    chain = verify(octets, keys)
    signer = load_signer(case["domain"], case["sel"], case["privatekey"].encode())
    signed_names = case["sig-headers"].split(":")
    sealed = asyncio.run(
        seal(message, signer, merged_results(message, case["srv-id"]), chain, int(case["t"] or 0), signed_names)
    )
    if not case["AMS"].strip():
        assert sealed == b""
        return
    own = Message(sealed + b"\r\n")
    aar, ams = (own.all(field)[0] for field in ("arc-authentication-results", "arc-message-signature"))
    assert relaxed_field("ARC-Authentication-Results", aar.raw) == canonical("ARC-Authentication-Results", case["AAR"])
    theirs = canonical("ARC-Message-Signature", case["AMS"])
    assert without_b_folds(relaxed_field("ARC-Message-Signature", ams.raw)) == without_b_folds(theirs)
    outcome = verify(sealed + octets, keys)
    assert outcome.highest == chain.highest + 1
    if chain.result is Result.FAIL:
        assert outcome.ended
    else:
        assert outcome.result is Result.PASS, outcome


def without_b_folds(field: bytes) -> bytes:
    return re.sub(rb"(?<=[ ;]b=)[^;]*", lambda match: match[0].replace(b" ", b""), field)
