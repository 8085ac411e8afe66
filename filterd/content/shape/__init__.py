"""Owns the shape of the header section: short stable words for what is unusual about it.  RFC 5322 3.6.

Facts, not judgements: most of them stand in honest mail too.  How often each was found in real mail: docs/shape.md.
The moment at which a message is looked at is no part of it: the same message has the same facts for ever, so that a
model may learn from them.  Reads the header section alone, in linear time, and never raises.
Must not know what a fact weighs.
"""

from __future__ import annotations

from collections.abc import Callable

from filterd.content.shape.origin import bulk_facts, field_facts, mailer_facts, mime_facts
from filterd.content.shape.people import author_facts, message_id_facts, recipient_facts
from filterd.content.shape.subject import subject_facts
from filterd.content.shape.times import time_facts
from filterd.mail.message import Message

_KEY = "shape"
_Look = Callable[[Message, list[str]], None]
_LOOKS: tuple[_Look, ...] = (
    time_facts,
    message_id_facts,
    author_facts,
    recipient_facts,
    subject_facts,
    mime_facts,
    mailer_facts,
    bulk_facts,
    field_facts,
)


def shape_facts(message: Message) -> tuple[str, ...]:
    """The facts in a fixed order, each once; kept with the message: the second who asks pays nothing."""
    known = message.shared.get(_KEY)
    if isinstance(known, tuple):
        return known
    facts: list[str] = []
    for look in _LOOKS:
        try:
            look(message, facts)
        except Exception as error:  # what breaks our reading is a fact too, and must not hide the others
            facts.append(f"unreadable-{type(error).__name__.lower()}")
    found = tuple(dict.fromkeys(facts))
    message.shared[_KEY] = found
    return found
