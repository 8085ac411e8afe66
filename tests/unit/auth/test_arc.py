"""Chains: whole ones pass, broken ones fail and say where, no answer is no failure, and nothing grows faster than its input."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.auth import body as body_module
from filterd.auth.arc import MAX_KEY_NAMES, MAX_OLDER, MAX_SETS, ArcOutcome, chain_of, verify_arc
from filterd.auth.dkim import verify_dkim
from filterd.auth.seal import seal
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import Message
from tests.support.arc import NOW, keys, sealed, signer, verify
from tests.support.dns import MapResolver
from tests.support.growth import assert_growth
from tests.support.keys import KEY_NAME, rsa_key, sign

MESSAGE = b"From: joe@example.org\r\nTo: b@example.net\r\nSubject: x\r\nDate: now\r\n\r\nHello  you\r\n\r\nBye\r\n"
A, B, C = "a.example", "b.example", "c.example"
STATES = "dmarc=pass header.from=example.org"
KEYS = keys(A, B, C)
ONE = sealed(MESSAGE, (A, STATES))
THREE = sealed(MESSAGE, (A, STATES), (B, "arc=pass"), (C, "arc=pass"))


def dkimpy_txt(name: bytes, timeout: int = 5) -> bytes | None:
    records = KEYS.get((name.decode().rstrip("."), "TXT"))
    return records[0].encode() if records else None


def oracle(octets: bytes) -> Result:
    """dkimpy's opinion."""
    word = dkim.arc_verify(octets, dnsfunc=dkimpy_txt)[0]
    return {b"pass": Result.PASS, b"fail": Result.FAIL, b"none": Result.NONE}[word]


def test_without_a_chain_there_is_none() -> None:
    assert verify(MESSAGE, KEYS) == ArcOutcome(Result.NONE)


def test_a_whole_chain() -> None:
    outcome = verify(THREE, KEYS)
    assert (outcome.result, outcome.highest, outcome.oldest_pass, outcome.ended) == (Result.PASS, 3, 0, False)
    assert [(item.instance, item.domain, item.selector) for item in outcome.sets] == [
        (1, A, "s1"),
        (2, B, "s1"),
        (3, C, "s1"),
    ]
    assert outcome.sets[0].results.strip() == b"mx.a.example;\r\n\tdmarc=pass header.from=example.org"
    assert oracle(THREE) == Result.PASS


def field(number: int, name: bytes, octets: bytes = THREE) -> bytes:
    """The field of that name of instance `number`."""
    pattern = rb"%s:(?:[^\r]|\r\n[ \t])*?\bi=%d;(?:[^\r]|\r\n[ \t])*\r\n" % (name, number)
    match = re.search(pattern, octets)
    assert match
    return match[0]


AAR, AMS, AS = b"ARC-Authentication-Results", b"ARC-Message-Signature", b"ARC-Seal"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"Hello", b"Howdy", "body has changed"),
        (b"joe@", b"jim@", "message signature of c.example: signature does not verify"),
        (b"header.from=example.org", b"header.from=example.com", "seal of instance 3: does not verify"),
        (field(2, AS), b"", "instance 2 is not one whole set"),
        (field(2, AMS), b"", "instance 2 is not one whole set"),
        (field(2, AAR), b"", "instance 2 is not one whole set"),
        (field(2, AAR), field(2, AAR) * 2, "instance 2 is not one whole set"),
        (field(1, AAR) + field(1, AMS) + field(1, AS), b"", "instance 1 is not one whole set"),
        (field(2, AAR), field(2, AAR).replace(b"i=2", b"i=0"), "no instance"),
        (field(2, AAR), field(2, AAR) + b"ARC-Authentication-Results: mx; none\r\n", "no instance"),
        (field(2, AMS), field(2, AMS).replace(b"i=2", b"i=51"), "no instance"),
        (field(2, AS), field(2, AS).replace(b"i=2", b"i=two"), "no instance"),
        (field(2, AS), field(2, AS).replace(b"cv=pass", b"cv=none"), "seal of instance 2: cv=none"),
        (field(1, AS), field(1, AS).replace(b"cv=none", b"cv=pass"), "seal of instance 1: cv=pass"),
        (field(2, AS), field(2, AS).replace(b"cv=pass", b"cv=fail"), "seal of instance 2: cv=fail"),
        (field(2, AS), field(2, AS).replace(b"cv=pass; ", b""), "seal of instance 2: no cv="),
        (field(2, AS), field(2, AS).replace(b" s=s1;", b" s=s1; h=from;"), "h= is not allowed"),
        (field(2, AS), field(2, AS).replace(b"t=1", b"t=x"), "is no number"),
        (field(2, AS), field(2, AS).replace(b"a=rsa-sha256", b"a=rsa-sha1"), "rsa-sha1 is not accepted"),
        (field(2, AS), field(2, AS).replace(b"i=2;", b"i=2; i=2;"), "stands there twice"),
        (field(2, AS), field(2, AS).replace(b"d=b.example", b"d=d.example"), "seal of instance 3: does not verify"),
        (field(3, AS), field(3, AS).replace(b"d=c.example", b"d=d.example"), "seal of instance 3: no key record"),
        (field(3, AMS), field(3, AMS).replace(b"c=relaxed/relaxed", b"c=x"), "message signature of instance 3"),
        (field(3, AMS), field(3, AMS).replace(b" t=1", b" l=3; t=1"), "body has changed"),
    ],
)
def test_a_broken_chain_says_where(old: bytes, new: bytes, problem: str) -> None:
    octets = MESSAGE_WITH_REORDERED_ONE if old not in THREE else THREE
    broken = octets.replace(old, new)
    assert broken != octets
    outcome = verify(broken, KEYS)
    assert (outcome.result, outcome.sets) == (Result.FAIL, ())
    assert problem in outcome.problem, outcome


