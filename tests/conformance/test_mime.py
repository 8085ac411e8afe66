"""The 343 files of the public MIME suites (CPython, MIME-tools, Ruby's mail, Stalwart): none raises, all within bounds, none hides a part.

What the standard library's walk shows is the comparison; where ours shows less, the file is named below with the reason.
"""

from __future__ import annotations

import email
import email.header
from collections import Counter
from email.message import Message as Parsed
from functools import cache
from pathlib import Path

import pytest

from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.content.decode import decoded
from filterd.content.mime import MAX_PARTS, walk
from filterd.content.view import MAX_TEXTS, view_of
from filterd.mail.message import Message
from tests.support.material import conformance_dir

FILES = 343  # and a licence
LIMIT = 1 << 20
# The library reads the body of these as more messages or parts; to people they are one part, and so they are to us.
ONE_PART = ("message/delivery-status", "message/external-body", "text/rfc822-headers")
# Files of which we show more parts than the library, without the marker "boundary": with it a multipart that has no delimiter is
# shown as text, as mail programs do.
MORE = {
    "cpython-test-email/msg_37.txt": "a part may be empty: two delimiters in a row",
    "perl-mime-tools/multi-clen.msg": "the library ends the header section at a line that is no field",
    "perl-mime-tools/multi-digest.msg": "the same",
    "perl-mime-tools/multi-simple.msg": "the same",
    "perl-mime-tools/utf8-bom-at-start.msg": "a byte order mark before the first field",
    "stalwart-malformed/000.eml": "a part may be empty",
}
# File -> names that the library gives and we give otherwise.
OTHER_NAMES = {
    "perl-mime-tools/multi-2evil.msg": "backslashes within quotes are quoting (RFC 2045 5.1, RFC 822 3.4.4)",
    "ruby-mail/attachment_emails/attachment_nonascii_filename.eml": "raw UTF-8 in the name, which the library does not decode",
}


def names() -> list[str]:
    try:
        root = conformance_dir() / "mime"
    except pytest.skip.Exception:
        return ["absent"]
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@cache
def read(name: str) -> bytes:
    octets = (conformance_dir() / "mime" / name).read_bytes()
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def messages() -> list[str]:
    return [name for name in names() if Path(name).suffix in (".txt", ".eml", ".msg", "")]


def shown(parsed: Parsed) -> list[Parsed]:
    """Parts of the library's walk without what is inside of those that are one part to people."""
    found: list[Parsed] = []
    waiting = [parsed]
    while waiting:
        part = waiting.pop()
        found.append(part)
        if part.is_multipart() and part.get_content_type() not in ONE_PART:
            waiting += [inner for inner in part.get_payload() if isinstance(inner, Parsed)]
    return found


def test_the_suite_is_whole() -> None:
    conformance_dir()
    assert len(names()) >= FILES


@pytest.mark.parametrize("name", names())
def test_read_without_error_and_within_bounds(name: str) -> None:
    message = Message(read(name))
    found = walk(message)
    assert 1 <= len(found.parts) <= MAX_PARTS
    for part in found.parts:
        assert 0 <= part.begin <= part.end <= len(message)
        assert len(decoded(message, part, LIMIT)) <= LIMIT
    view = view_of(message)
    assert len(view.texts) <= MAX_TEXTS
    assert not [marker for marker in view.markers if marker.startswith("unreadable")]
    assert not [
        marker for marker in content_stream(message, ConnectionFacts()).markers if marker.startswith("unreadable")
    ]


@pytest.mark.parametrize("name", messages())
def test_no_part_is_hidden(name: str) -> None:
    octets = read(name)
    ours = Counter(part.content_type for part in walk(Message(octets)).parts)
    theirs = Counter(
        part.get_content_type()
        for part in shown(email.message_from_bytes(octets))
        if not part.is_multipart() and not part.get_content_type().startswith("multipart/")
    )
    assert not theirs - ours


@pytest.mark.parametrize("name", messages())
def test_names_of_attachments_are_seen(name: str) -> None:
    octets = read(name)
    ours = {found for part in walk(Message(octets)).parts for found in part.names}
    for part in shown(email.message_from_bytes(octets)):
        given = part.get_filename()
        if given and name not in OTHER_NAMES:
            decoded_name = str(email.header.make_header(email.header.decode_header(given)))
            assert decoded_name in ours or given in ours


def test_where_more_is_shown_than_by_the_library() -> None:
    conformance_dir()
    more = set()
    for name in messages():
        found = walk(Message(read(name)))
        theirs = Counter(part.get_content_type() for part in shown(email.message_from_bytes(read(name))))
        if Counter(part.content_type for part in found.parts) - theirs and "boundary" not in found.markers:
            more.add(name)
    assert more == set(MORE)
