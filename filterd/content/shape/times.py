"""Owns what Date and the Received fields say about time, and how many hops there were.  RFC 5322 3.3, 3.6.7, 4.3.

Must not know what time it is.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from filterd.mail.message import Message

_MAX_VALUE = 2_000  # octets of a field that are read
_MAX_RECEIVED = 3  # topmost ones that are read: 4 us each
_MANY_HOPS = 12  # a message between two sites with filters and lists has up to ten
_HOUR = 3_600
_DAY = 86_400

_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DAYS = (b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun")
# As tolerantly as mail programs read it; groups: day of the week, day, month, year, hour, minute, second, zone.
_DATE = re.compile(
    rb"\s{0,8}(?:([a-z]{2,9})[,.]?\s{1,8})?([0-9]{1,2})[\s-]{1,8}([a-z]{3})[a-z]{0,6}[\s-]{1,8}([0-9]{2,4})\s{1,8}"
    rb"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:\s{1,8}([+-][0-9]{4}\b|[a-z]{1,5}\b))?",
    re.I,
)
# RFC 5322 4.3, in minutes; other names mean nothing certain.
_ZONES = {
    b"gmt": 0, b"ut": 0, b"utc": 0, b"z": 0, b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300,
    b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420,
}  # fmt: skip
_FROM_LITERAL = re.compile(rb"\s{0,8}from\s{1,8}\[?[0-9]{1,3}(?:\.[0-9]{1,3}){3}\]?[\s(]", re.I)
_FROM_UNQUALIFIED = re.compile(rb"\s{0,8}from\s{1,8}[a-z0-9_-]{1,63}[\s(]", re.I)
_WITH_HTTP = re.compile(rb"\bwith\s{1,8}https?\b", re.I)


class Moment(NamedTuple):
    """A date and time as a field has it.

    Attributes:
        seconds: since 1970 in UTC, as far as the zone is known.
        weekday: as written, lower case, three letters; empty when none is.
        right_weekday: the one that the date has.
        zone: as written, lower case; empty when none is.
        minutes: of the zone east of UTC; None for a name that means nothing certain.
        year_digits: how many.
        has_seconds: whether seconds are written.
    """

    seconds: int
    weekday: bytes
    right_weekday: bytes
    zone: bytes
    minutes: int | None
    year_digits: int
    has_seconds: bool


def read_moment(value: bytes) -> Moment | None:
    """The moment that `value` begins with; None for one that cannot be."""
    match = _DATE.match(value)
    if match is None:
        return None
    weekday, day, month, year, hour, minute, second, zone = match.groups(b"")
    full_year = int(year)
    if len(year) < 4:  # RFC 5322 4.3
        full_year += 2000 if full_year < 50 and len(year) == 2 else 1900
    number = _MONTHS.get(month.lower(), 0)
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    try:
        days = date(full_year, number, int(day)).toordinal()
    except ValueError:
        return None
    zone = zone.lower()
    east = _minutes(zone)
    at = (days - 719_163) * _DAY + hours * _HOUR + (minutes - (east or 0)) * 60 + seconds
    return Moment(at, weekday.lower()[:3], _DAYS[(days - 1) % 7], zone, east, len(year), bool(second))


def _minutes(zone: bytes) -> int | None:
    if zone[:1] in (b"+", b"-"):
        size = int(zone[1:3]) * 60 + int(zone[3:])
        return -size if zone[:1] == b"-" else size
    return _ZONES.get(zone)


def time_facts(message: Message, facts: list[str]) -> None:
    """Of the Date field and the trace fields."""
    received = [field.body[:_MAX_VALUE] for field in message.all("received")[:_MAX_RECEIVED]]
    times = [_time_of(body) for body in received]
    top = times[0] if times else None
    _date(message, top.seconds if top is not None and top.minutes is not None else None, facts)
    if not received:
        facts.append("received-none")
        return
    if len(message.all("received")) > _MANY_HOPS:
        facts.append("received-many")
    above: int | None = None
    for moment in times:
        if moment is None:
            facts.append("received-no-date")
            continue
        if moment.minutes is None:
            continue
        # a hop's clock may be wrong by minutes; an hour is a zone forgotten, more is made up
        if above is not None and moment.seconds > above + 2 * _HOUR:
            facts.append("received-date-backwards")
        above = moment.seconds
    last = received[-1]
    if _FROM_LITERAL.match(last):
        facts.append("received-from-address")
    elif _FROM_UNQUALIFIED.match(last):
        facts.append("received-from-unqualified")
    if b"http" in last.lower() and _WITH_HTTP.search(last):
        facts.append("received-with-http")


def _date(message: Message, received: int | None, facts: list[str]) -> None:
    """`received`: when the last hop says that it got the message, in seconds since 1970."""
    fields = message.all("date")
    if not fields:
        facts.append("date-missing")
        return
    moment = read_moment(fields[0].body[:_MAX_VALUE].strip())
    if moment is None:
        facts.append("date-unreadable")
        return
    if not moment.weekday:
        facts.append("date-no-weekday")
    elif moment.weekday != moment.right_weekday:
        facts.append("date-weekday-wrong")
    _zone(moment, facts)
    if moment.year_digits < 4:
        facts.append("date-short-year")
    if not moment.has_seconds:
        facts.append("date-no-seconds")
    if received is None or moment.minutes is None:
        return
    late = received - moment.seconds
    if late > 2 * _DAY:
        facts.append("date-days-before-received")
    elif late > 6 * _HOUR:
        facts.append("date-hours-before-received")
    elif late < -12 * _HOUR:
        facts.append("date-future")
    elif late < -_HOUR:
        facts.append("date-hours-after-received")


def _zone(moment: Moment, facts: list[str]) -> None:
    if not moment.zone:
        facts.append("date-no-zone")
    elif moment.minutes is None:
        facts.append("date-zone-unknown")
    elif moment.zone[:1] not in (b"+", b"-"):
        facts.append("date-zone-by-name")
    elif moment.minutes % 15 or not -720 <= moment.minutes <= 840 or int(moment.zone[3:]) > 59:
        facts.append("date-zone-impossible")


def _time_of(body: bytes) -> Moment | None:
    at = body.rfind(b";")
    return read_moment(body[at + 1 : at + 100].lstrip()) if at >= 0 else None
