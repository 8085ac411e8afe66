"""Owns a reader of logs in Exchange's formats as programs for those are made: by the #Fields line; and filters of Get-MessageTrackingLog.

Not part of the product, and knows nothing of it.
"""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

Row = dict[str, str]


def read_log(text: str) -> list[Row]:
    """The rows of one file by field name."""
    fields: list[str] = []
    rows: list[Row] = []
    for line in text.split("\r\n"):
        if line.startswith("#Fields: "):
            fields = line.removeprefix("#Fields: ").split(",")
        elif line and not line.startswith("#"):
            (values,) = csv.reader([line])
            assert fields, "a row before its fields are named"
            rows.append(dict(zip(fields, values, strict=True)))
    return rows


def read_folder(folder: Path, prefix: str) -> list[Row]:
    """The rows of all files of one kind, in the order of their names."""
    files = sorted(
        folder.glob(f"{prefix}[0-9]*.LOG"), key=lambda path: (path.name.split("-")[0], int(path.stem.split("-")[1]))
    )
    return [row for path in files for row in read_log(path.read_bytes().decode("utf-8"))]


def tracking_log(
    rows: list[Row],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    event_id: str = "",
    message_id: str = "",
    sender: str = "",
    recipients: str = "",
    subject: str = "",
) -> list[Row]:
    """As Get-MessageTrackingLog filters: Start, End, EventId, MessageId, Sender, Recipients, MessageSubject (a part of it)."""

    def wanted(row: Row) -> bool:
        at = datetime.strptime(row["date-time"], "%Y-%m-%dT%H:%M:%S.%f%z")
        return (
            (start is None or at >= start)
            and (end is None or at <= end)
            and (not event_id or row["event-id"] == event_id)
            and (not message_id or row["message-id"] == message_id)
            and (not sender or row["sender-address"].lower() == sender.lower())
            and (not recipients or recipients.lower() in row["recipient-address"].lower().split(";"))
            and subject.lower() in row["message-subject"].lower()
        )

    return [row for row in rows if wanted(row)]
