"""The ARC check: what a chain is called, and whose statements are believed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.checks.arc import Arc
from filterd.deadline import Deadline
from filterd.mail.authres import authentication_results
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result
from filterd.mail.message import Message
from filterd.ports import DnsAnswer
from tests.support.arc import NOW, keys, sealed
from tests.support.checks import CLIENT, ask, context
from tests.support.dns import MapResolver

MESSAGE = b"From: joe@author.example\r\nTo: b@example.org\r\nSubject: x\r\n\r\nHello\r\n"
PASS = "dmarc=pass header.from=author.example"
FAIL = "arc=pass; dmarc=fail (p=reject) header.from=author.example"
LIST, BIG, EVIL = "list.example", "big.example", "evil.example"


def found(
    octets: bytes, trusted: tuple[str, ...] = (), trust: TrustClass = TrustClass.INTERNET, **resolver: set[str]
) -> list[Evidence]:
    double = MapResolver(keys(LIST, BIG, EVIL), resolver.get("failing", set()))
    check = Arc(double, lambda: float(NOW), frozenset(trusted))
    return ask(check, context(dataclasses.replace(CLIENT, trust=trust), message=Message(octets)))


def believed(octets: bytes, *trusted: str) -> tuple[str, str, str]:
    (evidence,) = found(octets, trusted)
    assert evidence.result is Result.PASS
    properties = evidence.properties
    return tuple(properties.get(name, "") for name in ("trusted", "trusted_dmarc", "trusted_from"))  # type: ignore[return-value]  # three names


def test_results_and_reasons() -> None:
    chain = sealed(MESSAGE, (LIST, PASS))
    for octets, failing, result, reason in [
        (MESSAGE, set(), Result.NONE, Reason.NOT_SIGNED),
        (chain, set(), Result.PASS, Reason.OK),
        (chain.replace(b"Hello", b"Howdy"), set(), Result.FAIL, Reason.ARC_BROKEN),
        (chain, {f"s1._domainkey.{LIST}"}, Result.TEMPERROR, Reason.UNAVAILABLE),
    ]:
        (evidence,) = found(octets, failing=failing)
        assert (evidence.result, evidence.reason) == (result, reason)


def test_what_is_written_into_the_message() -> None:
    (evidence,) = found(sealed(MESSAGE, (LIST, PASS), (BIG, FAIL)), (LIST, BIG))
    assert evidence.properties["sealers"] == "big.example list.example"
    written = authentication_results("mx.example.org", [evidence])
    assert b"arc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.7" in written
    assert b"trusted" not in written
    assert b"sealers" not in written


@pytest.mark.parametrize(
    ("hops", "trusted", "expected"),
    [
        ([(LIST, PASS)], [], ("", "", "")),
        ([(LIST, PASS)], [LIST], (LIST, "pass", "author.example")),
        ([(LIST, PASS)], [BIG], ("", "", "")),
        ([(LIST, FAIL)], [LIST], (LIST, "fail", "author.example")),
        ([(LIST, "spf=pass")], [LIST], (LIST, "", "")),
        # whoever came after a trusted sealer may have changed everything: he must be trusted too
        ([(LIST, PASS), (EVIL, PASS)], [LIST], ("", "", "")),
        ([(EVIL, PASS), (LIST, FAIL)], [LIST], (LIST, "fail", "author.example")),
        ([(LIST, PASS), (BIG, FAIL)], [LIST, BIG], (LIST, "pass", "author.example")),
        ([(LIST, PASS), (EVIL, FAIL), (BIG, FAIL)], [LIST, BIG], (BIG, "fail", "author.example")),
        # two statements are none
        ([(LIST, PASS + "; " + FAIL)], [LIST], (LIST, "", "")),
        ([(LIST, 'dkim=fail reason="; dmarc=pass header.from=author.example"')], [LIST], (LIST, "", "")),
        ([(LIST, "dmarc=pass header.from=AUTHOR.Example.")], [LIST], (LIST, "pass", "author.example")),
        ([(LIST, "dmarc=pass header.from=joe@x")], [LIST], (LIST, "pass", "")),
    ],
)
def test_whose_statement_is_believed(
    hops: list[tuple[str, str]], trusted: list[str], expected: tuple[str, str, str]
) -> None:
    assert believed(sealed(MESSAGE, *hops), *trusted) == expected


FORGED = MESSAGE.replace(b"Hello", b"Send money").replace(b"Subject: x", b"Subject: urgent")


def sets(octets: bytes) -> list[bytes]:
    return [field.raw for field in Message(octets).fields if field.key.startswith("arc-")]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_trusted_seal_of_another_message_is_not_believed(data: st.DataObject) -> None:
    """A replayed set, whole or in parts, with the sets of somebody who can seal the forged message himself."""
    replayed = [*sets(sealed(MESSAGE, (LIST, PASS))), *sets(sealed(MESSAGE, (LIST, PASS), (LIST, PASS)))]
    own = [*sets(sealed(FORGED, (EVIL, PASS))), *sets(sealed(FORGED, (EVIL, PASS), (EVIL, PASS)))]
    chosen = st.lists(st.sampled_from(replayed + own), max_size=7, unique=True)
    whole = st.sampled_from(
        [replayed[:3] + own[3:6], own[:3] + replayed[3:6], replayed[:3] + sets(sealed(FORGED, (EVIL, PASS)))]
    )
    octets = b"".join(data.draw(chosen | whole)) + FORGED
    if data.draw(st.booleans()):
        octets = sealed(octets, (EVIL, PASS))
    (evidence,) = found(octets, (LIST,))
    assert "trusted" not in evidence.properties


def test_nothing_is_believed_of_a_broken_chain() -> None:
    (evidence,) = found(sealed(MESSAGE, (LIST, PASS)).replace(b"Hello", b"Howdy"), (LIST,))
    assert not {"trusted", "sealers", "header.oldest-pass"} & evidence.properties.keys()


def test_time_is_left_for_dmarc() -> None:
    left: list[float] = []

    class Watching(MapResolver):
        async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
            left.append(deadline.remaining)
            return await super().query(name, rdtype, deadline)

    ask(Arc(Watching(keys(LIST))), context(message=Message(sealed(MESSAGE, (LIST, PASS)))))
    assert left
    assert max(left) < 4  # of the five seconds of `context`


def test_only_mail_from_the_internet_is_asked() -> None:
    assert found(sealed(MESSAGE, (LIST, PASS)), trust=TrustClass.INTERNAL) == []
