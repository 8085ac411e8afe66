"""AUTH PLAIN and LOGIN: what clients send becomes credentials or a fault, never an exception."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.wire.sasl import MAX_LINE, MECHANISMS, Challenge, Credentials, Fault, Login, Plain, Step

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=60)


def b64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def code(step: Step) -> str:
    assert isinstance(step, Fault), step
    return f"{step.reply.code} {step.reply.enhanced}"


# ---------------------------------------------------------------- PLAIN


def test_plain_with_an_initial_response() -> None:
    assert Plain().start("AHRpbQB0YW5zdGFhZnRhbnN0YWFm") == Credentials("tim", "tanstaaftanstaaf")  # RFC 4616 section 4


def test_plain_asks_with_an_empty_challenge() -> None:
    mechanism = Plain()
    assert mechanism.start(None) == Challenge("")
    assert mechanism.step(b64("\0anna\0secret")) == Credentials("anna", "secret")


def test_nobody_acts_for_somebody_else() -> None:
    assert Plain().start(b64("anna\0anna\0secret")) == Credentials("anna", "secret")
    assert code(Plain().start(b64("boss\0anna\0secret"))) == "535 5.7.8"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "501 5.5.2"),
        (b"anna", "501 5.5.2"),
        (b"\0anna", "501 5.5.2"),
        (b"\0anna\0sec\0ret", "501 5.5.2"),
        (b"\0anna\0secret\0", "501 5.5.2"),
        (b"\0\0secret", "535 5.7.8"),
        (b"\0anna\0", "535 5.7.8"),
        (b"\0ann\xff\0secret", "501 5.5.2"),
        (b"\0anna\0\xc3", "501 5.5.2"),
        (b"\0" + b"a" * 256 + b"\0secret", "535 5.7.8"),
        (b"\0anna\0" + b"p" * 1025, "535 5.7.8"),
    ],
)
def test_plain_messages_that_are_no_credentials(message: bytes, expected: str) -> None:
    assert code(Plain().start(b64(message) or "=")) == expected


def test_the_longest_user_and_password() -> None:
    assert Plain().start(b64("\0" + "a" * 255 + "\0" + "p" * 1024)) == Credentials("a" * 255, "p" * 1024)


# ---------------------------------------------------------------- LOGIN


def test_login_asks_for_both() -> None:
    mechanism = Login()
    assert mechanism.start(None) == Challenge(b64("Username:"))
    assert mechanism.step(b64("anna")) == Challenge(b64("Password:"))
    assert mechanism.step(b64("secret")) == Credentials("anna", "secret")


def test_login_takes_the_user_with_the_command() -> None:
    mechanism = Login()
    assert mechanism.start(b64("anna")) == Challenge(b64("Password:"))
    assert mechanism.step(b64("secret")) == Credentials("anna", "secret")


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        (b"", b"secret", "535 5.7.8"),
        (b"anna", b"", "535 5.7.8"),
        (b"an\0na", b"secret", "501 5.5.2"),
        (b"anna", b"sec\0ret", "501 5.5.2"),
        (b"\xff", b"secret", "501 5.5.2"),
        (b"a" * 256, b"secret", "535 5.7.8"),
    ],
)
def test_login_answers_that_are_no_credentials(user: bytes, password: bytes, expected: str) -> None:
    mechanism = Login()
    mechanism.start(b64(user) or "=")
    assert code(mechanism.step(b64(password))) == expected


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*", "501 5.7.0"),
        ("=", "501 5.5.2"),
        ("AGE=junk", "501 5.5.2"),
        ("AG E=", "501 5.5.2"),
        (" AGE=", "501 5.5.2"),
        ("AGEA\r\nYg==", "501 5.5.2"),
        ("AGEAYg", "501 5.5.2"),
        ("\xe4\xe4\xe4\xe4", "501 5.5.2"),
        ("A" * (MAX_LINE + 4), "500 5.5.6"),
    ],
)
def test_lines_that_end_the_exchange(name: str, line: str, expected: str) -> None:
    mechanism = MECHANISMS[name]()
    mechanism.start(None)
    assert code(mechanism.step(line)) == expected
    assert code(mechanism.step(b64("\0anna\0secret"))) == "501 5.5.2"  # over is over


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN"])
def test_an_initial_star_cancels_nothing(name: str) -> None:
    assert code(MECHANISMS[name]().start("*")) == "501 5.5.2"


def test_a_password_is_never_printed() -> None:
    step = Plain().start(b64("\0anna\0secret"))
    assert "secret" not in repr(step)
    faults = [Plain().start(b64("boss\0anna\0secret")), Plain().start(b64("secret")), Plain().start("secret!")]
    assert "secret" not in repr(faults)


@given(NAMES, NAMES)
def test_what_a_client_encodes_is_what_we_read(user: str, password: str) -> None:
    assert Plain().start(b64(f"\0{user}\0{password}")) == Credentials(user, password)
    login = Login()
    login.start(b64(user))
    assert login.step(b64(password)) == Credentials(user, password)


LINES = st.text(max_size=40) | st.binary(max_size=40).map(b64) | st.sampled_from(["*", "=", "", "A" * 13_000])


@given(st.sampled_from(["PLAIN", "LOGIN"]), st.none() | LINES, st.lists(LINES, max_size=4))
def test_arbitrary_lines_never_raise_and_never_give_odd_credentials(
    name: str, initial: str | None, lines: list[str]
) -> None:
    mechanism = MECHANISMS[name]()
    for step in (mechanism.start(initial), *map(mechanism.step, lines)):
        if isinstance(step, Credentials):
            assert step.user
            assert step.password
            assert "\0" not in step.user + step.password
        elif isinstance(step, Challenge):
            base64.b64decode(step.text, validate=True)


def test_time_grows_linearly() -> None:
    def cost(size: int) -> float:
        lines = [b64(b"\0" * size), b64(b"a" * size), "A" * (size - size % 4), "=" * size, "*" * size]
        best = 9.0
        for _ in range(5):
            started = time.process_time()
            for _ in range(200):
                for line in lines:
                    Plain().start(line)
                    login = Login()
                    login.start(line)
                    login.step(line)
            best = min(best, time.process_time() - started)
        return best

    assert cost(8000) < 12 * max(cost(2000), 0.002)
    assert cost(64_000) < 12 * max(cost(8000), 0.002)  # beyond the longest line nothing is read at all
