"""Owns the key that this site signs its models with (Ed25519, RFC 8032), and the proof that a model is signed by one we trust.

What is signed is manifest.json, which names the size and SHA-256 of every other file of the folder.  The private key stays with
whoever trains and promotes; workers read the public one beside it.  Must not know which model is in use, nor how one is made.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from filterd.classifier.manifest import MANIFEST, Manifest, manifest_octets, parse_manifest
from filterd.classifier.trusted import is_seed
from filterd.config import Config
from filterd.errors import ModelError
from filterd.storage.database import fsync_directory

SIGNATURE = "manifest.sig"
PURPOSE = b"filterd model manifest 1\n"  # stands before what is signed: a signature of ours is good for nothing else
MAX_FILE = 4_096  # octets of a key or a signature file; ours have 120 to 200
_FOLDER, _PRIVATE, _PUBLIC = "keys", "model.pem", "model.pub"
_KEY_OCTETS, _SIGNATURE_OCTETS = 32, 64  # RFC 8032 5.1.5, 5.1.6
_OTHERS = 0o077  # what a private key file must not allow anybody but its owner


@dataclass(frozen=True, slots=True)
class ModelKey:
    """This site's private key."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        """The public key: 32 octets in base64, as in [learning] trusted_keys."""
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()


def private_path(state_dir: Path) -> Path:
    """The private key file."""
    return state_dir / _FOLDER / _PRIVATE


def public_path(state_dir: Path) -> Path:
    """The public key file beside it."""
    return state_dir / _FOLDER / _PUBLIC


def own_key(state_dir: Path) -> ModelKey:
    """This site's key; made when there is none yet, the same one for all who ask at once.

    Raises ModelError when it cannot be read or made, or is gone although the public one is there: another pair would make every
    model that was signed so far a stranger, the one in use too.
    """
    path = private_path(state_dir)
    try:
        known = public_key(state_dir)  # asked first: it is written after the private one
        if not path.exists():
            if known is not None:
                remedy = (
                    f"restore it; or remove {public_path(state_dir)} too, for a new pair, and sign your models again"
                )
                raise ModelError(f"{path}: is gone; {remedy}")
            _make(path)
        key = ModelKey(_read_private(path))
        if public_key(state_dir) != key.public:
            _write(public_path(state_dir), key.public.encode() + b"\n", 0o644)
    except OSError as error:
        remedy = "models cannot be signed without it: the user of the service must be able to read and write there"
        raise ModelError(f"{path}: {error.strerror or error}; {remedy}") from error
    return key


def public_key(state_dir: Path) -> str | None:
    """This site's public key as far as it was written down; None where no model was ever signed.  Makes nothing."""
    try:
        text = _bounded(public_path(state_dir)).decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if _decoded(text, _KEY_OCTETS) is not None else None


def pair(state_dir: Path) -> bool:
    """Whether the two key files belong together, or only the private one is not here.  Makes nothing.  Raises ModelError."""
    path = private_path(state_dir)
    try:
        return ModelKey(_read_private(path)).public == public_key(state_dir)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def readable_by_others(state_dir: Path) -> bool:
    """Whether the private key's file allows more than its owner: whoever reads it can sign models for this site."""
    try:
        return bool(private_path(state_dir).stat().st_mode & _OTHERS)
    except OSError:
        return False


def trusted(config: Config) -> tuple[str, ...]:
    """The public keys whose models are loaded: our own, and those of other sites that the configuration names."""
    own = public_key(config.state_dir)
    return tuple(dict.fromkeys((*((own,) if own else ()), *config.learning.trusted_keys)))


def sign(folder: Path, key: ModelKey) -> None:
    """Write the signature of the folder's manifest, durably and whole.  Raises ModelError, OSError."""
    signature = key.private.sign(PURPOSE + manifest_octets(folder))
    text = json.dumps({"key": key.public, "signature": base64.b64encode(signature).decode()}) + "\n"
    _write(folder / SIGNATURE, text.encode(), 0o644)


def verified(folder: Path, keys: Iterable[str]) -> Manifest:
    """The manifest of a folder, after its signature by one of `keys` was verified, or that it is the shipped seed's.

    Its files are not looked at yet: give it to Model.load.  Raises ModelError that says what is wrong and what to do.
    """
    octets = manifest_octets(folder)
    if not is_seed(octets):
        _verify(folder, octets, tuple(keys))
    return parse_manifest(octets, folder / MANIFEST)


def signer(folder: Path) -> str | None:
    """The public key that a folder says it is signed by, whether or not that is true; None when it says none."""
    try:
        return _signature(folder / SIGNATURE)[0]
    except ModelError:
        return None


def _verify(folder: Path, octets: bytes, keys: tuple[str, ...]) -> None:
    path = folder / SIGNATURE
    key, signature = _signature(path)
    if key not in keys:
        remedy = "add it to learning.trusted_keys if you trust it, or sign the model with `filterd models sign`"
        raise ModelError(f"{path}: signed by {key}, which is neither this site's key nor a trusted one; {remedy}")
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
    try:
        public.verify(signature, PURPOSE + octets)
    except InvalidSignature:
        remedy = "the manifest was changed after it was signed: restore the folder from a backup, or train again"
        raise ModelError(f"{path}: the signature does not fit {MANIFEST}; {remedy}") from None


def _signature(path: Path) -> tuple[str, bytes]:
    """(public key in base64, signature).  Raises ModelError."""
    try:
        found = json.loads(_bounded(path))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent}: is not signed; look at it, then `filterd models sign {path.parent}`"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: not JSON") from None
    key = found.get("key") if isinstance(found, dict) else None
    signature = _decoded(found.get("signature"), _SIGNATURE_OCTETS) if isinstance(found, dict) else None
    if not isinstance(key, str) or _decoded(key, _KEY_OCTETS) is None or signature is None:
        raise ModelError(f"{path}: expected a key of {_KEY_OCTETS} and a signature of {_SIGNATURE_OCTETS} octets")
    return key, signature


def _decoded(value: object, octets: int) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == octets else None


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_bounded(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ModelError(f"{path}: not a private key in PEM form without password: {str(error)[:200]}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelError(f"{path}: expected an Ed25519 key; remove it and {_PUBLIC}, and a new pair is made")
    return key


def _make(path: Path) -> None:
    """A new key, unless another process made one meanwhile: then that one is the key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = _temporary(path, pem, 0o600)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # whole, or not at all; never in place of another's
        fsync_directory(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _write(path: Path, octets: bytes, mode: int) -> None:
    """Replace a file: readers see the old octets or the new ones.  Raises OSError."""
    fresh = _temporary(path, octets, mode)
    try:
        os.replace(fresh, path)
        fsync_directory(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _temporary(path: Path, octets: bytes, mode: int) -> Path:
    fresh = path.parent / f".{path.name}-{secrets.token_hex(6)}"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        octets = file.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE:
        raise ModelError(f"{path}: larger than {MAX_FILE} octets")
    return octets
