"""`filterd exchange dkim DOMAIN`: makes a key for mail of one domain, and says what to publish and what to configure.  RFC 6376 3.6.

Owns where the key is put and what is printed.  Must not know how mail is signed.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from filterd.auth.dkim_key import key_record
from filterd.auth.names import ascii_domain
from filterd.commands.options import add_json, print_json
from filterd.errors import ConfigError

RSA_BITS = 2048  # RFC 8301 3.2: at least that; 4096 does not fit into what many name servers' forms take
_STRING = 255  # octets of one string of a TXT record (RFC 1035 3.3.14)
_EXPONENT = 65_537


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    action = group.add_parser("dkim", help="make a DKIM key for outbound mail of a domain; print its TXT record")
    action.add_argument("domain", metavar="DOMAIN", help="author domain, such as example.org")
    action.add_argument("--selector", default="", help="name of the key below _domainkey (filterd, or filterd-ed25519)")
    action.add_argument("--ed25519", action="store_true", help="an Ed25519 key, best beside an RSA one")
    action.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder that the key is put into")
    add_json(action)
    action.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the key; nothing is published and nothing configured by itself.  Raises ConfigError."""
    domain = ascii_domain(options.domain)
    if not domain or "." not in domain:
        raise ConfigError([f"DOMAIN: expected a domain name such as example.org, found {options.domain[:100]!r}"])
    selector = ascii_domain(options.selector or ("filterd-ed25519" if options.ed25519 else "filterd"))
    if not selector:
        raise ConfigError([f"--selector: expected a name such as filterd, found {options.selector[:100]!r}"])
    key = Ed25519PrivateKey.generate() if options.ed25519 else generate_private_key(_EXPONENT, RSA_BITS)
    path = (options.output / f"{domain}.{selector}.pem").absolute()
    _write(path, key)
    name, record = f"{selector}._domainkey.{domain}", key_record(key.public_key())
    if options.json:
        print_json({"key_file": str(path), "name": name, "record": record, "domain": domain, "selector": selector})
        return 0
    print(f"Private key, which only you can read: {path}")
    print("Let the user that runs filterd own it.\n")
    print("1. Publish this record:\n")
    print(zone_line(name, record))
    print("\n2. When it can be asked for, add this to the configuration and load it again:\n")
    quoted = json.dumps(str(path), ensure_ascii=False)  # what a TOML basic string is, too: folders may have any name
    print(f'[[outbound.dkim]]\ndomain = "{domain}"\nselector = "{selector}"\nkey_file = {quoted}')
    print("\n`filterd doctor` compares the published record with the key.")
    return 0


def zone_line(name: str, record: str) -> str:
    """The record as it stands in a zone file, in strings that are short enough."""
    strings = [f'"{record[at : at + _STRING]}"' for at in range(0, len(record), _STRING)]
    return f"{name}. IN TXT ( " + "\n    ".join(strings) + " )"


def _write(path: Path, key: RSAPrivateKey | Ed25519PrivateKey) -> None:
    """A new file that only its owner can read; a key that is there is never replaced: mail may be signed with it."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        remedy = "take another --selector for a new key, publish it, and remove the old one later"
        raise ConfigError([f"--output: {path} is there already; {remedy}"]) from None
    except OSError as error:
        remedy = "name a folder that you may write to"
        raise ConfigError([f"--output: {path} cannot be made: {error.strerror}; {remedy}"]) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key: it would be in the way of the next try
        raise ConfigError(
            [f"--output: {path} cannot be written: {error.strerror}; make room, or name another folder"]
        ) from None
