"""Owns models on their way to another site: one tar file with the folder's files, its signature and the public key.

The same model gives the same octets.  Reading takes exactly what writing makes: POSIX ustar (IEEE Std 1003.1, pax, "ustar
Interchange Format"), plain files, fixed names, bounded sizes; nothing else in a tar file is understood.  A model that came in so
is a candidate: the gate of this site has not judged it.  Must not know how models are switched.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import tarfile
import time
from pathlib import Path

from filterd import modelstore
from filterd.adapters import model_key
from filterd.classifier.features import BUCKETS
from filterd.classifier.manifest import INFORMATION, LOCAL, MANIFEST, MAX_MANIFEST, WEIGHTS, manifest_octets
from filterd.config import Config
from filterd.errors import ModelError, PermanentError
from filterd.storage import models
from filterd.storage.database import Database, fsync_directory
from filterd.storage.models import ModelRow, ModelState

PUBLIC_KEY = "model.pub"  # for the eyes of who imports: it must be in learning.trusted_keys already
# Octets of each file at most; in this order they are written.
BOUNDS = {
    MANIFEST: MAX_MANIFEST,
    model_key.SIGNATURE: model_key.MAX_FILE,
    PUBLIC_KEY: model_key.MAX_FILE,
    WEIGHTS: 4 * BUCKETS,
    INFORMATION: 4 * BUCKETS,
    LOCAL: BUCKETS,
}
_BLOCK = 512
MAX_BUNDLE = sum(bound + 2 * _BLOCK for bound in BOUNDS.values()) + 20 * _BLOCK  # tarfile fills up to 20 blocks
_IMPORTING = ".import-"
_FORGOTTEN_SECONDS = 3_600.0  # an import takes a second; what is older was killed


def write_bundle(config: Config, name: str, file: Path) -> str:
    """Write a model that can be used here into a new tar file; the public key it is signed by.

    Raises PermanentError ("name: …", "file: …"), ModelError, OSError.
    """
    octets = bundle(config, name)
    fresh = file.with_name(f".{file.name}-{secrets.token_hex(6)}")
    try:
        with fresh.open("xb") as handle:
            handle.write(octets)
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(fresh, file)  # whole, or not at all; never in place of another's
        except FileExistsError:
            raise
        except OSError:  # a stick with FAT has no links
            with file.open("xb"):
                os.replace(fresh, file)
    except FileExistsError:
        raise PermanentError(f"file: {file} is already there") from None
    finally:
        fresh.unlink(missing_ok=True)
    return model_key.signer(modelstore.folder_of(config, name)) or ""


def bundle(config: Config, name: str) -> bytes:
    """The octets of that tar file."""
    if name == modelstore.SEED:
        raise PermanentError("name: the seed comes with every installation")
    folder = modelstore.folder_of(config, name)
    if not (folder / MANIFEST).is_file():
        raise PermanentError(f"name: there is no model {name}")
    loaded = modelstore.load(config, folder)
    contents = {key: (folder / key).read_bytes() for key in BOUNDS if key in loaded.manifest.files}
    contents[MANIFEST] = manifest_octets(folder)
    contents[model_key.SIGNATURE] = (folder / model_key.SIGNATURE).read_bytes()
    contents[PUBLIC_KEY] = f"{model_key.signer(folder)}\n".encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key in BOUNDS:
            if key in contents:
                entry = tarfile.TarInfo(key)
                entry.size, entry.mode = len(contents[key]), 0o644
                tar.addfile(entry, io.BytesIO(contents[key]))
    return out.getvalue()


def read_bundle(octets: bytes) -> dict[str, bytes]:
    """The files in such a tar file.  Raises ModelError on everything that write_bundle does not make."""
    found: dict[str, bytes] = {}
    at = 0
    while at + _BLOCK <= len(octets) and any(octets[at : at + _BLOCK]):
        name, size = _header(octets[at : at + _BLOCK])
        at += _BLOCK
        if name in found:
            raise ModelError(f"the tar file has {name} twice")
        if at + size > len(octets):
            raise ModelError(f"the tar file ends within {name}")
        found[name] = octets[at : at + size]
        at += -(-size // _BLOCK) * _BLOCK
    if not found:
        raise ModelError("expected a tar file that `filterd models export` made")
    for name in (MANIFEST, model_key.SIGNATURE):
        if name not in found:
            raise ModelError(f"the tar file has no {name}: expected one that `filterd models export` made")
    return found


def import_bundle(config: Config, db: Database, octets: bytes, actor: str, name: str | None = None) -> ModelRow:
    """Install a model of another site as a candidate, after its signature and all digests were verified.

    Args:
        name: of its folder here; default: the name in its manifest.

    Raises ModelError when it is none, or signed by nobody we trust; PermanentError "name: …" when there is one of that name.
    """
    if len(octets) > MAX_BUNDLE:
        raise ModelError(f"larger than {MAX_BUNDLE} octets: no model")
    contents = read_bundle(octets)
    contents.pop(PUBLIC_KEY, None)
    base = config.state_dir / "models"
    try:
        base.mkdir(parents=True, exist_ok=True)
        _forget(base)
        fresh = base / f"{_IMPORTING}{secrets.token_hex(6)}"
        fresh.mkdir(mode=0o755)
        try:
            for key, data in contents.items():
                with (fresh / key).open("xb") as handle:
                    handle.write(data)
                    handle.flush()
                    os.fsync(handle.fileno())
            fsync_directory(fresh)
            loaded = _verified(config, fresh)
            name = name or loaded
            _put(db, fresh, modelstore.folder_of(config, name), name)
            fsync_directory(base)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"{base}: the model cannot be stored: {error.strerror or error}") from error
    parent = modelstore.active_name(db)
    key = model_key.signer(modelstore.folder_of(config, name)) or ""
    detail = {"signed_by": key}
    return models.register(db, name, loaded, parent, 0, actor, ModelState.CANDIDATE, {}, kind="imported", detail=detail)


def _verified(config: Config, folder: Path) -> str:
    try:
        return modelstore.load(config, folder).name
    except ModelError as error:
        raise ModelError(str(error).replace(f"{folder}/", "").replace(str(folder), "the model")) from None


def _put(db: Database, fresh: Path, folder: Path, name: str) -> None:
    """The folder appears whole.  One that an import left there before it was killed, and that is the same, is taken."""
    if name == modelstore.SEED or models.get(db, name) is not None:
        raise PermanentError(f"name: there is already a model {name}; choose another name")
    try:
        os.rename(fresh, folder)
    except OSError:
        if not folder.exists():
            raise
        if not (folder / MANIFEST).is_file() or manifest_octets(folder) != manifest_octets(fresh):
            raise PermanentError(f"name: there is already a folder {name}; choose another name") from None


def _forget(base: Path) -> None:
    for path in base.glob(f"{_IMPORTING}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _FORGOTTEN_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _header(block: bytes) -> tuple[str, int]:
    """(name, octets) of one plain file.  Raises ModelError."""
    if block[257:263] != b"ustar\0":
        raise ModelError("expected a tar file that `filterd models export` made")
    name = block[:100].rstrip(b"\0").decode("ascii", "replace")
    if block[156:157] != b"0" or any(block[345:500]) or name not in BOUNDS:
        raise ModelError(f"the tar file holds something else: {name[:80]!r}")
    if _octal(block[148:156]) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise ModelError(f"the tar file is damaged at {name}")
    size = _octal(block[124:136])
    if size is None or size > BOUNDS[name]:
        raise ModelError(f"the tar file: {name} is larger than {BOUNDS[name]} octets")
    return name, size


def _octal(field: bytes) -> int | None:
    digits = field.rstrip(b"\0 ")
    return int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else None
