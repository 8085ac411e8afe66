"""Models go to another site whole and signed; nothing else that comes in a tar file gets in."""

from __future__ import annotations

import errno
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd import modelstore, modelswitch
from filterd.adapters import model_key
from filterd.config import Config
from filterd.errors import ModelError, PermanentError
from filterd.modelbundle import MAX_BUNDLE, bundle, import_bundle, read_bundle, write_bundle
from filterd.storage import models
from filterd.storage.database import Database
from filterd.storage.models import ModelState
from tests.support.growth import assert_growth
from tests.support.models import installed, killed, make_model
from tests.support.sideservice import make_config
from tests.support.storage import make_database


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Config, Database]:
    return make_config(tmp_path / "theirs"), make_database(tmp_path / "theirs")


def ours(tmp_path: Path, *keys: str) -> tuple[Config, Database]:
    return make_config(tmp_path / "ours", learning={"trusted_keys": list(keys)}), make_database(tmp_path / "ours")


def make_tar(*members: tuple[str, bytes], format: int = tarfile.USTAR_FORMAT, type: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data), type
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_from_one_site_to_another(tmp_path: Path, theirs: tuple[Config, Database]) -> None:
    row = installed(*theirs, "candidate-1")
    file = tmp_path / "model.tar"
    key = write_bundle(theirs[0], "candidate-1", file)
    assert key == model_key.public_key(theirs[0].state_dir)
    octets = file.read_bytes()
    assert octets == bundle(theirs[0], "candidate-1"), "the same model gives the same octets"
    with tarfile.open(fileobj=io.BytesIO(octets)) as tar:
        names = [member.name for member in tar]
    assert names == ["manifest.json", "manifest.sig", "model.pub", "weights.f32", "information.f32"]
    config, db = ours(tmp_path, key)
    found = import_bundle(config, db, octets, "anna")
    assert (found.name, found.model, found.state, found.position) == (row.model, row.model, ModelState.CANDIDATE, 0)
    assert models.events(db)[0].detail["signed_by"] == key
    for name in ("manifest.json", "manifest.sig", "weights.f32", "information.f32"):
        copy = config.state_dir / "models" / found.name / name
        assert copy.read_bytes() == (theirs[0].state_dir / "models" / "candidate-1" / name).read_bytes()
    with pytest.raises(PermanentError, match="has not judged it"):
        modelswitch.promote(config, db, found.name, "anna")
    modelswitch.promote(config, db, found.name, "anna", force=True, reason="from the next town")
    # Who no longer trusts the key no longer loads the model.
    with pytest.raises(ModelError, match="neither this site's key nor a trusted one"):
        modelstore.load(ours(tmp_path)[0], modelstore.active_model(config, db))


def test_a_name_that_is_taken(tmp_path: Path, theirs: tuple[Config, Database]) -> None:
    config, db = theirs
    installed(config, db, "candidate-1")
    octets = bundle(config, "candidate-1")
    first = import_bundle(config, db, octets, "anna")
    for name in (None, first.name, "candidate-1", "seed"):
        with pytest.raises(PermanentError, match="name: there is already"):
            import_bundle(config, db, octets, "anna", name)
    make_model(config.state_dir / "models" / "by-hand", 9)
    with pytest.raises(PermanentError, match="name: there is already a folder by-hand"):
        import_bundle(config, db, octets, "anna", "by-hand")
    with pytest.raises(PermanentError, match="name: expected"):
        import_bundle(config, db, octets, "anna", "../x")
    assert import_bundle(config, db, octets, "anna", "b").name == "b"
    left = {path.name for path in (config.state_dir / "models").iterdir()}
    assert left == {"candidate-1", first.name, "by-hand", "b"}, "nothing half-made is left"


