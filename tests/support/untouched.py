"""Owns messages that break when one octet is changed, and mail with odd octets.  Not part of the product.

RFC 8551 (S/MIME, made by openssl), RFC 3156 (PGP/MIME), RFC 5546 and 6047 (iMIP), RFC 2046 5.2.2 (message/partial), TNEF.
"""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path

from tests.support.certificate import write_certificate
from tests.support.documents import tnef_of
from tests.support.keys import sign

_HEAD = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: %s\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
)
_PLAIN = b'MIME-Version: 1.0\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n'
_PART = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.Grüße \t \r\nfrom home\r\n".encode()


def head(name: str, *fields: bytes) -> bytes:
    """Header fields of a message that can be told by its name, without the empty line."""
    subject = name.encode()
    return _HEAD % subject + b"Message-ID: <%s@example.com>\r\n" % subject.replace(b" ", b".") + b"".join(fields)


def _crlf(octets: bytes) -> bytes:
    """Openssl ends the lines that it writes itself with LF."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", octets)


def _based(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def _attached(name: str, type: bytes, file: bytes, octets: bytes) -> bytes:
    fields = (b"MIME-Version: 1.0\r\n", b'Content-Type: multipart/mixed; boundary="=_a"\r\n')
    part = b'\r\n--=_a\r\nContent-Type: %s; name="%s"\r\nContent-Disposition: attachment; filename="%s"\r\n' % (
        type,
        file,
        file,
    )
    text = b"Preamble\r\n--=_a\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n"
    return (
        head(name, *fields)
        + b"\r\n"
        + text
        + part
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + _based(octets)
        + b"--=_a--\r\n"
    )


class Smime:
    """A certificate of the test's own, and messages that openssl makes and reads with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.key = write_certificate(folder / "smime", use_rsa=True)

    def _openssl(self, *arguments: str | Path, octets: bytes) -> bytes:
        command = ["openssl", "smime", *map(str, arguments)]
        done = subprocess.run(command, input=octets, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout

    def signed(self) -> bytes:
        """multipart/signed."""
        made = self._openssl(
            "-sign", "-binary", "-crlfeol", "-signer", self.certificate, "-inkey", self.key, octets=_PART
        )
        return head("smime signed") + _crlf(made)

    def encrypted(self) -> bytes:
        """smime.p7m."""
        made = self._openssl("-encrypt", "-binary", "-aes256", "-crlfeol", self.certificate, octets=_PART)
        return head("smime encrypted") + _crlf(made)

    def verified(self, octets: bytes) -> bytes:
        """What was signed; fails when the signature does."""
        arguments = ("-verify", "-binary", "-crlfeol", "-purpose", "any", "-CAfile", self.certificate)
        return self._openssl(*arguments, octets=octets)

    def decrypted(self, octets: bytes) -> bytes:
        """What was encrypted."""
        return self._openssl("-decrypt", "-binary", "-recip", self.certificate, "-inkey", self.key, octets=octets)

    part = _PART


def samples(smime: Smime) -> dict[str, bytes]:
    """Messages by their subject."""
    found = {"smime signed": smime.signed(), "smime encrypted": smime.encrypted()}
    found["winmail"] = _attached(
        "winmail", b"application/ms-tnef", b"winmail.dat", tnef_of(("letter.txt", b"a\nb\r\nc"))
    )

    # Folded as few programs do: a tab, a blank line's worth of blanks, a field name alone on its line.
    odd = b"X-Odd:\r\n \t  a\r\n\t\tb \r\n   c\r\nREPLY-TO:anna@example.com\r\n"
    text = b"dkim  with \t blanks \r\n\r\n.\r\n..\r\n \r\n\r\n"
    for form in ("simple/simple", "relaxed/simple"):
        name = f"dkim {form.replace('/', ' ')}"
        names = [b"from", b"to", b"subject", b"x-odd", b"reply-to", b"message-id"]
        found[name] = sign(head(name, odd) + b"\r\n" + text, canonicalize=form, fields=names)

    pgp = (
        b"MIME-Version: 1.0\r\n",
        b'Content-Type: multipart/signed; micalg=pgp-sha512;\r\n\tprotocol="application/pgp-signature";\r\n boundary="b"\r\n',
    )
    armour = (
        b"-----BEGIN PGP SIGNATURE-----\r\n\r\n"
        + _based(bytes(range(200)))
        + b"=AbCd\r\n-----END PGP SIGNATURE-----\r\n"
    )
    signature = b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n" + armour
    found["pgp signed"] = (
        head("pgp signed", *pgp) + b"\r\n--b\r\n" + _PART + b"\r\n--b\r\n" + signature + b"\r\n--b--\r\n"
    )

    found["eight bits"] = (
        head("eight bits", _PLAIN) + b"\r\n" + "Grüße, 你好\r\n".encode() + bytes(range(0xA0, 0x100)) + b"\r\n"
    )
    control = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")
    found["binary"] = (
        head("binary", _PLAIN.replace(b"8bit", b"binary")) + b"\r\n" + control + b"\r\n\x1a\r\n\x7f\x1b[0m\r\n"
    )
    found["long lines"] = (
        head("long lines", _PLAIN) + b"\r\n" + b"x" * 998 + b"\r\n" + b"." * 999 + b"\r\n" + b"y" * 60_000 + b"\r\n"
    )
    found["long field"] = head("long field", b"References: " + b"<a@example.com> " * 600 + b"\r\n") + b"\r\nbody\r\n"
    found["dots"] = head("dots") + b"\r\n.\r\n..\r\n.a\r\n\r\n.\r\n\r\n\r\n"
    found["no body"] = head("no body") + b"\r\n"
    found["blank first"] = b" continued from nowhere\r\n" + head("blank first") + b"\r\nbody\r\n"
    found["odd fields"] = (
        head(
            "odd fields",
            b"no field at all\r\n",
            b"X-A : blank before the colon\r\n",
            b"x-a:\r\n",
            b"X-Utf: \xc3\xbc\xff\r\n",
        )
        + b"\r\nbody\r\n"
    )

    event = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@example.com\r\nSUMMARY:Folded he\r\n re\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    found["invitation"] = (
        head(
            "invitation",
            b"MIME-Version: 1.0\r\n",
            b"Content-Class: urn:content-classes:calendarmessage\r\n",
            b"Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n",
        )
        + b"\r\n"
        + event
    )
    partial = b'Content-Type: message/partial; id="1@example.com";\r\n number=1; total=2\r\n'
    found["partial"] = head("partial", b"MIME-Version: 1.0\r\n", partial) + b"\r\nX-Inner: 1\r\n\r\nfirst half\r\n"
    foreign = (
        b"X-Filterd-Recvd-Size: 3912\r\n",  # of another program with this name, seen in real mail
        b"X-MS-Exchange-MessageSentRepresentingType: 1\r\n", b"X-MS-Exchange-Transport-CrossTenantHeadersStamped: A\r\n",
        b"X-MS-Has-Attach:\r\n", b"X-MS-TNEF-Correlator:\r\n", b"x-originatororg: example.com\r\n",
        b"X-MS-Exchange-AntiSpam-MessageData: " + b"A" * 700 + b"\r\n",
    )  # fmt: skip
    found["foreign fields"] = head("foreign fields", *foreign) + b"\r\nbody\r\n"
    return found


def filled(name: str, size: int) -> bytes:
    """A message of exactly `size` octets, nearly all of them one attachment that looks like nothing."""
    empty = len(_attached(name, b"application/octet-stream", b"plan.bin", b""))
    pattern = bytes(range(256)) * (size // 256)
    made = _attached(name, b"application/octet-stream", b"plan.bin", pattern[: (size - empty) // 78 * 57 - 57])
    rest = size - len(made) - 2
    return made + b"e" * rest + b"\r\n"
