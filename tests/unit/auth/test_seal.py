"""Sealing and signing: our own verifier and dkimpy accept what is made, and nothing is added where nobody may."""

from __future__ import annotations

import asyncio
import base64
import re

import dkim
import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.auth import seal as seal_module
from filterd.auth.arc import MAX_SETS, ArcOutcome
from filterd.auth.dkim import verify_dkim
from filterd.auth.seal import Signer, UnusableSignerError, load_signer, seal, sign_dkim
from filterd.deadline import Deadline
from filterd.mail.authres import results_text
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from tests.support.arc import NOW, ed25519_signer, keys, sealed, signer, verify
from tests.support.dns import MapResolver
from tests.support.keys import rsa_key

DOMAIN = "seal.example"
MESSAGE = (
    b"Received: from x\r\nFrom: joe@example.org\r\nTo: b@example.net\r\nSUBJECT: some\r\n  words\r\nDate: now\r\n"
    b"DKIM-Signature: v=1; junk\r\nAuthentication-Results: mx; none\r\n\r\nHello  you \r\n\r\nBye\r\n\r\n"
)
NOTHING = ArcOutcome(Result.NONE)


def add(octets: bytes, chain: ArcOutcome, by: Signer | None = None, results: str = "mx.seal.example; none") -> bytes:
    return asyncio.run(seal(Message(octets), by or signer(DOMAIN), results, chain, NOW))


def records(by: Signer) -> dict[tuple[str, str], list[str]]:
    encoding, form = ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo
    kind = "rsa"
    if by.algorithm.startswith("ed"):
        encoding, form, kind = ser.Encoding.Raw, ser.PublicFormat.Raw, "ed25519"
    public = by.key.public_key().public_bytes(encoding, form)
    return {(f"{by.selector}._domainkey.{by.domain}", "TXT"): [f"k={kind}; p={base64.b64encode(public).decode()}"]}


def dkimpy_dns(table: dict[tuple[str, str], list[str]]) -> object:
    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        found = table.get((name.decode().rstrip("."), "TXT"))
        return found[0].encode() if found else None

    return txt


def test_what_we_seal_passes_here_and_with_dkimpy() -> None:
    for domains in ((DOMAIN,), (DOMAIN, "b.example"), (DOMAIN, "b.example", "c.example", DOMAIN)):
        octets = sealed(MESSAGE, *[(domain, "dmarc=pass header.from=example.org") for domain in domains])
        assert verify(octets, keys(*domains)).result is Result.PASS
        assert dkim.arc_verify(octets, dnsfunc=dkimpy_dns(keys(*domains)))[0] == b"pass"


def test_an_ed25519_seal_passes() -> None:
    by = ed25519_signer(DOMAIN)
    octets = add(MESSAGE, NOTHING, by) + MESSAGE
    assert verify(octets, records(by)).result is Result.PASS


@pytest.mark.parametrize("names", [(), ("from", "subject")])
def test_shape_of_the_fields(names: tuple[str, ...]) -> None:
    evidence = Evidence("dkim", Stage.DATA, Result.PASS, Reason.OK, properties={"header.d": "example.org"})
    text = results_text("mx.seal.example", [evidence])
    fields = asyncio.run(seal(Message(MESSAGE), signer(DOMAIN, 2048), text, NOTHING, NOW, names))
    assert fields.isascii()
    assert fields.endswith(b"\r\n")
    assert b"\n" not in fields.replace(b"\r\n", b"")
    assert max(map(len, fields.split(b"\r\n"))) <= 78
    own = Message(fields + b"\r\n")
    assert [header.name for header in own.fields] == ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"]
    aar, ams = own.all("arc-authentication-results")[0], own.all("arc-message-signature")[0]
    assert aar.value == "i=1; mx.seal.example;\tdkim=pass header.d=example.org"
    signed = re.sub(r"\s", "", re.split(r";\s*h=", ams.value)[1].partition(";")[0])
    assert signed == (":".join(names) if names else "from:subject:date:to:dkim-signature:from")


def test_a_field_that_is_added_later_breaks_the_signature() -> None:
    octets = add(MESSAGE, NOTHING) + b"From: boss@example.org\r\n" + MESSAGE
    assert verify(octets, keys(DOMAIN)).result is Result.FAIL


def test_of_many_fields_of_a_name_the_lowest_are_signed() -> None:
    octets = b"List-Id: x\r\n" * 500 + MESSAGE
    added = add(octets, NOTHING)
    assert added.lower().count(b"list-id") == 10
    assert verify(added + octets, keys(DOMAIN)).result is Result.PASS


