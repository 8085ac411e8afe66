"""Owns the look at the servers that mail needs: upstream by SMTP, and the directory of accounts.  RFC 5321, 1870, 3207.

Must not know DNS.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509

from filterd.adapters.upstream_tls import client_context
from filterd.config import Config
from filterd.deadline import Deadline
from filterd.doctor import certificates
from filterd.doctor.finding import Finding, Level, fail, ok, warn

_WANTED = ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
_LDAP_PORTS = {"ldap": 389, "ldaps": 636}


@dataclass(slots=True)
class _Seen:
    """What upstream showed.

    Attributes:
        name: what it calls itself.
        extensions: EHLO keyword in upper case -> parameters, under TLS where there is TLS.
        certificate: what it showed in the handshake, None without one.
        tls_error: why the handshake failed.
    """

    name: str
    extensions: dict[str, str]
    certificate: x509.Certificate | None = None
    tls_error: str = ""


def upstream(config: Config) -> list[Finding]:
    """Connection, greeting, EHLO, STARTTLS, certificate, SIZE.  Blocks."""
    what = f"upstream {config.upstream.host}:{config.upstream.port}"
    try:
        seen = _talk(config)
    except (OSError, UnicodeError) as error:  # of smtplib too; UnicodeError: a name that no host can have
        remedy = "all mail gets 451 4.4.1: is it running, reachable, and are we allowed by its connector?"
        return [fail(what, _text(error), remedy)]
    lacking = [name for name in _WANTED if name not in seen.extensions]
    text = f"{seen.name} answers" + (f"; it does not offer {', '.join(lacking)}" if lacking else "")
    findings = [ok(what, text)]
    if seen.name.lower() == config.server.hostname:
        text = f"it calls itself {seen.name}, as we do"
        findings.append(warn(what, text, "give server.hostname another name: servers refuse mail from their own name"))
    findings += _tls(config, what, seen)
    size = seen.extensions.get("SIZE", "").split(" ")[0]
    most = max(config.limits_of(listener).message_bytes for listener in config.listeners)
    if size.isascii() and size.isdigit() and 0 < int(size) < most:  # RFC 1870 section 4: 0 is no limit
        text = f"it takes {size} octets, limits.message_bytes is {most}"
        remedy = (
            "lower limits.message_bytes, or raise the connector's MaxMessageSize: what lies between is refused late"
        )
        findings.append(warn(what, text, remedy))
    return findings


def _talk(config: Config) -> _Seen:
    """One conversation up to QUIT.  Raises OSError, of which smtplib's exceptions are."""
    up = config.upstream
    with smtplib.SMTP(up.host, up.port, config.server.hostname, up.connect_seconds) as smtp:
        _hello(smtp)
        seen = _Seen(_name(smtp), _extensions(smtp))
        context = client_context(up)
        if context is None or not smtp.has_extn("starttls"):
            return seen
        try:
            smtp.starttls(context=context)
            encrypted = smtp.sock
            assert isinstance(encrypted, ssl.SSLSocket)
            shown = encrypted.getpeercert(binary_form=True)
            seen.certificate = x509.load_der_x509_certificate(shown) if shown else None
        except OSError as error:
            seen.tls_error = _text(error)
            smtp.close()
            return seen
        _hello(smtp)
        seen.extensions = _extensions(smtp)
        return seen


def _text(error: OSError | UnicodeError) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error
        return f"{error.smtp_code} {reply.decode('utf-8', 'replace') if isinstance(reply, bytes) else reply}"
    return str(error) or type(error).__name__


def _hello(smtp: smtplib.SMTP) -> None:
    code, text = smtp.ehlo()
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)


def _name(smtp: smtplib.SMTP) -> str:
    words = (smtp.ehlo_resp or b"").decode("ascii", "replace").split()
    return words[0] if words else ""


def _extensions(smtp: smtplib.SMTP) -> dict[str, str]:
    return {keyword.upper(): text for keyword, text in smtp.esmtp_features.items()}


def _tls(config: Config, what: str, seen: _Seen) -> list[Finding]:
    up, name = config.upstream, f"{what}, TLS"
    needed = up.tls == "required" or up.tls_verify
    if up.tls == "off":
        return [ok(name, "off, as configured")]
    if seen.tls_error:
        if needed:
            return [fail(name, seen.tls_error, "mail gets 451: repair its certificate, tls_ca_file or tls_verify")]
        return [warn(name, f"{seen.tls_error}: mail goes in clear text", "repair its certificate")]
    if seen.certificate is None:
        text = "STARTTLS is not offered"
        if up.tls == "required":
            return [fail(name, text, "mail gets 451: give the connector a certificate, or upstream.tls another value")]
        return [warn(name, f"{text}: mail goes in clear text", "give the connector a certificate, or say tls = off")]
    judged = certificates.judge(name, seen.certificate, datetime.now(UTC))
    if judged.level is Level.FAIL and not up.tls_verify:  # nobody looks at it: a blemish
        judged = replace(judged, level=Level.WARN)
    return [judged]


async def directory(config: Config, deadline: Deadline) -> list[Finding]:
    """Whether the directory of accounts can be connected to; nobody's password is at hand to bind with."""
    url = config.auth.ldap_url
    if not url:
        return []
    what, parts = f"directory {url}", urlsplit(url)
    port = parts.port or _LDAP_PORTS[parts.scheme]
    try:
        async with deadline.within(config.auth.timeout_seconds).timeout():
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        text = str(error) or "no connection in time"
        return [fail(what, text, "submission clients get 454 4.7.0: is it running, is the port open?")]
    writer.close()
    return [ok(what, "can be connected to")]
