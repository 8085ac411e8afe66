"""A report mail is opened in a process of its own: what it says comes back whole, and whatever ends it costs one try."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.adapters.unpacker import ReportUnpacker, read_answer
from filterd.errors import TemporaryError
from filterd.reportmail.unpack import unpack
from tests.support.reportmail import FORMS, forwarded_msg, report_mail, spam


def test_the_process_says_what_the_reader_finds() -> None:
    octets = report_mail(
        *(form(spam(n)) for n, form in enumerate(FORMS.values())),
        forwarded_msg(spam(99)),
        ("application/octet-stream", "broken.msg", b"nothing"),
    )
    assert ReportUnpacker().unpack(octets) == unpack(octets)


def test_nothing_in_nothing() -> None:
    assert ReportUnpacker().unpack(b"").messages == []


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules the process finds."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended the process"),
        ("raise MemoryError", "ended the process"),
        ("print('hello')", "an answer that is none"),
        ("print('{}')", "an answer that is none"),
        ("print('[]')", "an answer that is none"),
        ("", "an answer that is none"),
        ("import time; time.sleep(60)", "too long"),
        ("import os, time; os.close(1); time.sleep(60)", "too long"),
        ("import sys\nwhile True: sys.stdout.write('x' * 1000000)", "more than there can be"),
    ],
)
def test_a_process_that_fails_is_an_error_that_passes(bad: Path, program: str, said: str) -> None:
    (bad / "badchild.py").write_text(program)
    started = time.monotonic()
    seconds = 1.0 if "sleep" in program else 20.0
    with pytest.raises(TemporaryError, match=said):
        ReportUnpacker(seconds=seconds, module="badchild").unpack(report_mail())
    assert time.monotonic() - started < 20


def test_memory_is_bounded() -> None:
    octets = report_mail(FORMS["eml"](spam(1, text="x" * 4_000_000)))
    with pytest.raises(TemporaryError, match="ended the process"):
        ReportUnpacker(memory_bytes=20_000_000).unpack(octets)
    assert ReportUnpacker().unpack(octets).messages


@given(st.binary(max_size=200))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    try:
        found = read_answer(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    assert sum(len(item.octets) for item in found.messages) <= len(data)


def test_octets_that_were_not_announced_are_no_answer() -> None:
    message = {"form": "eml", "message_id": "", "our_id": "", "subject": "", "size": 5, "inner": []}
    line = json.dumps({"messages": [message], "problems": [], "left_out": 0}).encode() + b"\n"
    assert read_answer(line + b"hello").messages[0].octets == b"hello"
    for rest in (b"hell", b"hello!"):
        with pytest.raises(ValueError, match=r"a message that is none|more octets"):
            read_answer(line + rest)