def test_a_broken_chain_is_marked_and_ends() -> None:
    octets = sealed(MESSAGE, ("a.example", "none"), ("b.example", "none")).replace(b"Hello", b"Howdy")
    table = keys("a.example", "b.example", DOMAIN)
    chain = verify(octets, table)
    added = add(octets, chain)
    assert b"cv=fail" in added
    assert b"i=3" in added
    ended = verify(added + octets, table)
    assert (ended.result, ended.ended) == (Result.FAIL, True)
    assert add(added + octets, ended) == b""
    # RFC 8617 5.1.2: that seal covers its own set only, so it stands as a chain of one by itself
    alone = (added + MESSAGE.replace(b"Hello", b"Howdy")).replace(b"i=3", b"i=1").replace(b"cv=fail", b"cv=none")
    assert "does not verify" in verify(alone, table).problem  # i= is signed


@pytest.mark.parametrize(
    "chain",
    [
        ArcOutcome(Result.TEMPERROR, highest=1),
        ArcOutcome(Result.FAIL, highest=2, ended=True),
        ArcOutcome(Result.FAIL),  # no instance can be read
        ArcOutcome(Result.FAIL, highest=MAX_SETS),
        ArcOutcome(Result.PASS, highest=MAX_SETS),
    ],
)
def test_where_nobody_may_add_a_set(chain: ArcOutcome) -> None:
    assert add(MESSAGE, chain) == b""


BODY = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"text", b"\xe9", b"."]), max_size=40).map(b"".join)
HEADER = st.lists(
    st.tuples(
        st.sampled_from([b"Subject", b"TO", b"List-Id", b"X-Other", b"References"]),
        st.lists(st.sampled_from([b" ", b"\t", b"word", b"\r\n ", b":", b";", b"\xc3\xa9"]), max_size=9).map(b"".join),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(HEADER, BODY, st.booleans())
def test_any_message_can_be_sealed_and_signed(header: list[tuple[bytes, bytes]], body: bytes, elliptic: bool) -> None:
    fields = b"".join(name + b": x" + value + b"x\r\n" for name, value in header)
    octets = b"From: a@example.org\r\n" + fields + b"\r\n" + body + b"\r\n"
    by = ed25519_signer(DOMAIN) if elliptic else signer(DOMAIN)
    chained = add(octets, NOTHING, by) + octets
    assert verify(chained, records(by)).result is Result.PASS
    if not elliptic:  # dkimpy reads no Ed25519 in chains
        assert dkim.arc_verify(chained, dnsfunc=dkimpy_dns(records(by)))[0] == b"pass"
    signature = sign_dkim(octets, by, NOW)
    double = MapResolver(records(by))
    (outcome,) = asyncio.run(verify_dkim(double, Message(signature + octets), NOW, Deadline.after(20)))
    assert outcome.result is Result.PASS, outcome
    assert dkim.verify(signature + octets, dnsfunc=dkimpy_dns(records(by)))


def test_a_signature_of_ours() -> None:
    signature = sign_dkim(MESSAGE, signer(DOMAIN, 2048), NOW)
    assert signature.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=seal.example; s=s1;\r\n t=")
    assert max(map(len, signature.split(b"\r\n"))) <= 78
    assert dkim.verify(signature + MESSAGE, dnsfunc=dkimpy_dns(records(signer(DOMAIN, 2048))))


def pem(key: object) -> bytes:
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())  # type: ignore[attr-defined, no-any-return]  # any private key


def test_the_signer_is_checked_when_it_is_loaded() -> None:
    assert load_signer("Seal.Example.", "S1", rsa_key()[0]).domain == "seal.example"
    assert load_signer(DOMAIN, "s1", pem(ed25519.Ed25519PrivateKey.generate())).algorithm == "ed25519-sha256"
    for domain, selector, octets, problem in [
        ("not a domain", "s1", rsa_key()[0], "is no domain name"),
        (DOMAIN, "", rsa_key()[0], "is no domain name"),
        (DOMAIN, "s1", b"", "not a private key in PEM form"),
        (
            DOMAIN,
            "s1",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "not a private key in PEM form",
        ),
        (DOMAIN, "s1", pem(ec.generate_private_key(ec.SECP256R1())), "neither RSA nor Ed25519"),
        (DOMAIN, "s1", locked(), "without password"),
    ]:
        with pytest.raises(UnusableSignerError, match=problem):
            load_signer(domain, selector, octets)


def locked() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(b"secret"))


def test_a_key_that_others_refuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_module, "MIN_RSA_BITS", 1025)  # so that no key of an odd size need be made
    with pytest.raises(UnusableSignerError, match="RSA key of 1024 bits; 1025 to 4096 are accepted"):
        load_signer(DOMAIN, "s1", rsa_key(1024)[0])