MESSAGE_WITH_REORDERED_ONE = (
    THREE.replace(field(1, AAR), b"").replace(field(1, AMS), b"").replace(field(1, AS), b"").replace(
        b"From:", field(1, AAR) + field(1, AMS) + field(1, AS) + b"From:"
    )
)  # fmt: skip


def test_the_order_of_the_fields_does_not_matter() -> None:
    assert verify(MESSAGE_WITH_REORDERED_ONE, KEYS).result == Result.PASS


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_octet_of_a_chain_may_change_and_dkimpy_agrees(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(THREE) - 1))
    octet = data.draw(st.sampled_from(b"0;=:aZ. /"))
    if THREE[at] in b" \r\n\t":
        return
    changed = THREE[:at] + bytes([octet]) + THREE[at + 1 :]
    ours = verify(changed, KEYS).result
    assert ours in (Result.PASS, Result.FAIL)
    if ours is Result.PASS:  # a name's case, base64 that decodes to the same, a blank where they are forgiven
        assert oracle(changed) == Result.PASS, changed


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([AAR, AMS, AS]))
def test_any_field_has_a_result(junk: bytes, name: bytes) -> None:
    line = name + b": " + junk.replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"
    assert verify(line + ONE, KEYS).result is Result.FAIL
    assert verify(line + MESSAGE, KEYS).result is Result.FAIL


def test_no_answer_is_no_failure() -> None:
    for domain in (A, B, C):
        outcome = verify(THREE, KEYS, {f"s1._domainkey.{domain}"})
        assert (outcome.result, outcome.highest) == (Result.TEMPERROR, 3), domain
    broken = THREE.replace(b"header.from=example.org", b"header.from=example.com")
    assert verify(broken, KEYS, {f"s1._domainkey.{A}"}).result is Result.FAIL  # what is known to be broken stays broken


def test_a_seal_that_is_known_to_be_broken_outweighs_a_newer_one_without_answer() -> None:
    renewed = KEYS | {(f"s1._domainkey.{A}", "TXT"): [rsa_key(2048)[1]]}
    assert verify(THREE, renewed, {f"s1._domainkey.{B}"}).problem == "seal of instance 1: does not verify"
    both = KEYS | {(f"s1._domainkey.{A}", "TXT"): [rsa_key(2048)[1], rsa_key(1024)[1]]}
    assert verify(THREE, both).result is Result.PASS  # a sealer that changes its key


def test_no_time_is_no_failure() -> None:
    async def scene() -> ArcOutcome:
        return await verify_arc(MapResolver(KEYS), Message(THREE), NOW, Deadline.after(0))

    assert asyncio.run(scene()).result is Result.TEMPERROR


def test_only_the_newest_key_is_asked_for_until_it_has_verified() -> None:
    async def asked(octets: bytes) -> list[str]:
        resolver = MapResolver(KEYS)
        await verify_arc(resolver, Message(octets), NOW, Deadline.after(20))
        return [name for name, _ in resolver.asked]

    assert asyncio.run(asked(THREE.replace(b"Hello", b"Howdy"))) == [f"s1._domainkey.{C}"]
    assert asyncio.run(asked(THREE)) == [f"s1._domainkey.{domain}" for domain in (C, A, B)]


def test_oldest_pass() -> None:
    """RFC 8617 5.2 step 5: the message was changed before the second sealer saw it."""
    changed = ONE.replace(b"Subject: x", b"Subject: [list] x")
    records = KEYS

    async def hop(octets: bytes, domain: str, chain: ArcOutcome) -> bytes:
        return await seal(Message(octets), signer(domain), f"mx.{domain}; none", chain, NOW) + octets

    chain = dataclasses.replace(
        verify(ONE, records), highest=1
    )  # the list sealed what it had checked before the change
    octets = asyncio.run(hop(changed, B, chain))
    assert (verify(octets, records).result, verify(octets, records).oldest_pass) == (Result.PASS, 2)
    octets = asyncio.run(hop(octets, C, verify(octets, records)))
    assert (verify(octets, records).result, verify(octets, records).oldest_pass) == (Result.PASS, 2)
    unknown = verify(octets, {name: value for name, value in records.items() if A not in name[0]})
    assert unknown.result is Result.FAIL  # its seal cannot be verified either


