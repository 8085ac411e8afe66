"""Signatures made by dkimpy are verified; what was changed, weak, expired or unusable is called what it is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import mmap
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.auth.dkim import MAX_SIGNATURES, DkimOutcome, verify_dkim
from filterd.auth.signature import MAX_KEYS, MAX_NAMES, TOLERANCE
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import Message, WholeOctets
from tests.support.dns import MapResolver
from tests.support.growth import assert_growth
from tests.support.keys import KEY_NAME, ed25519_key, rsa_key, sign

NOW = 1_800_000_000
MESSAGE = (
    b"From: Joe <joe@example.com>\r\nTo: Suzie <suzie@example.net>\r\nSubject: =?utf-8?Q?dinner?=\r\n  tonight\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n\r\nHi.\r\n\r\nWe lost  the game. \r\n\r\n\r\n"
)


def verify(octets: WholeOctets, record: str | None = None, now: int = NOW, **resolver: set[str]) -> list[DkimOutcome]:
    records = [rsa_key()[1] if record is None else record]
    double = MapResolver({(KEY_NAME, "TXT"): records}, resolver.get("failing", set()))
    return asyncio.run(verify_dkim(double, Message(octets), now, Deadline.after(20)))


def one(octets: WholeOctets, record: str | None = None, now: int = NOW) -> DkimOutcome:
    (outcome,) = verify(octets, record, now)
    return outcome


@pytest.mark.parametrize("algorithm", ["rsa-sha256", "ed25519-sha256"])
@pytest.mark.parametrize("canonicalize", ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"])
def test_what_dkimpy_signs_passes(algorithm: str, canonicalize: str) -> None:
    record = ed25519_key()[1] if algorithm.startswith("ed") else rsa_key()[1]
    outcome = one(sign(MESSAGE, algorithm=algorithm, canonicalize=canonicalize), record)
    assert outcome == DkimOutcome(Result.PASS, "example.com", "test", "@example.com", algorithm)


BODY = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"text", b"\xe9", b".", b"--"]), max_size=80).map(b"".join)
HEADER = st.lists(
    st.tuples(
        st.sampled_from([b"Subject", b"SUBJECT", b"To", b"X-Other"]),
        st.lists(st.sampled_from([b" ", b"\t", b"word", b"\r\n ", b"\r\n\t", b":", b";"]), max_size=12).map(b"".join),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(HEADER, BODY, st.sampled_from(["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]))
def test_any_message_that_dkimpy_signs_passes(
    header: list[tuple[bytes, bytes]], body: bytes, canonicalize: str
) -> None:
    fields = b"".join(name + b": x" + value + b"x\r\n" for name, value in header)
    signed = sign(b"From: a@example.com\r\n" + fields + b"\r\n" + body, canonicalize=canonicalize)
    if canonicalize.endswith("relaxed") and body.strip(b"\r\n").endswith((b" ", b"\t")) and not body.endswith(b"\n"):
        return  # a message that came by SMTP ends with CRLF; for others RFC 6376 3.4.4 can be read in two ways
    assert one(signed).result == Result.PASS


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_signature_field_has_a_result(junk: bytes) -> None:
    field = b"DKIM-Signature: " + junk.replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"
    assert one(field + MESSAGE).result != Result.PASS


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_key_record_has_a_result(record: str) -> None:
    text = record.encode("utf-8", "replace").decode("latin-1") or "x"
    assert one(sign(MESSAGE), text).result == Result.PERMERROR


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"We lost", b"We won "), (b"joe@", b"jim@"), (b"tonight", b"tomorrow"), (b"Hi.\r\n", b"Hi. Buy now!\r\n")],
)
def test_a_change_is_a_fail(old: bytes, new: bytes) -> None:
    signed = sign(MESSAGE)
    assert one(signed.replace(old, new)).result == Result.FAIL


def test_blanks_at_line_ends_may_change_when_relaxed() -> None:
    assert one(sign(MESSAGE).replace(b"the game. \r\n", b"the game.   \t\r\n")).result == Result.PASS


@pytest.mark.parametrize(
    "line", [b"Pay to IBAN 1 at once", b"Pay\r\n to IBAN 1\r\n : x", b"<b>Pay</b>\r\n\t: x", b": x", b"A B: x"]
)
def test_text_that_a_reader_may_take_for_the_body_is_not_signed(line: bytes) -> None:
    """Postfix, and others, end the header at such a line: somebody wrote a body above the one that was signed."""
    signed = sign(MESSAGE)
    for octets in (line + b"\r\n" + signed, signed.replace(b"Date: ", line + b"\r\nDate: ")):
        outcome = one(octets)
        assert outcome.result == Result.POLICY, octets
        assert "is no field" in outcome.problem
    assert one(signed.replace(b"tonight", b"today").replace(b"Date: ", line + b"\r\nDate: ")).result == Result.FAIL


def test_a_field_that_was_put_there_does_not_hurt() -> None:
    for field in (b"X-Spam: no", b"Received : by x", b"X:\r\n folded", b"X-Empty:"):
        assert one(field + b"\r\n" + sign(MESSAGE)).result == Result.PASS


def test_without_a_signature_there_is_no_outcome() -> None:
    assert verify(MESSAGE) == []


def test_rsa_sha1_is_refused() -> None:
    signed = sign(MESSAGE).replace(b"a=rsa-sha256", b"a=rsa-sha1")
    outcome = one(signed)
    assert outcome.result == Result.POLICY
    assert "rsa-sha1" in outcome.problem


@pytest.mark.parametrize("bits", [512, 8192])
def test_keys_outside_the_bounds_are_refused_before_any_arithmetic(bits: int) -> None:
    # only the record matters: its key is looked at before the signature; 512 and 8192 bits are not generated here
    number = (1 << (bits - 1)) | 1
    octets = number.to_bytes(bits // 8, "big")
    integer = b"\x02" + der_length(len(octets) + 1) + b"\x00" + octets
    body = integer + b"\x02\x03\x01\x00\x01"
    record = "p=" + base64.b64encode(b"\x30" + der_length(len(body)) + body).decode()
    outcome = one(sign(MESSAGE), record)
    assert outcome.result in (Result.POLICY, Result.PERMERROR)
    assert outcome.problem


def der_length(length: int) -> bytes:
    if length < 128:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: r.replace("v=DKIM1", "v=DKIM2"), "version"),
        (lambda r: r.split(" p=")[0] + " p=", "revoked"),
        (lambda r: r.replace("k=rsa", "k=dsa"), "key type"),
        (lambda r: r.replace("k=rsa", "h=sha1"), "hash"),
        (lambda r: r.replace("k=rsa", "s=tlsrpt"), "not for mail"),
        (lambda r: r + "AAAA" * 1100, "longer than"),
        (lambda r: ed25519_key()[1], "ed25519"),
        (lambda r: "v=spf1 -all", "key record"),
        (lambda r: r[:60], "p="),
    ],
)
def test_a_key_that_cannot_be_used_says_why(change: object, problem: str) -> None:
    assert callable(change)
    outcome = one(sign(MESSAGE), change(rsa_key()[1]))
    assert outcome.result == Result.PERMERROR
    assert problem in outcome.problem


def test_the_other_key_at_the_name_does_not_hurt() -> None:
    double = MapResolver({(KEY_NAME, "TXT"): ["v=DKIM1; p=", rsa_key()[1]]})
    (outcome,) = asyncio.run(verify_dkim(double, Message(sign(MESSAGE)), NOW, Deadline.after(20)))
    assert outcome.result == Result.PASS


def test_no_more_keys_than_the_bound_are_tried() -> None:
    for others, result in ((MAX_KEYS - 1, Result.PASS), (MAX_KEYS, Result.PERMERROR)):
        double = MapResolver({(KEY_NAME, "TXT"): [*["v=DKIM1; p="] * others, rsa_key()[1]]})
        (outcome,) = asyncio.run(verify_dkim(double, Message(sign(MESSAGE)), NOW, Deadline.after(20)))
        assert outcome.result == result


def test_others_run_between_the_signatures() -> None:
    """Three large keys with costly exponents take some milliseconds for each signature."""

    async def turns_during(count: int) -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        message = Message(sign(MESSAGE).removesuffix(MESSAGE) * count + MESSAGE)
        await verify_dkim(MapResolver({(KEY_NAME, "TXT"): [rsa_key()[1]]}), message, NOW, Deadline.after(20))
        task.cancel()
        return turns

    assert asyncio.run(turns_during(MAX_SIGNATURES)) >= asyncio.run(turns_during(1)) + MAX_SIGNATURES - 1


def test_what_a_stranger_says_is_kept_in_bounds() -> None:
    outcome = one(sign(MESSAGE).replace(b"i=@", b"i=" + b"x" * 5000 + b"@").replace(b"a=rsa", b"a=" + b"y" * 5000))
    assert len(outcome.identity) + len(outcome.algorithm) < 400


def test_no_key_is_final_and_no_answer_is_not() -> None:
    double = MapResolver({})
    (outcome,) = asyncio.run(verify_dkim(double, Message(sign(MESSAGE)), NOW, Deadline.after(20)))
    assert outcome.result == Result.PERMERROR
    (outcome,) = verify(sign(MESSAGE), failing={KEY_NAME})
    assert outcome.result == Result.TEMPERROR
    assert outcome.domain == "example.com"


def test_the_identity_may_be_a_subdomain_unless_the_key_forbids_it() -> None:
    signed = sign(MESSAGE, identity="joe@mail.example.com")
    assert one(signed).result == Result.PASS
    assert one(signed, rsa_key()[1].replace("k=rsa", "t=y:s")).result == Result.PERMERROR
    assert one(sign(MESSAGE), rsa_key()[1].replace("k=rsa", "t=y:s")).result == Result.PASS
    outcome = one(sign(MESSAGE).replace(b"i=@example.com", b"i=@example.org"))
    assert (outcome.result, outcome.problem) == (Result.PERMERROR, "i= is not in d=")


def test_expiry() -> None:
    signed = sign(MESSAGE).replace(b" t=", f" x={NOW}; t=".encode())
    outcome = one(signed, now=NOW + TOLERANCE + 1)
    assert (outcome.result, outcome.problem) == (Result.POLICY, "has expired (x=)")
    assert one(signed, now=NOW + TOLERANCE).result == Result.FAIL  # not expired; the tag was not signed
    made = re.search(rb" t=(\d+)", signed)
    assert made
    for at in (b"5", made[1]):
        outcome = one(signed.replace(f"x={NOW}".encode(), b"x=" + at))
        assert outcome.result == Result.NEUTRAL
        assert "before it was made" in outcome.problem


def test_a_signature_from_the_future_is_a_wrong_clock() -> None:
    assert one(sign(MESSAGE), now=5).result == Result.PASS  # RFC 6376 3.5, t=: a verifier MAY ignore it; we do not


@pytest.mark.parametrize(
    ("old", "new", "result", "problem"),
    [
        (b"v=1", b"v=2", Result.NEUTRAL, "unknown version (v=)"),
        (b"v=1; ", b"", Result.PERMERROR, "no v="),
        (b"a=rsa-sha256", b"a=rsa-sha512", Result.NEUTRAL, "unknown algorithm (a=)"),
        (b"a=rsa-sha256", b"a=rsa-sha1", Result.POLICY, "rsa-sha1 is not accepted"),
        (b"c=relaxed/relaxed", b"c=nowsp", Result.NEUTRAL, "unknown canonicalisation (c=)"),
        (b"q=dns/txt", b"q=http", Result.NEUTRAL, "unknown query method (q=)"),
        (b"d=example.com", b"d=exa mple", Result.NEUTRAL, "d= or s= is no domain name"),
        (b" d=example.com;", b"", Result.PERMERROR, "no d="),
        (b"s=test; ", b"s=; ", Result.PERMERROR, "no s="),
        (b"i=@example.com", b"i=example.com", Result.PERMERROR, "i= is not in d="),
        (b"i=@example.com", b"i=@badexample.com", Result.PERMERROR, "i= is not in d="),
        (b"s=test; ", b"s=" + b"a." * 115 + b"a; ", Result.NEUTRAL, "d= or s= is no domain name"),
        (b" t=", b" t=-", Result.NEUTRAL, "is no number"),
        (b" t=", b" l=1x; t=", Result.NEUTRAL, "is no number"),
        (b" t=", b" =; t=", Result.NEUTRAL, "is no tag"),
        (b" t=", b" s=test; t=", Result.NEUTRAL, "stands there twice"),
        (b" bh=", b" bh=!", Result.NEUTRAL, "bh= is not base64"),
        (b"h=from", b"h=fram", Result.PERMERROR, "From is not signed (h=)"),
        (b"h=from", b"h=from" + b":x" * MAX_NAMES, Result.POLICY, "names are signed (h=)"),
        (b" t=", b" z=" + b"z" * 17_000 + b"; t=", Result.POLICY, "longer than"),
        (b"From: Joe", b"Fram: Joe", Result.PERMERROR, "the message has no From"),
    ],
)
def test_what_cannot_be_verified_has_the_word_of_rfc_8601(old: bytes, new: bytes, result: Result, problem: str) -> None:
    signed = sign(MESSAGE)
    assert old in signed
    outcome = one(signed.replace(old, new, 1))
    assert outcome.result == result, outcome
    assert problem in outcome.problem


def test_the_key_of_somebody_who_only_tries() -> None:
    record = rsa_key()[1].replace("k=rsa", "t=y")
    assert (one(sign(MESSAGE), record).result, one(sign(MESSAGE), record).testing) == (Result.PASS, True)
    changed = one(sign(MESSAGE).replace(b"joe@", b"jim@"), record)
    assert (changed.result, changed.testing) == (Result.FAIL, True)
    assert not one(sign(MESSAGE)).testing
    double = MapResolver({(KEY_NAME, "TXT"): [record, rsa_key()[1]]})  # somebody who changes from one to the other
    (outcome,) = asyncio.run(verify_dkim(double, Message(sign(MESSAGE)), NOW, Deadline.after(20)))
    assert not outcome.testing


def test_octets_after_a_signed_length_are_not_accepted_as_signed() -> None:
    signed = sign(MESSAGE, length=True)
    assert one(signed).result == Result.PASS
    for more in (b"Buy our pills\r\n", b".\r\n"):
        outcome = one(signed + more)
        assert outcome.result == Result.POLICY
        assert "not signed" in outcome.problem
    assert one(signed.replace(b"the game.", b"the game!")).result == Result.FAIL
    assert one(signed.replace(b" l=", b" l=9")).result == Result.PERMERROR


def test_a_second_from_that_is_not_signed_is_not_accepted() -> None:
    signed = sign(MESSAGE)
    assert one(b"From: ceo@example.com\r\n" + signed).result == Result.POLICY
    over = sign(MESSAGE, fields=[b"from", b"from", b"to"])
    assert one(over).result == Result.PASS
    assert one(b"From: ceo@example.com\r\n" + over).result == Result.FAIL


def test_from_must_be_signed() -> None:
    signed = sign(MESSAGE).replace(b"h=from : ", b"h=")
    assert "From is not signed" in one(signed).problem


def test_no_more_signatures_than_the_bound_are_looked_at() -> None:
    signed = sign(MESSAGE)
    field = signed[: len(signed) - len(MESSAGE)]
    assert len(verify(field * 50 + MESSAGE)) == MAX_SIGNATURES


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["simple/simple", "relaxed/relaxed"]))
def test_no_octet_of_what_is_signed_may_change(data: st.DataObject, canonicalize: str) -> None:
    signed = sign(MESSAGE, canonicalize=canonicalize, fields=[b"from", b"to", b"subject", b"date"])
    start = len(signed) - len(MESSAGE)
    at = data.draw(st.integers(start, len(signed) - 1))
    octet = data.draw(st.integers(33, 126))
    lower = bytes([signed[at], octet]).lower()
    if signed[at] in b" \r\n" or lower[0] == lower[1]:
        return  # blanks and line ends are what the forms forgive; names have no case
    assert one(signed[:at] + bytes([octet]) + signed[at + 1 :]).result != Result.PASS


def test_a_mapped_message(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(sign(MESSAGE + b"line of text\r\n" * 20_000))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        assert one(octets).result == Result.PASS


def signature(tags: bytes) -> bytes:
    return b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=test; " + tags + b"\r\n"


@pytest.mark.parametrize(
    "unit",
    [b"a=1;", b"h=from;", b"from:", b"A", b";", b" ", b"b ", b"; b", b"=", b"\r\n "],
    ids=repr,
)
def test_growth_of_a_signature_field(unit: bytes) -> None:
    def prepare(octets: int) -> Callable[[], object]:
        field = signature(b"h=from; bh=AAAA; b=AAAA; z=" + unit * (octets // len(unit)))
        return lambda: verify(field * 10 + MESSAGE)

    assert_growth(prepare, 2_000, 16_000, 8 * 3)


@pytest.mark.parametrize("unit", [b" ", b"x ", b"\r\n", b" \r\n"], ids=repr)
def test_growth_with_the_body(unit: bytes) -> None:
    fields = b"".join(signature(b"h=from; bh=AAAA; b=AAAA; l=%d" % (1000 * number)) for number in range(10))

    def prepare(octets: int) -> Callable[[], object]:
        message = fields + MESSAGE + unit * (octets // len(unit))
        return lambda: verify(message)

    assert_growth(prepare, 500_000, 4_000_000, 8 * 3)


def test_growth_with_the_header_that_ten_signatures_sign() -> None:
    """Ten times h= with 500 names, each of which stands there up to ten thousand times."""
    names = b":".join([b"from"] + [b"x"] * (MAX_NAMES - 1))
    body_hash = base64.b64encode(hashlib.sha256(b"x\r\n").digest())
    fields = signature(b"h=" + names + b"; bh=" + body_hash + b"; b=AAAA") * 10

    def prepare(count: int) -> Callable[[], object]:
        message = fields + b"From: a@example.com\r\n" + b"X: some words here\r\n" * count + b"\r\nx\r\n"
        return lambda: verify(message)

    assert verify(fields + b"From: a@example.com\r\n\r\nx\r\n")[0].problem == "signature does not verify"
    assert_growth(prepare, 1_200, 9_600, 8 * 3)


def test_growth_with_signatures_beyond_the_bound() -> None:
    field = signature(b"h=from; bh=AAAA; b=AAAA")

    def prepare(count: int) -> Callable[[], object]:
        message = field * count + MESSAGE + b"text and more text\r\n" * 20_000
        return lambda: verify(message)

    assert_growth(prepare, 10, 20, 1.5)
