"""Models are signed with this site's key; what is not, or was changed afterwards, is not loaded, and the text says why."""

from __future__ import annotations

import base64
import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.adapters import model_key
from filterd.adapters.model_key import SIGNATURE, own_key, public_key, sign, signer, trusted, verified
from filterd.config import SEED_MODEL
from filterd.errors import ModelError
from tests.support.sideservice import make_config


def folder_in(tmp_path: Path) -> Path:
    """A folder with a manifest that is not the seed's; its arrays are nobody's business here."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    data = json.loads((SEED_MODEL / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**data, "name": "local-1"}))
    return folder


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    assert public_key(tmp_path) is None
    assert not (tmp_path / "keys").exists(), "looking makes nothing"
    key = own_key(tmp_path)
    assert own_key(tmp_path).public == key.public == public_key(tmp_path)
    private = tmp_path / "keys" / "model.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.parent.stat().st_mode & 0o777 == 0o700
    assert not model_key.readable_by_others(tmp_path)
    private.chmod(0o644)
    assert model_key.readable_by_others(tmp_path)
    assert sorted(path.name for path in private.parent.iterdir()) == ["model.pem", "model.pub"]


def _ask(state_dir: Path, answers: multiprocessing.Queue[str]) -> None:
    answers.put(own_key(state_dir).public)


def test_processes_that_need_a_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # nothing of the child's imports has to be found again
    answers: multiprocessing.Queue[str] = context.Queue()
    asking = [context.Process(target=_ask, args=(tmp_path, answers)) for _ in range(4)]
    for process in asking:
        process.start()
    found = {answers.get(timeout=60) for _ in asking}
    for process in asking:
        process.join(60)
    assert found == {public_key(tmp_path)}


def test_a_key_that_another_process_makes_meanwhile_is_not_taken_for_a_lost_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = Path.exists

    def exists(path: Path) -> bool:
        found = real(path)
        if not made and path == model_key.private_path(tmp_path):
            made.append("soon")
            made.append(own_key(tmp_path).public)
        return found

    monkeypatch.setattr(Path, "exists", exists)
    assert own_key(tmp_path).public == made[1] == public_key(tmp_path)


def test_a_public_key_that_got_lost_or_belongs_to_another_is_written_again(tmp_path: Path) -> None:
    key = own_key(tmp_path)
    for octets in (None, b"nonsense", own_key(tmp_path / "other").public.encode()):
        path = tmp_path / "keys" / "model.pub"
        path.unlink()
        if octets is not None:
            path.write_bytes(octets)
        assert own_key(tmp_path).public == key.public == public_key(tmp_path)


def test_a_private_key_that_got_lost_is_not_replaced_behind_the_administrators_back(tmp_path: Path) -> None:
    before = own_key(tmp_path)
    folder = folder_in(tmp_path)
    sign(folder, before)
    model_key.private_path(tmp_path).unlink()
    with pytest.raises(ModelError, match=r"model\.pem: is gone; restore it; or remove .*model\.pub too"):
        own_key(tmp_path)
    assert verified(folder, [public_key(tmp_path) or ""]), "the model in use stays trusted"
    model_key.public_path(tmp_path).unlink()
    assert own_key(tmp_path).public != before.public, "who removes both wants a new pair"


def test_signed_by_this_site(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    with pytest.raises(ModelError, match="is not signed; look at it, then `filterd models sign"):
        verified(folder, [])
    key = own_key(tmp_path)
    sign(folder, key)
    first = (folder / SIGNATURE).read_bytes()
    sign(folder, key)
    assert (folder / SIGNATURE).read_bytes() == first, "the same model and key give the same octets"
    assert verified(folder, [key.public]).name == "local-1"
    assert signer(folder) == key.public


def test_the_seed_needs_no_signature(tmp_path: Path) -> None:
    assert verified(SEED_MODEL, []).name.startswith("seed-")
    with pytest.raises(ModelError, match="is not signed"):
        verified(folder_in(tmp_path), [])


def test_a_manifest_that_was_changed_afterwards(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    key = own_key(tmp_path)
    sign(folder, key)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("1.911581", "1.911582"))
    with pytest.raises(ModelError, match=r"does not fit manifest\.json; .*restore the folder"):
        verified(folder, [key.public])


def test_a_foreign_signature_counts_only_when_its_key_is_trusted(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    foreign = own_key(tmp_path / "theirs")
    sign(folder, foreign)
    own = own_key(tmp_path / "ours").public
    with pytest.raises(
        ModelError, match=r"neither this site's key nor a trusted one; add it to learning\.trusted_keys"
    ):
        verified(folder, [own])
    config = make_config(tmp_path / "ours", learning={"trusted_keys": [foreign.public]})
    assert trusted(config) == (own, foreign.public)
    assert verified(folder, trusted(config)).name == "local-1"
    # Our name over their signature is no signature of ours.
    data = json.loads((folder / SIGNATURE).read_text())
    (folder / SIGNATURE).write_text(json.dumps({**data, "key": own}))
    with pytest.raises(ModelError, match="does not fit"):
        verified(folder, trusted(config))


def test_a_signature_of_the_bare_manifest_is_none(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    key = own_key(tmp_path)
    bare = key.private.sign((folder / "manifest.json").read_bytes())
    text = json.dumps({"key": key.public, "signature": base64.b64encode(bare).decode()})
    (folder / SIGNATURE).write_text(text)
    with pytest.raises(ModelError, match="does not fit"):
        verified(folder, [key.public])


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 4000, "not JSON"),
        (b"[]", "expected a key of 32 and a signature of 64 octets"),
        (b'{"key": 1, "signature": 2}', "expected a key"),
        (b'{"key": "AAAA", "signature": "AAAA"}', "expected a key"),
        (b" " * 5000, "larger than 4096 octets"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_garbage_in_place_of_a_signature(tmp_path: Path, octets: bytes, said: str) -> None:
    folder = folder_in(tmp_path)
    (folder / SIGNATURE).write_bytes(octets)
    with pytest.raises(ModelError, match=said):
        verified(folder, [])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_octets_in_place_of_a_signature_do_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes
) -> None:
    folder = folder_in(tmp_path_factory.getbasetemp())
    (folder / SIGNATURE).write_bytes(octets)
    with pytest.raises(ModelError):
        verified(folder, [])


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "model.pem"
    path.parent.mkdir()
    path.write_text("nonsense")
    with pytest.raises(ModelError, match=r"model\.pem: not a private key"):
        own_key(tmp_path)
    rsa = generate_private_key(65537, 2048)
    path.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ModelError, match="expected an Ed25519 key"):
        own_key(tmp_path)


def test_a_state_dir_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("filterd.adapters.model_key.os.link", read_only)
    with pytest.raises(ModelError, match="Read-only file system; models cannot be signed without it"):
        own_key(tmp_path)
    assert list((tmp_path / "keys").iterdir()) == [], "nothing half-made is left"


def test_a_state_dir_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(ModelError, match="models cannot be signed without it"):
        own_key(tmp_path)
    assert public_key(tmp_path) is None


def test_an_administrators_own_key_is_taken(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    (tmp_path / "keys").mkdir()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "keys" / "model.pem").write_bytes(pem)
    assert own_key(tmp_path).private.private_bytes_raw() == private.private_bytes_raw()
    assert model_key.pair(tmp_path)
