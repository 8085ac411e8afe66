"""Who travels together: whose copies have the same fields above them, in the order in which they were asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filterd.engine.job import Job
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.ports import EvidenceRecord, MessageRecord


def job(marks: list[bytes]) -> Job:
    recipients = tuple(Recipient(Mailbox(f"r{number}", "example.org")) for number in range(len(marks)))
    names = tuple(str(recipient.mailbox) for recipient in recipients)
    record = MessageRecord("ID1", 1, "w:1", "internet", "192.0.2.1", "h", "", names)
    evidence = EvidenceRecord("accept", 1, 0.0, 0.5, [], [])
    fields = {name: mark for name, mark in zip(names, marks, strict=True) if mark}
    return Job(
        Envelope("ID1", None, (), recipients), record, (), evidence, recipients, b"usual", (), b"", "", fields=fields
    )


@given(st.lists(st.sampled_from([b"", b"usual", b"other", b"third"]), max_size=12))
def test_every_recipient_is_in_the_one_group_of_its_fields(marks: list[bytes]) -> None:
    work = job(marks)
    groups = work.groups()
    assert len({above for above, _ in groups}) == len(groups)
    assert sorted(str(r.mailbox) for _, members in groups for r in members) == sorted(
        str(r.mailbox) for r in work.forward
    )
    for above, members in groups:
        assert all((marks[work.forward.index(member)] or b"usual") == above for member in members)
        assert [work.forward.index(member) for member in members] == sorted(map(work.forward.index, members))


def test_nobody_is_no_group() -> None:
    assert job([]).groups() == []
