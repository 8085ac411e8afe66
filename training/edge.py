"""Owns how a collected message is turned back into what the edge saw: the octets after DATA and the connection facts.

Collections differ: some files carry the collector's own Received and Return-Path fields, some had them removed.  Only a file
with marks of a delivery (mbox line, Return-Path, Delivered-To) has topmost Received fields of its collector; they are taken
off and read instead.  Must not know labels, models or file formats of collections.
"""

from __future__ import annotations

import ipaddress
import re

from filterd.classifier.stream import ConnectionFacts
from filterd.mail.message import HeaderField, Message

MAX_OCTETS = 1_048_576  # of a collected file; the stream looks at half of it
MAX_HOPS = 6
_DELIVERY_MARKS = ("return-path", "delivered-to", "x-original-to", "envelope-to", "x-uidl", "status")
_ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]|\(([0-9]{1,3}(?:\.[0-9]{1,3}){3})\)")
_FROM = re.compile(r"from\s+(\S{1,255})(.{0,400})", re.S | re.I)
_BY = re.compile(r"\sby\s+(\S{1,255})", re.I)
_NAME = re.compile(r"\(\s*(?:\S{1,80}@)?([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+)\s*[\[(]")
_HELO = re.compile(r"\(\s*(?:helo|ehlo)[ =]\[?([^\s\])]{1,255})", re.I)


def at_the_edge(octets: bytes, known: ConnectionFacts | None = None) -> tuple[Message, ConnectionFacts]:
    """(the message as it came in, CRLF line ends; what is known of its connection).

    Args:
        octets: a collected file, any line ends, with or without an mbox line.
        known: connection facts recorded beside the collection; then nothing is read from Received.
    """
    data = octets[:MAX_OCTETS].replace(b"\r\n", b"\n")
    reverse_path = ""
    delivered = data.startswith((b"From ", b">From "))
    if delivered:
        line, _, data = data.partition(b"\n")
        words = line.split(None, 2)
        reverse_path = words[1].decode("latin-1") if len(words) > 1 and b"@" in words[1] else ""
    message = Message(data.replace(b"\n", b"\r\n"))
    if known is not None:
        return message, known
    if not delivered and not any(message.all(mark) for mark in _DELIVERY_MARKS):
        return message, ConnectionFacts()
    path = message.first("return-path").strip("<> ")
    return _without_own_hops(message, path or reverse_path)


def _without_own_hops(message: Message, mail_from: str) -> tuple[Message, ConnectionFacts]:
    """Take off the Received fields down to the one that names a client from outside."""
    own: list[HeaderField] = []
    for hop in message.all("received")[:MAX_HOPS]:
        own.append(hop)
        facts = _client(hop.value[:1000], mail_from)
        if facts is not None:
            return _leave_out(message, own), facts
    return message, ConnectionFacts(mail_from=mail_from)


def _leave_out(message: Message, fields: list[HeaderField]) -> Message:
    octets = bytes(message.octets)
    pieces = []
    position = 0
    for item in fields:
        pieces.append(octets[position : item.start])
        position = item.start + len(item.raw)
    pieces.append(octets[position:])
    return Message(b"".join(pieces))


def _client(value: str, mail_from: str) -> ConnectionFacts | None:
    """The client that a Received field names, or None when it is a hop inside the collecting site."""
    match = _FROM.match(value)
    if match is None:
        return None
    by = _BY.search(match[2])
    described = match[2][: by.start()] if by else match[2]
    addresses = _ADDRESS.search(described) or _ADDRESS.search(match[1])
    if addresses is None:
        return None
    address = addresses[1] or addresses[2]
    try:
        if not ipaddress.ip_address(address).is_global:
            return None
    except ValueError:
        return None
    helo = _HELO.search(described)
    name = _NAME.search(described)
    client_name = name[1].lower() if name else ""
    if by and client_name and _organisation(client_name) == _organisation(by[1].lower()):
        return None
    return ConnectionFacts(address, helo[1] if helo else match[1].strip("[]"), client_name, mail_from)


def _organisation(name: str) -> str:
    """The registered domain, roughly: two labels, three below a short second level such as co.uk."""
    labels = name.rstrip(".;,").split(".")
    count = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
    return ".".join(labels[-count:])
