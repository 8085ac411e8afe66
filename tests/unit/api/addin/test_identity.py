"""Only a token that our Exchange signed for our page, now, says who presses the button."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from api.addin.identity import LEEWAY_SECONDS, MAX_TOKEN, IdentityError, user_key, user_of
from tests.support.exchange_token import ANNA, exchange, part, stranger

PAGE = "https://filter.example.org/addin/report.html"
NOW = 1_790_000_000.0
HOURS = 28_800

Change = Callable[[dict[str, Any]], None]


def look(token: str, now: float = NOW) -> str:
    return user_of(token, PAGE, exchange().keys, now)


def changed(change: Change, **header: Any) -> str:
    claims = exchange().claims(PAGE, now=NOW)
    change(claims)
    return exchange().sign(claims, **header)


def refused(token: str, now: float = NOW) -> str:
    with pytest.raises(IdentityError) as caught:
        look(token, now)
    return str(caught.value)


def test_a_token_of_ours_names_the_mailbox() -> None:
    assert look(exchange().token(PAGE, now=NOW)) == ANNA
    assert look(exchange().token(PAGE, ANNA.upper(), NOW)) == ANNA, "letter case is no identity"
    assert user_key(ANNA) == hashlib.sha256(ANNA.encode()).hexdigest()


def test_the_forms_that_servers_write() -> None:
    assert look(changed(lambda claims: claims.update(appctx=json.dumps(claims["appctx"])))) == ANNA
    assert look(changed(lambda claims: claims.update(nbf=int(NOW), exp=int(NOW) + HOURS))) == ANNA
    assert look(changed(lambda _claims: None, x5t=exchange().thumbprint + "=")) == ANNA


def test_the_clocks_may_differ_by_five_minutes() -> None:
    token = exchange().token(PAGE, now=NOW)
    assert look(token, NOW - LEEWAY_SECONDS) == ANNA
    assert look(token, NOW + HOURS + LEEWAY_SECONDS - 1) == ANNA
    assert "not valid yet" in refused(token, NOW - LEEWAY_SECONDS - 1)
    assert "expired" in refused(token, NOW + HOURS + LEEWAY_SECONDS)


def test_another_certificate_does_not_count() -> None:
    assert "certificate" in refused(stranger().token(PAGE, now=NOW))
    # Another key under our thumbprint, our key under another one, and none at all.
    assert "verify" in refused(stranger().sign(exchange().claims(PAGE, now=NOW), x5t=exchange().thumbprint))
    for x5t in ("AAAAAAAAAAAAAAAAAAAAAAAAAAA", "", None, [exchange().thumbprint], 7):
        assert "certificate" in refused(changed(lambda _claims: None, x5t=x5t))
    without = jwt.encode(exchange().claims(PAGE, now=NOW), exchange().key, algorithm="RS256")
    assert "certificate" in refused(without)


def test_a_key_in_the_token_does_not_count() -> None:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger().key.public_key()))
    header = {"x5t": exchange().thumbprint, "jwk": public, "jku": "https://attacker.example/keys"}
    assert "verify" in refused(stranger().sign(exchange().claims(PAGE, now=NOW), **header))


def test_no_signature_and_a_shared_secret_do_not_count() -> None:
    claims = exchange().claims(PAGE, now=NOW)
    head = {"typ": "JWT", "x5t": exchange().thumbprint}
    for none in ("none", "None", "NONE"):
        assert refused(f"{part({**head, 'alg': none})}.{part(claims)}.")
    spki = (
        exchange()
        .key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for secret in (exchange().pem, spki):  # what everybody knows, used as a password
        signed = f"{part({**head, 'alg': 'HS256'})}.{part(claims)}"
        mac = hmac.digest(secret, signed.encode(), "sha256")
        assert refused(f"{signed}.{part(mac)}")
    for algorithm in ("RS384", "RS512", "PS256"):
        assert refused(jwt.encode(claims, exchange().key, algorithm=algorithm, headers=head))


def test_an_altered_token_does_not_count() -> None:
    head, _, signature = exchange().token(PAGE, now=NOW).split(".")
    other = part(exchange().claims(PAGE, "mallory@mailhost.example.org", NOW))
    assert "verify" in refused(f"{head}.{other}.{signature}")


def test_a_header_that_must_be_understood_is_not() -> None:
    assert refused(changed(lambda _claims: None, crit=["exp"]))
    assert refused(changed(lambda _claims: None, typ="at+jwt"))


@pytest.mark.parametrize(
    "aud",
    [
        "https://other.example.org/addin/report.html",
        PAGE + "/",
        PAGE.upper(),
        "https://mailhost.example.org/ews/exchange.asmx",
        [PAGE],
        [PAGE, "https://other.example.org/"],
        "",
        None,
        7,
    ],
)
def test_a_token_for_another_page_does_not_count(aud: object) -> None:
    assert refused(changed(lambda claims: claims.update(aud=aud)))


@pytest.mark.parametrize("name", ["aud", "nbf", "exp", "appctx"])
def test_a_part_that_is_missing(name: str) -> None:
    assert refused(changed(lambda claims: claims.pop(name)))


@pytest.mark.parametrize("value", [True, None, "", "1e9", " 1", "٣", -1, 1.5, "9" * 14, 2**70, [1], {}])
def test_what_is_no_time(value: object) -> None:
    for name in ("nbf", "exp"):
        assert f"{name} is no time" in refused(changed(lambda claims, name=name: claims.update({name: value})))


@pytest.mark.parametrize(
    "context",
    [
        {"version": "ExIdTok.V1"},
        {"version": "ExIdTok.V2", "msexchuid": ANNA},
        {"msexchuid": ANNA},
        {"version": "ExIdTok.V1", "msexchuid": ""},
        {"version": "ExIdTok.V1", "msexchuid": 7},
        {"version": "ExIdTok.V1", "msexchuid": "a\nb"},
        {"version": "ExIdTok.V1", "msexchuid": "x" * 513},
        {"version": "ExIdTok.V1", "msexchuid": "ä@mailhost.example.org"},
        "no JSON",
        "[" * 3000,
        [ANNA],
        None,
    ],
)
def test_no_user(context: object) -> None:
    assert refused(changed(lambda claims: claims.update(appctx=context)))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "a.b.c.d", "é.é.é", "\0", "x" * MAX_TOKEN])
def test_what_is_no_token(token: str) -> None:
    assert refused(token)


def test_a_long_or_deep_token_is_not_looked_at() -> None:
    assert "longer" in refused("x" * (MAX_TOKEN + 1))
    assert "longer" in refused(exchange().sign({**exchange().claims(PAGE, now=NOW), "more": "x" * MAX_TOKEN}))
    deep = part(b"[" * 5000)
    assert refused(f"{deep}.e30.e30")
    assert refused(f"{part({'alg': 'RS256', 'typ': 'JWT', 'x5t': exchange().thumbprint})}.{deep}.e30")


@given(st.text(max_size=200))
def test_any_text_is_a_user_or_refused(text: str) -> None:
    with pytest.raises(IdentityError):
        look(text)
