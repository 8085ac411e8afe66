"""Owns how a log line looks: one JSON object or one line of text on standard error.  Must not know what is logged.

`log.info("message", extra={"id": ..., ...})`: the first word is the event; everything in `extra` becomes a key.
"""

from __future__ import annotations

import json
import logging
import sys
import time

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, then the extra keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update(_extra(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, event, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{key}={json.dumps(value, default=str)}" for key, value in _extra(record).items())
        line = f"{_stamp(record)} {record.levelname.lower():7} {record.getMessage()} {extra}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(level: str = "info", style: str = "json") -> None:
    """Send everything from `level` on to standard error; called once per process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiosmtpd and alembic tell every step at info; ours are enough
    for noisy in ("mail.log", "alembic", "aiosmtpd", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
