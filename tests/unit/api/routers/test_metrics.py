"""Prometheus can read our counters."""

from __future__ import annotations

from filterd.storage import quarantine
from tests.support.sideservice import Side
from tests.support.storage import keep, message


def test_counters_and_the_queue(side: Side) -> None:
    record = message()
    keep(side.database, record)
    quarantine.release(side.database, record.id, None, "admin")
    response = side.ask("GET", "/metrics", "read")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "filterd_messages_total" in response.text
    assert 'filterd_outbox_rows{state="Ready"} 1\n' in response.text
    assert "\nfilterd_report_mails_waiting 0\n" in response.text
    assert response.text.endswith("\n")
