"""Owns the process that opens one report mail: limits on itself, the mail from standard input, what it holds to standard output.

What people report is made by those who want to do harm, and the readers of Outlook's formats are libraries: a fault in them
must cost a process and not the service.  Must not know configuration, storage or who reports.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from typing import Any

from filterd.adapters.inspector_child import limit_ourselves
from filterd.reportmail.unpack import Reported, unpack

MAX_MAIL = 134_217_728  # octets that are read; limits.message_bytes is the bound that people set


def main() -> None:
    """`python -m filterd.adapters.unpack_child MEMORY_BYTES CPU_SECONDS PARENT`; the parent only starts it so."""
    memory_bytes, cpu_seconds, parent = (int(text) for text in sys.argv[1:4])
    limit_ourselves(memory_bytes, parent)
    with suppress(ValueError, OSError):  # a smaller hard limit stands already
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    with os.fdopen(0, "rb") as file:
        octets = file.read(MAX_MAIL)
    found = unpack(octets)
    bodies: list[bytes] = []
    line = {
        "messages": [_described(item, bodies) for item in found.messages],
        "problems": found.problems,
        "left_out": found.left_out,
    }
    with os.fdopen(1, "wb") as out:
        out.write(json.dumps(line).encode("ascii") + b"\n")
        for body in bodies:
            out.write(body)


def _described(item: Reported, bodies: list[bytes]) -> dict[str, Any]:
    """All but the octets, which follow the line in this order."""
    bodies.append(item.octets)
    return {
        "form": item.form,
        "message_id": item.message_id,
        "our_id": item.our_id,
        "subject": item.subject,
        "size": len(item.octets),
        "inner": [_described(below, bodies) for below in item.inner],
    }


if __name__ == "__main__":
    main()