def test_a_chain_that_ended_says_so() -> None:
    ended = THREE.replace(field(3, AS), field(3, AS).replace(b"cv=pass", b"cv=fail"))
    outcome = verify(ended, KEYS)
    assert (outcome.result, outcome.ended, outcome.highest) == (Result.FAIL, True, 3)


@pytest.fixture(scope="module")
def fifty() -> bytes:
    return sealed(MESSAGE, *[(A, STATES)] * MAX_SETS)


def test_fifty_sets_pass_and_fifty_one_do_not(fifty: bytes) -> None:
    outcome = verify(fifty, KEYS)
    assert (outcome.result, outcome.highest) == (Result.PASS, MAX_SETS)
    assert outcome.oldest_pass == MAX_SETS - MAX_OLDER + 1  # no more are looked at
    more = field(1, AS, fifty) + fifty
    assert verify(more, KEYS).problem == "more than 50 sets"


def test_others_run_between_the_seals(fifty: bytes) -> None:
    turns = 0

    async def scene() -> None:
        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await verify_arc(MapResolver(KEYS), Message(fifty), NOW, Deadline.after(20))
        task.cancel()

    asyncio.run(scene())
    assert turns >= MAX_SETS


def test_a_chain_of_many_keys_is_not_verified() -> None:
    domains = [f"d{number}.example" for number in range(MAX_KEY_NAMES + 1)]
    octets = sealed(MESSAGE, *[(domain, STATES) for domain in domains])
    records = keys(*domains)
    outcome = verify(octets, records)
    assert outcome.result is Result.FAIL
    assert "more than 20 keys" in outcome.problem


def test_dkim_and_arc_read_the_body_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    walk = body_module.walk

    def counted(*args: object) -> object:
        walks.append(1)
        return walk(*args)  # type: ignore[arg-type]  # passed on as they came

    octets = sealed(sign(MESSAGE, canonicalize="simple/simple"), (A, STATES), (B, "arc=pass"))
    message = Message(octets)
    monkeypatch.setattr(body_module, "walk", counted)
    resolver = MapResolver(KEYS | {(KEY_NAME, "TXT"): [rsa_key()[1]]})

    async def scene() -> None:
        (outcome,) = await verify_dkim(resolver, message, NOW, Deadline.after(20))
        assert outcome.result is Result.PASS
        assert chain_of(message) is None
        assert (await verify_arc(resolver, message, NOW, Deadline.after(20))).result is Result.PASS

    asyncio.run(scene())
    assert len(walks) == 1
    found = chain_of(message)
    assert found is not None
    assert found.result is Result.PASS


@pytest.mark.parametrize("count", [5])
def test_growth_with_the_sets(count: int, fifty: bytes) -> None:
    small = sealed(MESSAGE, *[(A, STATES)] * count)

    def prepare(sets: int) -> Callable[[], object]:
        octets = small if sets == count else fifty
        return lambda: verify(octets, KEYS)

    assert_growth(prepare, count, MAX_SETS, MAX_SETS / count * 3)


@pytest.mark.parametrize("name", [AAR, AMS, AS])
def test_growth_with_the_fields(name: bytes) -> None:
    def prepare(count: int) -> Callable[[], object]:
        octets = b"".join(b"%s: i=%d; a=b\r\n" % (name, number) for number in range(count)) + MESSAGE
        message = Message(octets)
        assert message.fields  # reading the header is not what is measured
        return lambda: asyncio.run(verify_arc(MapResolver(KEYS), message, NOW, Deadline.after(20)))

    assert_growth(prepare, 1_000, 9_900, 10 * 3)


def test_comments_beside_the_instance() -> None:
    octets = sealed(MESSAGE, (A, STATES)).replace(b"Results: i=1;", b"Results: i=1 (of 1) ;")
    assert "does not verify" in verify(octets, KEYS).problem  # it is read; but it was sealed without


@pytest.mark.parametrize("unit", [b" ", b";", b"i=1;", b"a", b"\r\n ", b"(", b"(a)", b"( "], ids=repr)
@pytest.mark.parametrize("name", [AAR, AMS, AS])
def test_growth_of_a_field(name: bytes, unit: bytes) -> None:
    def prepare(octets: int) -> Callable[[], object]:
        message = (name + b": " + unit * (octets // len(unit)) + b"\r\n") * 50 + ONE
        return lambda: verify(message, KEYS)

    assert_growth(prepare, 1_500, 12_000, 8 * 3)
