"""Owns the Received-SPF field: writing ours, and knowing one that claims to be ours.  RFC 7208 9.1.

Must not know how a result was obtained.  What a domain's owner says in an explanation is not written: it is a stranger's text.
"""

from __future__ import annotations

import re

from filterd.mail.envelope import Connection, Envelope
from filterd.mail.evidence import Evidence, Result

_DOT_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")  # RFC 5322 3.2.3
_NOT_PRINTABLE = re.compile(r"[^ -~]")
_NOT_IN_COMMENT = re.compile(r"[^ !#-'*-\[\]-~]")  # no quotes, parentheses or backslash: a comment stays one comment
MAX_VALUE = 330  # octets of one value: the longest mailbox of RFC 5321, and room
_MAX_READ = 4096  # octets of a foreign field in which our name is looked for; honest ones have a few hundred
_HIDING = re.compile(r"[\s\"\\]")
_MEANING = {
    Result.PASS: "designates {ip} as permitted sender",
    Result.FAIL: "does not designate {ip} as permitted sender",
    Result.SOFTFAIL: "is not sure about {ip} and does not designate it as permitted sender",
    Result.NEUTRAL: "neither permits nor denies {ip}",
    Result.NONE: "has no policy about {ip}",
    Result.TEMPERROR: "could not be asked about {ip}",
    Result.PERMERROR: "has a policy that cannot be used, about {ip}",
}


def received_spf(connection: Connection, envelope: Envelope, found: Evidence, hostname: str) -> bytes:
    """The whole field for one finding of the checks spf or spf_helo, folded, ending with CRLF."""
    helo_identity = "smtp.mailfrom" not in found.properties and (
        "smtp.helo" in found.properties or not envelope.mail_from
    )
    domain = found.properties.get("smtp.helo" if helo_identity else "smtp.mailfrom", "")
    ip = str(connection.client_ip)
    meaning = _MEANING.get(found.result, "said nothing usable about {ip}").format(ip=ip)
    comment = _NOT_IN_COMMENT.sub("?", f"{hostname}: {'domain of ' if domain else ''}{domain or 'sender'} {meaning}")
    pairs = {
        "receiver": hostname,
        "client-ip": ip,
        "envelope-from": envelope.mail_from,
        "helo": connection.helo,
        "identity": "helo" if helo_identity else "mailfrom",
    }
    lines = [f"Received-SPF: {found.result.value}", f"\t({comment[:MAX_VALUE]})"]
    lines += [f"\t{key}={_value(value)};" for key, value in pairs.items()]
    return "\r\n".join(lines).removesuffix(";").encode("ascii") + b"\r\n"


def _value(text: str) -> str:
    """A dot-atom as it is, everything else as a quoted string, made printable."""
    text = text[:MAX_VALUE]
    if _DOT_ATOM.fullmatch(text) and not text.startswith(".") and not text.endswith(".") and ".." not in text:
        return text
    clean = _NOT_PRINTABLE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def names_receiver(field_body: bytes, hostname: str) -> bool:
    """Whether an incoming field claims to be written by us: our name is its receiver, or begins a comment.  Linear.

    Blanks, quotes and comments do not hide it, and what is longer than anybody's honest field is a claim too.
    """
    if len(field_body) > _MAX_READ:
        return True
    text = _HIDING.sub("", field_body.decode("latin-1").lower())
    own = re.escape(hostname.lower().rstrip("."))
    claim = re.compile(rf"(?:[()]|receiver[=:<\[]+){own}(?![a-z0-9_-]|\.[a-z0-9])")
    return any(claim.search(reading) for reading in (text, _outside_comments(text)))


def _outside_comments(text: str) -> str:
    """What stands outside comments, however deep they are (RFC 5322 3.2.2)."""
    out: list[str] = []
    depth = 0
    for char in text:
        if char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif not depth:
            out.append(char)
    return "".join(out)
