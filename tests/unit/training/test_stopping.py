"""Ctrl-C and SIGTERM while processes help: noted, then obeyed; never lost."""

from __future__ import annotations

import signal
import threading

import pytest

from training.extract import _in_chunks
from training.readers import Item
from training.stopping import asked_to_end


def test_noted_then_handed_on() -> None:
    seen = []

    def run() -> None:
        with asked_to_end() as asked:
            assert asked.number is None
            signal.raise_signal(signal.SIGINT)
            seen.append(asked.number)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert seen == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_strikes_at_once() -> None:
    def run() -> None:
        with asked_to_end():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        run()


def test_an_error_on_the_way_out_is_given_up_for_the_end() -> None:
    def run() -> None:
        with asked_to_end():
            signal.raise_signal(signal.SIGINT)
            raise RuntimeError("a helper was ended by the same Ctrl-C")

    with pytest.raises(KeyboardInterrupt):
        run()


def test_an_error_of_its_own_is_the_error() -> None:
    with pytest.raises(RuntimeError), asked_to_end():
        raise RuntimeError


def test_who_has_no_handler_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with asked_to_end():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_noted() -> None:
    numbers: list[int | None] = []

    def run() -> None:
        with asked_to_end() as asked:
            numbers.append(asked.number)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert numbers == [None]


def test_no_new_work_is_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.extract._CHUNK", 1)
    done: list[Item] = []

    def call(items: list[Item]) -> list[Item]:
        done.extend(items)
        if len(done) == 3:
            signal.raise_signal(signal.SIGINT)
        return items

    items = [object() for _ in range(50)]
    with pytest.raises(KeyboardInterrupt):
        list(_in_chunks(call, items, 1, ""))  # type: ignore[arg-type]  # anything may be an item
    assert len(done) == 3
