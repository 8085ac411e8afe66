"""The safelist format is used only after two different addresses agreed on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.adapters.safelist_store import Calibration, State, load, path_of, save, verified, with_address
from filterd.directory.safelist import VARIANTS

KEY = bytes(32)
ONE, OTHER, THIRD = VARIANTS[:3]


def test_nothing_is_verified_before_two_different_addresses(tmp_path: Path) -> None:
    assert verified(tmp_path) is None
    first = with_address(load(tmp_path), KEY, "a@example.net", (ONE, OTHER), 1_000)
    save(tmp_path, first)
    assert load(tmp_path) == first
    assert (first.state, verified(tmp_path)) == (State.BEGUN, None)
    assert with_address(first, KEY, "A@Example.Net", (ONE, OTHER), 2_000) == first
    second = with_address(first, KEY, "b@example.net", (ONE, THIRD), 2_000)
    save(tmp_path, second)
    assert (second.state, second.verified_ms, verified(tmp_path)) == (State.VERIFIED, 2_000, ONE)
    # a third one that agrees changes nothing but that it was seen
    assert with_address(second, KEY, "c@example.net", (ONE,), 3_000).verified_ms == 2_000


def test_two_addresses_that_leave_two_ways_verify_nothing() -> None:
    first = with_address(Calibration(), KEY, "a@example.net", (ONE, OTHER), 1_000)
    second = with_address(first, KEY, "b@example.net", (ONE, OTHER), 2_000)
    assert second.state is State.BEGUN
    assert with_address(second, KEY, "C@example.net", (ONE,), 3_000).state is State.VERIFIED


def test_what_contradicts_switches_off(tmp_path: Path) -> None:
    known = Calibration((ONE,), ("00",), 1_000, 2_000)
    again = with_address(known, KEY, "c@example.net", (OTHER,), 3_000)
    save(tmp_path, again)
    assert (again.state, again.fitting, verified(tmp_path)) == (State.BEGUN, (OTHER,), None)


def test_the_same_address_under_a_new_format_begins_anew() -> None:
    first = with_address(Calibration(), KEY, "a@example.net", (ONE,), 1_000)
    assert with_address(first, KEY, "a@example.net", (OTHER,), 2_000).fitting == (OTHER,)


def test_an_address_that_comes_back_with_another_format_begins_anew_even_after_others() -> None:
    first = with_address(Calibration(), KEY, "a@example.net", (ONE, OTHER), 1_000)
    second = with_address(first, KEY, "b@example.net", (ONE, OTHER), 2_000)
    again = with_address(second, KEY, "a@example.net", (ONE,), 3_000)
    assert (again.state, again.fitting, len(again.seen), again.begun_ms) == (State.BEGUN, (ONE,), 1, 3_000)


def test_when_it_began_and_when_it_was_verified_stays() -> None:
    assert (Calibration().state, Calibration().begun_ms) == (State.NEW, 0)
    known = Calibration()
    for number, address in enumerate(("a@example.net", "b@example.net", "c@example.net"), 1):
        known = with_address(known, KEY, address, (ONE,), number * 1_000)
    assert (known.begun_ms, known.verified_ms, len(known.seen)) == (1_000, 2_000, 3)


def test_the_file_is_for_the_service_only_and_holds_no_address(tmp_path: Path) -> None:
    save(tmp_path, with_address(Calibration(), KEY, "a@example.net", (ONE,), 1_000))
    assert path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    assert "example" not in path_of(tmp_path).read_text()
    assert list(path_of(tmp_path).parent.iterdir()) == [path_of(tmp_path)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "[" * 100_000, '{"version": 1}'),
        '{"version": 1, "fitting": ["x"], "seen": ["00"], "begun_ms": 1, "verified_ms": 2}',
        '{"version": 1, "fitting": [], "seen": ["00"], "begun_ms": 1, "verified_ms": 2}',
        '{"version": 2, "fitting": [], "seen": [], "begun_ms": 0, "verified_ms": 0}',
        '{"version": 1, "fitting": [], "seen": [], "begun_ms": "x", "verified_ms": 0}',
        '{"version": 1, "fitting": [], "seen": [], "begun_ms": 0, "verified_ms": "x"}',
        '{"version": 1, "fitting": {}, "seen": [], "begun_ms": 0, "verified_ms": 0}',
        '{"version": 1, "fitting": [], "seen": "", "begun_ms": 0, "verified_ms": 0}',
        f'{{"version": 1, "fitting": ["{ONE.name}"], "seen": ["00"], "begun_ms": 1, "verified_ms": "x"}}',
        f'{{"version": 2, "fitting": ["{ONE.name}"], "seen": ["00"], "begun_ms": 1, "verified_ms": 2}}',
        f'{{"version": 1, "fitting": ["{ONE.name}", "x"], "seen": ["00"], "begun_ms": 1, "verified_ms": 0}}',
        f'{{"version": 1, "fitting": ["{ONE.name}"], "seen": [], "begun_ms": 1, "verified_ms": 0}}',
        '{"version": 1, "fitting": [], "seen": ["00"], "begun_ms": 1, "verified_ms": 0}',
        f'{{"version": 1, "fitting": ["{ONE.name}", "{OTHER.name}"], "seen": ["00"], "begun_ms": 1, "verified_ms": 2}}',
    ],
)
def test_a_damaged_file_switches_off_and_says_so(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_text(text)
    assert (load(tmp_path), verified(tmp_path)) == (Calibration(), None)
    first = caplog.records[0]
    assert (first.message, first.__dict__["file"]) == ("safelist calibration unusable", str(path_of(tmp_path)))
    assert "`filterd directory calibrate` again" in first.__dict__["remedy"]
    assert first.__dict__["error"]


def test_what_is_no_file_switches_off_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path_of(tmp_path).mkdir(parents=True)
    assert load(tmp_path) == Calibration()
    assert [record.message for record in caplog.records] == ["safelist calibration unusable"]


def test_it_is_durable_before_it_counts_and_leaves_nothing_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, known = tmp_path / "not" / "there", with_address(Calibration(), KEY, "a@example.net", (ONE,), 1_000)
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        assert os.fstat(descriptor).st_size > 50, "all of it, not what is left of a buffer"
        steps.append("fsync")
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    save(state, known)
    assert steps == ["fsync", "replace"]
    assert path_of(state).parent.stat().st_mode & 0o777 == 0o700

    def fails(source: Path, target: Path) -> None:
        raise OSError("disk I/O error")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk I/O error"):
        save(state, Calibration())
    assert load(state) == known
    assert list(path_of(state).parent.iterdir()) == [path_of(state)]


@given(st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from(VARIANTS[:4]), min_size=1)), max_size=8))
def test_verified_is_only_what_two_addresses_fit(runs: list[tuple[int, set[object]]]) -> None:
    known = Calibration()
    for number, fitting in runs:
        known = with_address(known, KEY, f"u{number}@example.net", tuple(v for v in VARIANTS if v in fitting), 1)
    if known.state is State.VERIFIED:
        assert len(known.fitting) == 1
        addresses = {number for number, fitting in runs if known.fitting[0] in fitting}
        assert len(addresses) >= 2
