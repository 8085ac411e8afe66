"""The processes that look inside attachments: reused, replaced, killed, and never more trouble than a finding."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd import metrics
from filterd.adapters import inspector as adapter
from filterd.adapters.inspector import ChildInspector
from filterd.adapters.inspector_child import READY
from filterd.adapters.inspector_process import BrokenError, Child
from filterd.config import AttachmentsConfig
from filterd.content.attachments.finding import Finding, Kind
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import Message
from tests.support.archives import PROGRAM, TEXT, zip_of
from tests.support.attached import attached, parts_of

CHECKOUT = Path(__file__).resolve().parents[3]
ARCHIVE = zip_of(("a.exe", PROGRAM))
SEEN = Finding(Kind.EXECUTABLE, "seen", "")


@pytest.fixture(autouse=True)
def _children_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


@pytest.fixture
def inspector() -> Iterator[ChildInspector]:
    made = ChildInspector(AttachmentsConfig())
    yield made
    made.close()


@pytest.fixture
def bad() -> Iterator[ChildInspector]:
    made = ChildInspector(AttachmentsConfig(seconds=8.0), module="tests.support.badchild")
    yield made
    made.close()


def look(
    inspector: ChildInspector, *names: str, seconds: float = 20, octets: bytes = ARCHIVE
) -> list[tuple[int, Finding]]:
    message = attached(*((name, octets) for name in names))
    return asyncio.run(inspector.inspect(message, parts_of(message), (), Deadline.after(seconds)))


def warm(inspector: ChildInspector, processes: int) -> None:
    """Processes that wait: what a test gives a few seconds to shall not be their start."""
    message = attached(("fine", ARCHIVE))

    async def together() -> None:
        looks = (inspector.inspect(message, parts_of(message), (), Deadline.after(20)) for _ in range(processes))
        await asyncio.gather(*looks)

    asyncio.run(together())


def wait_for_end(pid: int) -> None:
    """Until that process is gone; it may be gone already."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 20)[0], f"process {pid} still runs"
    finally:
        os.close(handle)


def events(event: str) -> float:
    return metrics.ATTACHMENT_PROCESSES.labels(event)._value.get()  # type: ignore[no-any-return]  # prometheus_client has no reader


def test_one_process_serves_many_messages(inspector: ChildInspector) -> None:
    assert inspector.pids == []  # nothing starts before it is needed
    look(inspector, "a.zip")
    first = inspector.pids
    assert len(first) == 1
    assert [item.kind for _, item in look(inspector, "b.zip")] == [Kind.EXECUTABLE, Kind.EXECUTABLE]
    assert inspector.pids == first


def test_no_descriptor_is_left_open(bad: ChildInspector) -> None:
    """Neither for a message, nor for a process that was replaced."""

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    look(bad, "first")
    before = count()
    for name in ("second", "dies", "lies", "third"):
        look(bad, name)
    assert count() == before


def test_a_message_without_attachments_starts_none(inspector: ChildInspector) -> None:
    assert look(inspector) == []
    assert inspector.pids == []


def test_it_is_replaced_after_its_jobs() -> None:
    inspector = ChildInspector(AttachmentsConfig(jobs=2))
    look(inspector, "a.zip")
    (first,) = inspector.pids
    look(inspector, "a.zip")
    assert inspector.pids == []
    wait_for_end(first)
    look(inspector, "a.zip")
    assert inspector.pids != [first]
    inspector.close()


def test_closing_ends_it_and_later_jobs_leave_none_behind(inspector: ChildInspector) -> None:
    look(inspector, "a.zip")
    (pid,) = inspector.pids
    inspector.close()
    wait_for_end(pid)
    assert len(look(inspector, "a.zip")) == 2
    assert inspector.pids == []


def test_an_inspector_that_nobody_needs_any_more_takes_its_process_along() -> None:
    inspector = ChildInspector(AttachmentsConfig())
    look(inspector, "a.zip")
    (pid,) = inspector.pids
    del inspector
    wait_for_end(pid)


def test_a_process_that_was_killed_while_idle_is_replaced_without_a_trace_in_the_mail(
    inspector: ChildInspector,
) -> None:
    look(inspector, "a.zip")
    (pid,) = inspector.pids
    os.kill(pid, 9)
    found = look(inspector, "a.zip")
    assert {item.kind for _, item in found} == {Kind.EXECUTABLE}
    assert inspector.pids != [pid]


