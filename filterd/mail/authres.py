"""Owns the Authentication-Results field: writing ours, and knowing one that claims to be ours.  RFC 8601 2.2, 5.

Must not know how a result was obtained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from filterd.mail.evidence import Evidence

# Checks whose evidence the field reports, in this order, and the method that each one is (RFC 8601 2.7, RFC 8617 4.1.3).
METHODS = {"spf": "spf", "spf_helo": "spf", "dkim": "dkim", "arc": "arc", "dmarc": "dmarc", "rdns": "iprev"}
MAX_RESULTS = 20  # of all methods: two SPF, ten DKIM, one each of ARC, iprev and DMARC, and room
MAX_VALUE = 330  # octets of one value: the longest mailbox of RFC 5321 (64 + 1 + 255), and room
LINE = 78  # octets after which a line is folded (RFC 5322 2.1.1); no line can exceed 900, see MAX_VALUE
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+(?:@[A-Za-z0-9._-]+)?|@[A-Za-z0-9._-]+")  # RFC 2045 token, pvalue
_PROPERTY = re.compile(r"[a-z][a-z0-9-]{0,29}\.[a-z][a-z0-9-]{0,29}")  # ptype "." property
_UNSAFE = re.compile(r"[^ -~]|[;=]")  # not printable, or what a reader that knows no quotes takes for another result
_MAX_HEAD = 4096  # octets of a field that are looked at for the authserv-id
_PLAIN = re.compile(
    r"[ \t\r\n]*([a-z0-9._-]+)(?:[ \t\r\n]+[0-9]*[ \t\r\n]*)?"
)  # authserv-id [version], no CFWS in doubt
_NOT_NAME = re.compile(r"[^a-z0-9.:\[\]_-]")


def authentication_results(authserv_id: str, evidence: Sequence[Evidence]) -> bytes:
    """The whole header field, folded, ending with CRLF.  Nothing in a value can end it, fold it or look like another result."""
    return f"Authentication-Results: {results_text(authserv_id, evidence)}\r\n".encode("ascii")


def results_text(authserv_id: str, evidence: Sequence[Evidence]) -> str:
    """The field's body, folded, without the final CRLF: also what an ARC set says (RFC 8617 4.1.1)."""
    parts = results(evidence)
    lines = [f"{_value(authserv_id)};"]
    for index, words in enumerate(parts or [["none"]]):
        end = ";" if index < len(parts) - 1 else ""
        lines.append(f"\t{words[0]}")
        for word in words[1:]:
            if len(lines[-1]) + 1 + len(word) + len(end) > LINE:
                lines.append(f"\t {word}")
            else:
                lines[-1] += f" {word}"
        lines[-1] += end
    return "\r\n".join(lines)


def results(evidence: Sequence[Evidence]) -> list[list[str]]:
    """Each result as its words: method=result, then reason and properties."""
    parts: list[list[str]] = []
    for check, method in METHODS.items():
        for item in evidence:
            if item.check == check and len(parts) < MAX_RESULTS:
                properties = [f"{k}={_value(v)}" for k, v in item.properties.items() if v and _PROPERTY.fullmatch(k)]
                reason = item.properties.get("reason", "")  # RFC 8601 2.2: reasonspec
                said = [f"reason={_quoted(reason)}"] if reason else []
                parts.append([f"{method}={item.result.value}", *said, *properties])
    return parts


def _value(text: str) -> str:
    """A value that may stand in the field: a token or address as it is, everything else in quotes, made harmless."""
    text = text[:MAX_VALUE]
    return text if _TOKEN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    clean = _UNSAFE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def _outside_comments(text: str) -> tuple[str, bool]:
    """What stands outside comments before the first ";" outside them, and whether there is such a ";".

    One pass over the text (RFC 5322 3.2.2: comments nest, a backslash quotes).
    """
    out: list[str] = []
    depth = 0
    quoted = False
    for char in text:
        if quoted:
            quoted = False
        elif char == "\\":
            quoted = True
        elif char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            continue
        elif char == ";" and not depth:
            return "".join(out), True
        if not depth:
            out.append(char)
    return "".join(out), False


def names_authserv_id(field_body: bytes, authserv_id: str) -> bool:
    """Whether an incoming field claims to be written by us (RFC 8601 5: such a field is removed).

    A plain name before the first ";" is compared.  Where there are comments, quotes or more words, readers differ; then
    our name anywhere in them is a claim, and so is what cannot be read: nobody needs that to write his own name.
    """
    text = field_body[:_MAX_HEAD].decode("latin-1").lower()
    own = authserv_id.lower().rstrip(".")
    head, semicolon, _ = text.partition(";")
    plain = _PLAIN.fullmatch(head)
    if plain and (semicolon or len(field_body) <= _MAX_HEAD):
        return plain[1].rstrip(".") == own
    outside, ended = _outside_comments(text)
    if not ended or outside.count('"') % 2 or not outside.strip():
        return True
    return any(own in _NOT_NAME.sub("", reading) for reading in (head, outside))
