"""Owns the measurement of DKIM, ARC and SPF: our verifier beside dkimpy, same messages, same keys, same run.

CPU of one message once its header has been read into fields (both sides), no key remembered from before.
Run: python -m benchmarks.auth
"""

from __future__ import annotations

import argparse
import base64
import gc
import random
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import dkim
import uvloop
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from filterd.auth import dkim_key
from filterd.auth.arc import verify_arc
from filterd.auth.dkim import verify_dkim
from filterd.auth.seal import Signer, seal
from filterd.auth.spf import check_spf
from filterd.deadline import Deadline
from filterd.mail.message import Message
from tests.support.dns import MapResolver

Records = dict[tuple[str, str], list[str]]
NOW = 1_700_000_000
DOMAIN = "example.com"
HEADER = (
    b"Received: from mail.example.com (mail.example.com [192.0.2.7]) by mx.example.org; Tue, 14 Nov 2023 22:13:20 +0000\r\n"
    b"From: Joe <joe@example.com>\r\nTo: Suzie <suzie@example.net>\r\nSubject: dinner tonight\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
)
NAMES = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]
WORDS = b"the quick brown fox jumps over a lazy dog and some more mail text follows here as people write it".split()


def body(kind: str, size: int) -> bytes:
    """About `size` octets: text in lines, base64, or blanks between two letters in lines of 998 octets."""
    chance = random.Random(1)  # the same text in every run
    if kind == "text":
        lines = [b" ".join(chance.choices(WORDS, k=13)) + b"\r\n" for _ in range(size // 62)]
        return b"".join(lines)
    if kind == "base64":
        return base64.encodebytes(chance.randbytes(size * 3 // 4)).replace(b"\n", b"\r\n")
    return (b"x" + b" \t" * 498 + b"x\r\n") * (size // 1000)


def new_signer(algorithm: str) -> tuple[Signer, bytes, Records]:
    """(our signer, the key as dkimpy wants it, the key record)."""
    if algorithm == "rsa":
        key = rsa.generate_private_key(65537, 2048)
        secret = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption())
        public = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
        signer = Signer(DOMAIN, "s1", key)
    else:
        curve = ed25519.Ed25519PrivateKey.generate()
        secret = base64.b64encode(curve.private_bytes(ser.Encoding.Raw, ser.PrivateFormat.Raw, ser.NoEncryption()))
        public = curve.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
        signer = Signer(DOMAIN, "s1", curve)
    record = f"v=DKIM1; k={algorithm}; p={base64.b64encode(public).decode()}"
    return signer, secret, {(f"s1._domainkey.{DOMAIN}", "TXT"): [record]}


def signature(octets: bytes, secret: bytes, algorithm: str, form: bytes, length: bool = False) -> bytes:
    """A DKIM-Signature of dkimpy; with `length` it has l=."""
    field: bytes = dkim.sign(
        octets, b"s1", DOMAIN.encode(), secret,
        canonicalize=(form, form), signature_algorithm=f"{algorithm}-sha256".encode(),
        include_headers=NAMES, length=length, linesep=b"\r\n",
    )  # fmt: skip
    return field


def cpu(work: Callable[[], Callable[[], Any]], least: float = 0.2) -> float:
    """Milliseconds of CPU: the least of several runs; `work` prepares one and gives it."""
    best, spent = float("inf"), 0.0
    gc.disable()
    while spent < least:
        run = work()
        started = time.process_time()
        run()
        taken = time.process_time() - started
        best, spent = min(best, taken), spent + max(taken, 1e-3)
    gc.enable()
    return best * 1e3


def ours(octets: bytes, records: Records, verify: Callable[..., Awaitable[Any]], expected: int) -> float:
    """Ours; `expected` signatures pass."""
    loop = uvloop.new_event_loop()

    def work() -> Callable[[], Any]:
        message = Message(octets)
        message.all("from")  # reads the header
        dkim_key._parsed.cache_clear()
        return lambda: loop.run_until_complete(verify(MapResolver(records), message, NOW, Deadline.after(20)))

    outcome = work()()
    found = outcome if isinstance(outcome, list) else [outcome]
    assert sum(item.result == "pass" for item in found) == expected, outcome
    taken = cpu(work)
    loop.close()
    return taken


def theirs(octets: bytes, records: Records, arc: bool, count: int) -> float:
    """dkimpy's; every one of `count` signatures passes."""

    def txt(name: bytes, timeout: int = 5) -> bytes:
        return records[(name.decode().rstrip("."), "TXT")][0].encode()

    def work() -> Callable[[], Any]:
        if arc:
            chain = dkim.ARC(octets)
            return lambda: chain.verify(dnsfunc=txt)[0] == b"pass"
        signed = dkim.DKIM(octets)
        return lambda: all(signed.verify(idx=number, dnsfunc=txt) for number in range(count))

    assert work()()
    return cpu(work)


def beside(what: str, octets: bytes, records: Records, passes: int, signatures: int = 0) -> None:
    """One row: ours, theirs and ours again, so that what else the machine does meets both; an ARC chain without `signatures`."""
    verify = verify_dkim if signatures else verify_arc
    first = ours(octets, records, verify, passes)
    other = theirs(octets, records, not signatures, signatures)
    row(what, min(first, ours(octets, records, verify, passes)), other)


def row(what: str, mine: float, other: float | None) -> None:
    ratio, beside = (f"{other / mine:.1f}×", f"{other:.2f}") if other is not None else ("–", "–")
    print(f"| {what} | {ratio} | {mine:.3f} | {beside} |", flush=True)


def measure_dkim(large: int) -> None:
    keys = {algorithm: new_signer(algorithm) for algorithm in ("rsa", "ed25519")}
    for size, name in ((10_000, "10 KB"), (large, f"{large / 1e6:g} MB")):
        for kind in ("text", "base64", "blanks"):
            for algorithm, form in (("rsa", b"relaxed"), ("rsa", b"simple"), ("ed25519", b"relaxed")):
                if algorithm == "ed25519" and kind != "text":
                    continue
                _, secret, records = keys[algorithm]
                octets = HEADER + body(kind, size)
                octets = signature(octets, secret, algorithm, form) + octets
                beside(f"{name} {kind}, {algorithm}, {form.decode()}", octets, records, 1, 1)
    _, secret, records = keys["rsa"]
    text = body("text", large)
    octets = signature(HEADER + text, secret, "rsa", b"relaxed") * 20 + HEADER + text
    beside(f"{large / 1e6:g} MB text, 20 signatures (10 verified here)", octets, records, 10, 20)
    octets = HEADER + text
    for number in range(20):
        end = text.index(b"\r\n", large // 2 + 1000 * number) + 2
        form = b"relaxed" if number % 2 else b"simple"
        octets = signature(HEADER + text[:end], secret, "rsa", form, length=True) + octets
    # what is not signed is not accepted here (policy), so none passes; all the same each is verified
    beside(f"{large / 1e6:g} MB text, 20 signatures, each with its own l=, both forms", octets, records, 0, 20)


def measure_arc(large: int) -> None:
    signer, _, records = new_signer("rsa")
    loop = uvloop.new_event_loop()
    for size, name in ((10_000, "10 KB"), (large, f"{large / 1e6:g} MB")):
        octets, sets = HEADER + body("text", size), 0
        for count in (1, 3, 10):
            while sets < count:
                chain = loop.run_until_complete(
                    verify_arc(MapResolver(records), Message(octets), NOW, Deadline.after(20))
                )
                fields = seal(Message(octets), signer, "mx.example.com; dmarc=pass header.from=example.com", chain, NOW)
                octets, sets = loop.run_until_complete(fields) + octets, sets + 1
            beside(f"{name} text, ARC chain of {count}", octets, records, 1)
    chain = loop.run_until_complete(verify_arc(MapResolver(records), Message(octets), NOW, Deadline.after(20)))
    small = HEADER + body("text", 10_000)
    none = loop.run_until_complete(verify_arc(MapResolver(records), Message(small), NOW, Deadline.after(20)))

    def work() -> Callable[[], Any]:
        message = Message(small)
        message.all("from")
        return lambda: loop.run_until_complete(seal(message, signer, "mx.example.com; none", none, NOW))

    row("10 KB text, sealing (two RSA-2048 signatures)", cpu(work), None)
    loop.close()


def measure_spf() -> None:
    loop = uvloop.new_event_loop()
    records: Records = {
        ("example.com", "TXT"): ["v=spf1 mx include:_spf.example.net ip4:198.51.100.0/24 -all"],
        ("example.com", "MX"): ["10 mx.example.com"],
        ("mx.example.com", "A"): ["203.0.113.1"],
        ("_spf.example.net", "TXT"): ["v=spf1 ip4:192.0.2.0/24 ~all"],
    }

    def work() -> Callable[[], Any]:
        check = check_spf(
            MapResolver(records), ip_address("192.0.2.7"), "joe@example.com", "x.example.com", Deadline.after(20)
        )
        return lambda: loop.run_until_complete(check)

    assert work()().result == "pass"
    row("SPF: mx, include, pass (4 questions; pyspf decides)", cpu(work), None)
    loop.close()


def main() -> int:
    """A table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.auth", description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000, help="octets of the larger body (default 1,000,000)")
    large = parser.parse_args().large
    print("| message | ours is faster by | ours, ms CPU | dkimpy, ms CPU |\n|---|---|---|---|")
    measure_dkim(large)
    measure_arc(large)
    measure_spf()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
