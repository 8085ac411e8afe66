"""Owns a throw-away DKIM key and a signature with it: rsa-sha256, relaxed/relaxed.  RFC 6376 3.4, 3.5, 3.7.

Must not know what it signs.  Made for the samples: it signs each field once and nothing that is not there.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SIGNED = ("from", "to", "subject", "date", "message-id")


class DkimKey:
    """A key that lives as long as this process."""

    def __init__(self, domain: str, selector: str = "sandbox") -> None:
        self.domain = domain
        self.selector = selector
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)  # RFC 8301 3.2: at least 1024

    @property
    def record(self) -> str:
        """The TXT record of selector._domainkey.domain in zone-file form, cut into strings of at most 255 octets."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
        return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))

    def sign(self, message: bytes) -> bytes:
        """The message (CRLF lines) with a DKIM-Signature before it."""
        header, _, body = message.partition(b"\r\n\r\n")
        body_hash = base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode()
        fields = re.split(rb"\r\n(?![ \t])", header)
        chosen = [field for name in SIGNED for field in fields if field.lower().startswith(name.encode() + b":")]
        names = ":".join(field.partition(b":")[0].decode().lower() for field in chosen)
        signature = (
            f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={self.domain}; s={self.selector};\r\n"
            f" t={int(time.time())}; h={names};\r\n bh={body_hash};\r\n b="
        ).encode()
        signed = b"".join(_relaxed_field(field) + b"\r\n" for field in chosen) + _relaxed_field(signature)
        value = base64.b64encode(self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
        return (
            signature
            + "\r\n ".join(value[at : at + 70] for at in range(0, len(value), 70)).encode()
            + b"\r\n"
            + message
        )


def _relaxed_field(field: bytes) -> bytes:
    """RFC 6376 3.4.2 without the final CRLF."""
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + b" ".join(value.split())


def _relaxed_body(body: bytes) -> bytes:
    """RFC 6376 3.4.4."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)