def test_an_attachment_that_ends_its_process_twice_is_unreadable_and_those_after_it_are_seen(
    bad: ChildInspector,
) -> None:
    died = events("died")
    found = look(bad, "fine", "dies", "fine too")
    assert found == [
        (0, SEEN),
        (1, SEEN),
        (1, Finding(Kind.UNFINISHED, "dies", "ended the process that looked at it")),
        (2, SEEN),
    ]
    assert events("died") - died == 2


def test_what_only_a_worn_process_dies_of_is_tried_again(bad: ChildInspector) -> None:
    look(bad, "fine")
    assert look(bad, "dies unless fresh") == [(0, SEEN)]


def test_an_attachment_that_hangs_is_killed_and_those_after_it_are_seen() -> None:
    bad = ChildInspector(AttachmentsConfig(seconds=4.0, processes=2), module="tests.support.badchild")
    warm(bad, 2)
    killed = events("killed")
    found = look(bad, "hangs", "fine")
    bad.close()
    assert found[:1] == [(0, SEEN)]
    assert found[1][1].kind is Kind.UNREADABLE
    assert found[2:] == [(1, SEEN)]
    assert events("killed") - killed == 1


def test_the_deadline_of_the_stage_counts_before_the_own_seconds(bad: ChildInspector) -> None:
    warm(bad, 1)
    found = look(bad, "hangs", seconds=2.5)
    assert [item.kind for _, item in found] == [Kind.EXECUTABLE, Kind.UNREADABLE]


