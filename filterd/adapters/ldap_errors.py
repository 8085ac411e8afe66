"""Owns what people read when a directory cannot be used: one line, what failed and what to do.  RFC 4511 appendix A, [MS-ERREF].

Must not know what was asked for.
"""

from __future__ import annotations

import re
import ssl
from datetime import datetime

from cryptography import x509

from filterd.errors import TemporaryError

_MAX_TEXT = 300  # characters of what a server says for people


class LdapError(TemporaryError):
    """The directory cannot be used now: one line that says what to do.

    `kind`: password, certificate, tls, referral, limit, base, rights, refused, unreachable, timeout, broken.
    """


# Active Directory's own codes behind result 49, as hexadecimal "data" (system error codes, [MS-ERREF] 2.2).
_AD_BIND = {
    "525": "the directory knows no such user: correct ldap.user (name@domain, or a DN)",
    "52e": "wrong user or password: correct ldap.user or the file of ldap.password_file",
    "530": "the user may not log on at this hour: lift its logon hours",
    "531": "the user may not log on from this machine: lift its logon workstations",
    "532": "the user's password has expired: set a new one, and that it never expires",
    "533": "the user is disabled: enable it (Enable-ADAccount)",
    "568": "the user is in too many groups: take it out of some",
    "701": "the user's account has expired: set another end date (Set-ADAccountExpiration)",
    "773": "the user must change its password first: set one, without that flag",
    "775": "the user is locked out: unlock it (Unlock-ADAccount), and find who tries wrong passwords",
}
_UNBOUND = re.compile("successful bind must be completed|without authentication")
_DATA = re.compile(r"\bdata ([0-9a-fA-F]{1,8})\b")

_RESULTS: dict[int, tuple[str, str]] = {
    3: (
        "limit",
        "the directory ended the search at its time limit: raise it there for this user, or lower ldap.page_size",
    ),
    4: (
        "limit",
        "the directory gives this user no more entries (size limit): raise it there, for pages too (OpenLDAP: limits … "
        "size.prtotal=unlimited), or lower ldap.page_size",
    ),
    7: ("refused", "the directory does not know simple binds: allow them over TLS"),
    8: ("tls", "the directory wants an encrypted connection: use ldaps:// in ldap.urls"),
    11: ("limit", "the directory ended the search at an administrative limit: raise it there, or lower ldap.page_size"),
    12: ("refused", "the directory does not know paged results (RFC 2696): it cannot be used"),
    13: ("tls", "the directory wants an encrypted connection: use ldaps:// in ldap.urls"),
    32: ("base", "there is no such base: correct ldap.bases"),
    34: (
        "base",
        "the directory does not take this as a name: correct ldap.user and ldap.bases (DNs; name@domain is of Active Directory)",
    ),
    48: (
        "password",
        "the directory takes no anonymous bind, or none of this kind: give ldap.user and ldap.password_file",
    ),
    49: ("password", "wrong user or password: correct ldap.user or the file of ldap.password_file"),
    50: ("rights", "ldap.user (or nobody, where none is given) may not read this: give it read access there"),
    51: ("refused", "the directory is busy: nothing to do, it is asked again"),
    52: ("refused", "the directory is not available: see its own log"),
    53: ("refused", "the directory does not want to do this: see its own log, and the rights of ldap.user"),
}


def result_error(where: str, code: int, text: str, about: str = "", referrals: tuple[str, ...] = ()) -> LdapError:
    """What an answer other than success means.

    Args:
        where: the server.
        about: base or user that was asked with.
    """
    said = f" ({printable(text)})" if text.strip() else ""
    data = _DATA.search(text)
    if code == 49 and data and data[1].lower() in _AD_BIND:
        return LdapError(f"{where}: {about}: {_AD_BIND[data[1].lower()]}", "password")
    if code == 10:
        there = printable(", ".join(referrals)) or "without saying where"
        remedy = "ask that server in ldap.urls, or correct ldap.bases (referrals are not followed)"
        return LdapError(
            f"{where}: {about or 'the base'} is not held here, the server refers to {there}: {remedy}", "referral"
        )
    if code == 1 and _UNBOUND.search(text):  # Active Directory, Samba to whoever has not bound
        remedy = "the directory takes no anonymous question: give ldap.user and ldap.password_file"
        return LdapError(f"{where}: {remedy}", "password")
    kind, remedy = _RESULTS.get(code, ("broken", f"unexpected result {code}: see the directory's own log"))
    return LdapError(f"{where}: {f'{about}: ' if about else ''}{remedy}{said}", kind)


def printable(text: str) -> str:
    """What a server says, fit for one line."""
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT]).strip()


def no_connection(where: str, error: BaseException) -> LdapError:
    """No connection, or one that broke."""
    if isinstance(error, TimeoutError):
        remedy = "is the server up, does a firewall drop the port?"
        return LdapError(f"{where}: no answer in time: {remedy}", "timeout")
    said = printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return LdapError(
        f"{where}: cannot be reached ({said}): is the name right, the server up, the port open?", "unreachable"
    )


def tls_failed(where: str, error: BaseException, host: str, shown: bytes | None, now: datetime) -> LdapError:
    """A handshake that failed.

    Args:
        shown: the certificate that the server shows, DER, when it could be fetched; only for the text.
        now: our clock.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        said = printable(str(error) or type(error).__name__)
        remedy = "is this a port for TLS, and has the server a certificate for it?"
        return LdapError(f"{where}: TLS fails ({said}): {remedy}", "tls")
    certificate = None
    if shown:
        try:
            certificate = x509.load_der_x509_certificate(shown)
        except ValueError:
            certificate = None
    return LdapError(f"{where}: {_certificate_text(error, host, certificate, now)}", "certificate")


def _certificate_text(
    error: ssl.SSLCertVerificationError, host: str, certificate: x509.Certificate | None, now: datetime
) -> str:
    code = error.verify_code  # X509_V_ERR_…, openssl/x509_vfy.h
    clock = f"our clock says {now:%Y-%m-%d %H:%M} UTC"
    if code == 10:
        since = (
            f" at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            if certificate and certificate.not_valid_after_utc < now
            else ""
        )
        of = "its certificate" if since or certificate is None else "a certificate above its own"
        return f"{of} has expired{since} ({clock}): renew it on the server"
    if code == 9:
        since = (
            f" before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
            if certificate and certificate.not_valid_before_utc > now
            else ""
        )
        return f"its certificate is not valid{since or ' yet'}: {clock}; correct the clock that is wrong"
    if code in (62, 64):
        names = f"the names {_names(certificate)}" if certificate else "other names"
        return f"its certificate is for {names}, not for {host}: use such a name in ldap.urls, or give the server another certificate"
    if code in (2, 18, 19, 20, 21):
        issuer = f" ({printable(certificate.issuer.rfc4514_string())})" if certificate else ""
        return f"its certificate is from an authority that is not trusted here{issuer}: put that authority's certificate (PEM) into ldap.ca_file"
    return f"its certificate is refused ({printable(error.verify_message)}): repair it on the server"


def _names(certificate: x509.Certificate) -> str:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [*extension.get_values_for_type(x509.DNSName), *map(str, extension.get_values_for_type(x509.IPAddress))]
    except (x509.ExtensionNotFound, ValueError):
        names = []
    return printable(", ".join(names[:10])) or "nobody"
