"""The samples are well-formed, dated now, and each has a place to end."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest

from filterd.mail.address import parse_mailbox
from filterd.mail.message import Message
from sandbox import world
from sandbox.samples import Sample, make_samples
from sandbox.signing import DkimKey

SAMPLES = make_samples(DkimKey("example.org"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_each_sample_is_a_mail_that_a_client_can_send(sample: Sample) -> None:
    message = Message(sample.message)
    assert sample.message.replace(b"\r\n", b"").isascii()
    assert b"\n" not in sample.message.replace(b"\r\n", b"")
    assert sample.message.endswith(b"\r\n")
    assert message.first("message-id") == sample.message_id
    assert abs(parsedate_to_datetime(message.first("date")).timestamp() - time.time()) < 3600
    assert parse_mailbox(sample.mail_from)
    assert parse_mailbox(sample.recipient)
    assert sample.client.startswith("127.0.0.")
    assert sample.expected
    assert sample.expected <= {"upstream", "quarantine", "refused"}


def test_every_kind_of_ending_is_shown() -> None:
    assert {frozenset({"upstream"}), frozenset({"refused"})} <= {sample.expected for sample in SAMPLES}
    assert any("quarantine" in sample.expected for sample in SAMPLES)
    assert len({sample.message_id for sample in SAMPLES}) == len(SAMPLES)


def test_only_the_unknown_recipients_are_unknown() -> None:
    assert [sample.name for sample in SAMPLES if sample.recipient not in world.RECIPIENTS] == [
        "unknown recipient",
        "not our domain",
    ]