def test_a_disk_without_hard_links_takes_an_export_too(
    tmp_path: Path, theirs: tuple[Config, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # as on a FAT stick

    installed(*theirs, "candidate-1")
    monkeypatch.setattr("filterd.modelbundle.os.link", no_links)
    file = tmp_path / "m.tar"
    write_bundle(theirs[0], "candidate-1", file)
    assert file.read_bytes() == bundle(theirs[0], "candidate-1")
    assert [path.name for path in tmp_path.glob(".m.tar*")] == []
    file.write_bytes(b"precious")
    with pytest.raises(PermanentError, match="already there"):
        write_bundle(theirs[0], "candidate-1", file)
    assert file.read_bytes() == b"precious"


def test_what_cannot_be_exported(tmp_path: Path, theirs: tuple[Config, Database]) -> None:
    config, db = theirs
    with pytest.raises(PermanentError, match="the seed comes with every installation"):
        bundle(config, "seed")
    with pytest.raises(PermanentError, match="there is no model x"):
        bundle(config, "x")
    make_model(config.state_dir / "models" / "by-hand")
    with pytest.raises(ModelError, match="is not signed"):
        bundle(config, "by-hand")
    installed(config, db, "a", 2)
    file = tmp_path / "model.tar"
    file.write_bytes(b"mine")
    with pytest.raises(PermanentError, match="is already there"):
        write_bundle(config, "a", file)
    assert file.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


Spoil = Callable[[bytes], bytes]


def turned(at: int) -> Spoil:
    return lambda octets: octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda octets: octets[:-4_500_000], "the tar file ends within"),
        (lambda octets: octets[:3000], "the tar file ends within manifest.json|has no manifest.sig"),
        (lambda octets: b"", "expected a tar file that"),
        (lambda octets: bytes(10_240), "expected a tar file that"),
        (lambda octets: octets + octets, "the signature"),
        (turned(0), "the tar file holds something else"),
        (turned(130), "the tar file"),
        (turned(600), "the signature does not fit"),
        (turned(1_000_000), "SHA-256 differs"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, theirs: tuple[Config, Database], spoil: Spoil, said: str) -> None:
    installed(*theirs, "candidate-1")
    config, db = ours(tmp_path, model_key.own_key(theirs[0].state_dir).public)
    octets = spoil(bundle(theirs[0], "candidate-1"))
    if said == "the signature":  # what stands behind the end of the archive is not looked at
        assert import_bundle(config, db, octets[: MAX_BUNDLE - 1], "anna").state is ModelState.CANDIDATE
        return
    with pytest.raises(ModelError, match=said):
        import_bundle(config, db, octets, "anna")
    assert models.list_models(db) == ()
    assert list((config.state_dir / "models").glob("*")) == []


GOOD = (("manifest.json", b"{}"), ("manifest.sig", b"{}"))


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (make_tar(*GOOD, ("../../etc/passwd", b"x")), "something else"),
        (make_tar(*GOOD, ("/weights.f32", b"x")), "something else"),
        (make_tar(*GOOD, ("./weights.f32", b"x")), "something else"),
        (make_tar(*GOOD, ("run.py", b"x")), "something else"),
        (make_tar(*GOOD, ("weights.f32", b""), type=tarfile.SYMTYPE), "something else"),
        (make_tar(*GOOD, ("weights.f32", b""), type=tarfile.LNKTYPE), "something else"),
        (make_tar(*GOOD, ("weights.f32", b""), type=tarfile.DIRTYPE), "something else"),
        (make_tar(*GOOD, ("weights.f32", b""), type=tarfile.FIFOTYPE), "something else"),
        (make_tar(*GOOD, *GOOD), "manifest.json twice"),
        (make_tar(GOOD[0]), "no manifest.sig"),
        (make_tar(("manifest.json", bytes(300_000))), "larger than 262144"),
        (make_tar(("x" * 200, b"x"), format=tarfile.PAX_FORMAT), "something else"),
        (make_tar(*GOOD, format=tarfile.GNU_FORMAT), "expected a tar file that"),
        (b"PK\x03\x04" + bytes(2000), "expected a tar file that"),
    ],
)
def test_only_what_export_writes_is_read(octets: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_bundle(octets)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_octets_do_more_than_be_refused(data: st.DataObject) -> None:
    octets = bytearray(make_tar(*GOOD))
    for _ in range(data.draw(st.integers(0, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets += data.draw(st.binary(max_size=600))
    try:
        found = read_bundle(bytes(octets))
    except ModelError:
        return
    assert set(found) <= {"manifest.json", "manifest.sig", "model.pub", "weights.f32", "information.f32", "local.u8"}


def test_reading_takes_time_in_proportion() -> None:
    def reading(size: int) -> Callable[[], object]:
        octets = make_tar(*GOOD, ("weights.f32", bytes(size)))
        return lambda: read_bundle(octets)

    assert_growth(reading, 1_000_000, 4_000_000, 8)


def test_too_large_to_be_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        import_bundle(*ours(tmp_path), bytes(MAX_BUNDLE + 1), "anna")


@pytest.mark.parametrize(
    "step",
    [
        "filterd.storage.database.fsync_directory",
        "filterd.modelbundle._verified",
        "filterd.modelbundle._put",
        "filterd.modelbundle._put!",
        "filterd.storage.models.register_in",
        "filterd.storage.models.register_in!",
    ],
)
def test_killed_while_importing_it_can_be_done_again(
    tmp_path: Path, theirs: tuple[Config, Database], step: str
) -> None:
    installed(*theirs, "candidate-1")
    octets = bundle(theirs[0], "candidate-1")
    config, _ = ours(tmp_path, model_key.own_key(theirs[0].state_dir).public)
    killed(step, lambda: import_bundle(config, ours(tmp_path)[1], octets, "anna", "a"))
    _, db = ours(tmp_path)
    assert models.list_models(db) == ()
    assert import_bundle(config, db, octets, "anna", "a").name == "a"
    modelswitch.promote(config, db, "a", "anna", force=True, reason="x")