def test_an_attachment_that_costs_all_the_time_is_told_from_a_busy_machine(
    bad: ChildInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that waits has no CPU time: that is the machine's fault.  One that works has."""
    # Beside other tests a process that spins may have less than a third of a CPU, on a busy machine as in life.
    monkeypatch.setattr(adapter, "_ITS_OWN_FAULT", 0.03)
    warm(bad, 1)
    assert look(bad, "hangs", seconds=2.0)[-1][1].kind is Kind.UNREADABLE
    warm(bad, 1)
    (_, item) = look(bad, "spins", seconds=3.0)[-1]
    assert item.kind is Kind.UNFINISHED
    assert "CPU time" in item.detail


@pytest.mark.parametrize("what", ["lies", "lists", "invents", "strays", "floods"])
def test_a_process_that_says_nonsense_is_not_believed(bad: ChildInspector, what: str) -> None:
    found = look(bad, what)
    assert found[-1] == (0, Finding(Kind.UNFINISHED, what, "ended the process that looked at it"))


def test_a_part_that_is_done_is_not_begun_again(bad: ChildInspector) -> None:
    found = look(bad, "first", "returns")
    assert found == [
        (0, SEEN),
        (1, SEEN),
        (1, Finding(Kind.UNFINISHED, "returns", "ended the process that looked at it")),
    ]


def test_every_name_of_a_part_goes_along(inspector: ChildInspector) -> None:
    """What a file is opened as depends on its names, and the one that counts may be the last."""
    head = (
        b"Content-Type: application/x; name=d.zip\r\nContent-Disposition: attachment; filename=a.bin; filename*=b.bin; "
    )
    head += b"filename=c.bin\r\n\r\n"
    message = Message(head + b"stray" + ARCHIVE)
    found = asyncio.run(inspector.inspect(message, parts_of(message), (), Deadline.after(20)))
    assert {finding.kind for _, finding in found} == {Kind.EXECUTABLE}


def test_what_it_says_is_made_printable_again(bad: ChildInspector) -> None:
    (_, (_, item)) = look(bad, "turns")
    assert item.path.isprintable()
    assert item.detail.isprintable()
    assert len(item.path) <= 400


def test_memory_has_a_limit() -> None:
    config = AttachmentsConfig().model_copy(update={"memory_bytes": 80_000_000})
    inspector = ChildInspector(config)
    found = look(inspector, "small.zip", "a.zip", octets=ARCHIVE)
    assert {item.kind for _, item in found} == {Kind.EXECUTABLE}
    found = look(inspector, "big.bin", octets=bytes(60_000_000))
    assert found == [(0, Finding(Kind.UNFINISHED, "big.bin", "needs more memory than it may have"))]
    inspector.close()


def test_the_process_keeps_no_descriptor_of_a_job(inspector: ChildInspector) -> None:
    look(inspector, "a.zip")
    (pid,) = inspector.pids
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(3):
        look(inspector, "a.zip")
    assert inspector.pids == [pid]
    assert len(os.listdir(f"/proc/{pid}/fd")) == before


def test_it_has_the_limits_that_it_should(inspector: ChildInspector) -> None:
    look(inspector, "a.zip")
    (pid,) = inspector.pids
    limits = Path(f"/proc/{pid}/limits").read_text()
    rows = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert rows["Max address space"] == str(AttachmentsConfig().memory_bytes)
    assert (rows["Max core file size"], rows["Max file size"], rows["Max open files"]) == ("0", "0", "16")
    assert os.getsid(pid) == pid
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert {line.partition(b"=")[0] for line in environment.split(b"\0") if line} <= {b"PATH", b"PYTHONPATH", b"LANG"}


_PARENT = """
import asyncio, os, sys
from filterd.adapters.inspector import ChildInspector
from filterd.adapters.inspector_child import READY
from filterd.adapters.inspector_process import BrokenError, Child
from filterd.config import AttachmentsConfig
from filterd.deadline import Deadline
from tests.support.attached import attached, parts_of
inspector = ChildInspector(AttachmentsConfig(), module=sys.argv[1])
message = attached(("fine", b"x"))
asyncio.run(inspector.inspect(message, parts_of(message), (), Deadline.after(20)))
(pid,) = inspector.pids
print(pid, flush=True)
if sys.argv[2] == "busy":
    message = attached(("tells " + sys.argv[3], b"x"))
    asyncio.run(inspector.inspect(message, parts_of(message), (), Deadline.after(60)))
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_it_dies_with_its_parent(state: str, tmp_path: Path) -> None:
    """The busy one is in the middle of an attachment: it does not look at its socket."""
    place = str(tmp_path / "begun")
    command = [sys.executable, "-c", _PARENT, "tests.support.badchild", state, place]
    with socket.socket(socket.AF_UNIX) as begun:
        begun.bind(place)
        begun.listen()
        begun.settimeout(20)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=CHECKOUT) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            if state == "busy":
                begun.accept()[0].close()
            parent.kill()
    wait_for_end(pid)


def test_when_none_can_be_started_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(TemporaryError) as caught:
        look(ChildInspector(AttachmentsConfig()), "a.zip")
    assert caught.value.kind == "broken"


def test_a_process_that_does_not_come_up_says_nothing_about_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation must not make every archive look hostile."""
    monkeypatch.setenv("LANG", "FILTERD_TEST_MUTE")
    for module in ("tests.support.badchild", "tests.support.not_there"):
        with pytest.raises(TemporaryError) as caught:
            look(ChildInspector(AttachmentsConfig(), module=module), "a.zip")
        assert caught.value.kind == "broken"


def test_many_at_once_share_the_processes() -> None:
    inspector = ChildInspector(AttachmentsConfig(processes=2))
    message = attached(("a.zip", ARCHIVE), ("b.zip", zip_of(("a.txt", TEXT))))

    async def scene() -> list[list[tuple[int, Finding]]]:
        jobs = [inspector.inspect(message, parts_of(message), (), Deadline.after(20)) for _ in range(30)]
        return await asyncio.gather(*jobs)

    results = asyncio.run(scene())
    assert len({tuple(result) for result in results}) == 1
    assert len(inspector.pids) <= 2
    inspector.close()


def test_a_mapped_message_is_handed_over_as_well(tmp_path: Path, inspector: ChildInspector) -> None:
    import mmap

    plain = attached(("a.zip", ARCHIVE))
    path = tmp_path / "message"
    path.write_bytes(bytes(plain.octets))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        message = Message(mapped)
        found = asyncio.run(inspector.inspect(message, parts_of(message), (), Deadline.after(20)))
    assert {item.kind for _, item in found} == {Kind.EXECUTABLE}


def test_a_line_without_an_end_is_not_waited_for() -> None:
    child = Child("tests.support.badchild", 536_870_912)
    try:
        assert child.line(time.monotonic() + 20) == READY
        ours, theirs = socket.socketpair()
        with theirs:
            child._socket.close()
            child._socket = ours
            theirs.settimeout(20)
            theirs.sendall(b"x" * 131_073)
            with pytest.raises(BrokenError):
                child.line(time.monotonic() + 2)
    finally:
        child.end("killed")
