"""Messages that no model may call spam again."""

from __future__ import annotations

import pytest

from filterd.errors import PermanentError
from filterd.storage import pins
from filterd.storage.database import Database

FEATURES = b"\x01\0\0\0"


def test_a_pin_keeps_what_its_message_said(db: Database) -> None:
    id = pins.add(db, FEATURES, "ops", message_id="M", header_from="<a@example.org>", subject="x" * 1000)
    (pin,) = pins.list_pins(db)
    assert (pin.id, pin.message_id, pin.features, pin.header_from, pin.created_by) == (
        id,
        "M",
        FEATURES,
        "<a@example.org>",
        "ops",
    )
    assert len(pin.subject) == 500
    assert pin.report_id is None
    assert pins.remove(db, id)
    assert not pins.remove(db, id)
    assert pins.list_pins(db) == ()


def test_a_message_that_two_reports_pinned_is_one_until_both_are_gone(db: Database) -> None:
    first = pins.add(db, FEATURES, "ops", report_id=1, message_id="M")
    assert pins.add(db, FEATURES, "ops", report_id=1, message_id="M") == first
    second = pins.add(db, FEATURES, "ops", report_id=2, message_id="M")
    assert [pin.id for pin in pins.list_pins(db)] == [first]
    assert [pin.id for pin in pins.of_report(db, 2)] == [second]
    pins.remove(db, first)
    assert [pin.id for pin in pins.list_pins(db)] == [second]


def test_messages_that_never_came_through_us_stand_alone(db: Database) -> None:
    ids = [pins.add(db, FEATURES, "ops", report_id=number) for number in (1, 2)]
    assert pins.add(db, FEATURES, "ops", report_id=2) == ids[1]
    assert [pin.id for pin in pins.list_pins(db)] == ids


@pytest.mark.parametrize("octets", [b"", b"123"])
def test_without_features_there_is_nothing_to_pin(db: Database, octets: bytes) -> None:
    with pytest.raises(PermanentError, match=r"^features: "):
        pins.add(db, octets, "ops")
