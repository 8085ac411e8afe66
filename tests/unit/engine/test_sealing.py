"""An ARC set of our own above what is handed over: it verifies, changes nothing else, and never costs a message."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from filterd.auth import seal as sealing
from filterd.auth.arc import verify_arc
from filterd.checks.arc import Arc
from filterd.deadline import Deadline
from filterd.engine import ending
from filterd.mail.authres_read import read_results
from filterd.mail.envelope import Connection, TrustClass
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from tests.support.arc import keys, sealed, signer
from tests.support.dns import MapResolver
from tests.support.stagehand import MAIL, Stagehand

US = "filter.example.org"
KEYS = keys(US, "list.example")


def stage_of(**more: object) -> Stagehand:
    check = Arc(MapResolver(KEYS), lambda: 1_800_000_000.0)
    return Stagehand(more=(check,), signer=signer(US), **more)  # type: ignore[arg-type]  # test shorthand


def handed_over(stage: Stagehand, octets: bytes = MAIL) -> bytes:
    assert stage.talk("anna", message=octets)[-1].code == 250
    ((_, taken),) = stage.upstream.taken
    assert taken.endswith(octets)
    return bytes(taken)


def chain(octets: bytes, records: dict[tuple[str, str], list[str]] = KEYS) -> Result:
    outcome = asyncio.run(verify_arc(MapResolver(records), Message(octets), 1_800_000_000, Deadline.after(20)))
    assert not outcome.sets or outcome.sets[-1].domain == US
    return outcome.result


def test_what_is_handed_over_bears_our_seal_on_top() -> None:
    octets = handed_over(stage_of())
    assert [field.name for field in Message(octets).fields[:3]] == [
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
    ]
    assert chain(octets) is Result.PASS


def test_it_survives_that_forged_fields_are_taken_out_and_a_leading_blank_is_taken_up() -> None:
    forged = b"X-Filterd-Report: SCL:-1\r\nAuthentication-Results: filter.example.org; dmarc=pass\r\n"
    stage = stage_of()
    assert stage.talk("anna", message=b" leading\r\n" + forged + MAIL)[-1].code == 250
    ((_, taken),) = stage.upstream.taken
    assert taken.endswith(b"X-Filterd-Separator: leading white space\r\n leading\r\n" + MAIL)
    assert taken.count(b"X-Filterd-Report:") == 1
    assert taken.count(b"\r\nAuthentication-Results:") == 1
    assert chain(bytes(taken)) is Result.PASS


def test_it_says_what_our_authentication_results_says() -> None:
    message = Message(handed_over(stage_of()))
    own = read_results(message.all("authentication-results")[0].body)
    in_set = read_results(message.all("arc-authentication-results")[0].body.partition(b";")[2])
    assert own == in_set
    assert own.authserv_id == US


def test_a_chain_of_others_goes_on() -> None:
    octets = handed_over(stage_of(), sealed(MAIL, ("list.example", "dmarc=pass header.from=sender.example")))
    assert chain(octets) is Result.PASS
    assert b"i=2; filter.example.org;\r\n\tarc=pass" in octets


def test_a_broken_chain_is_closed_and_not_repaired() -> None:
    broken = sealed(MAIL, ("list.example", "dmarc=pass")).replace(b"body", b"BODY")
    octets = handed_over(stage_of(), broken)
    assert b"cv=fail" in octets
    assert chain(octets) is Result.FAIL


def test_without_a_key_of_an_older_sealer_nothing_is_vouched_for() -> None:
    message = sealed(MAIL, ("unknown.example", "dmarc=pass"))
    check = Arc(MapResolver({}, {"s1._domainkey.unknown.example"}), lambda: 1_800_000_000.0)
    octets = handed_over(Stagehand(more=(check,), signer=signer(US)), message)
    assert octets.count(b"ARC-Seal:") == 1


@pytest.mark.parametrize("trust", [TrustClass.INTERNAL, TrustClass.AUTHENTICATED])
def test_mail_of_our_own_is_not_sealed(trust: TrustClass, caplog: pytest.LogCaptureFixture) -> None:
    stage = stage_of()
    stage.client = replace(Connection(stage.client.client_ip), trust=trust)
    assert b"ARC-Seal" not in handed_over(stage)
    assert "cannot seal" not in caplog.text


def test_nobody_seals_unless_told_to() -> None:
    check = Arc(MapResolver({}), lambda: 1_800_000_000.0)
    assert b"ARC-Seal" not in handed_over(Stagehand(more=(check,)))


def test_a_fault_in_sealing_costs_the_seal_and_not_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*_args: object) -> bytes:
        raise RuntimeError("bug")

    assert ending.seal is sealing.seal
    monkeypatch.setattr(ending, "seal", crash)
    assert b"ARC-Seal" not in handed_over(stage_of())


def test_a_quarantined_copy_is_sealed_too() -> None:
    stage = stage_of(weight=5.0)
    assert stage.talk("anna")[-1].code == 250
    (held,) = stage.custody.held.values()
    assert chain(held.prepended + MAIL) is Result.PASS
