"""The line that people read: Active Directory's own codes, and results that no test server gives."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest

from filterd.adapters.ldap_errors import no_connection, result_error, tls_failed

AD = "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {}, v4563"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("525", "knows no such user"),
        ("52e", "wrong user or password: correct"),
        ("530", "logon hours"),
        ("532", "password has expired: set a new one"),
        ("533", "is disabled: enable it"),
        ("701", "account has expired"),
        ("773", "must change its password first"),
        ("775", "locked out: unlock it"),
    ],
)
def test_why_active_directory_does_not_let_the_user_in(data: str, said: str) -> None:
    error = result_error("dc1", 49, AD.format(data), "filterd@example.org")
    assert error.kind == "password"
    assert str(error).startswith("dc1: filterd@example.org: ")
    assert said in str(error)


def test_another_code_of_active_directory_is_shown() -> None:
    assert "data 999" in str(result_error("dc1", 49, AD.format("999")))


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (3, "limit", "time limit"),
        (8, "tls", "use ldaps://"),
        (11, "limit", "administrative limit"),
        (12, "refused", "paged results"),
        (13, "tls", "use ldaps://"),
        (48, "password", "give ldap.user"),
        (50, "rights", "may not read"),
        (51, "refused", "busy"),
        (52, "refused", "not available"),
        (53, "refused", "does not want"),
        (80, "broken", "unexpected result 80"),
    ],
)
def test_each_result_says_what_to_do(code: int, kind: str, said: str) -> None:
    error = result_error("dc1", code, "the server's words", "dc=x")
    assert error.kind == kind
    assert said in str(error)
    assert str(error).endswith("(the server's words)")


def test_a_referral_names_the_server_and_the_base() -> None:
    error = result_error("dc1", 10, "", "dc=x", ("ldap://dc2/dc=x",))
    assert "dc=x is not held here, the server refers to ldap://dc2/dc=x" in str(error)
    assert "without saying where" in str(result_error("dc1", 10, "", "dc=x"))


@pytest.mark.parametrize(
    "text",
    [
        "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be completed "
        "on the connection., data 0, v4563",
        "00002020: Operation unavailable without authentication",
    ],
)
def test_whoever_has_not_bound_is_told_so(text: str) -> None:
    error = result_error("dc1", 1, text, "rootDSE")
    assert error.kind == "password"
    assert "give ldap.user and ldap.password_file" in str(error)


def test_what_a_server_says_is_one_short_line() -> None:
    text = str(result_error("dc1", 80, "a\nb\x1b[2J" + "x" * 5000))
    assert text.isprintable()
    assert len(text) < 500


def test_connections_and_handshakes_that_fail() -> None:
    assert no_connection("dc1", TimeoutError()).kind == "timeout"
    assert "OSError" in str(no_connection("dc1", OSError()))
    now = datetime.now(UTC)
    assert "TLS fails" in str(tls_failed("dc1", ssl.SSLError(1, "wrong version number"), "dc1", None, now))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (10, "its certificate has expired (our clock says 2026-01-02 03:04 UTC)"),
        (9, "not valid yet: our clock says 2026-01-02 03:04 UTC"),
        (18, "authority that is not trusted here: put"),
        (62, "for other names, not for dc1.example.org"),
        (23, "is refused (certificate revoked)"),
    ],
)
@pytest.mark.parametrize("shown", [None, b"no certificate"])
def test_a_certificate_that_could_not_be_fetched(code: int, said: str, shown: bytes | None) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "certificate revoked"
    line = tls_failed("dc1", error, "dc1.example.org", shown, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert line.kind == "certificate"
    assert said in str(line)
