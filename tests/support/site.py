"""Owns the mail of a site for the story of learning, made up or real, and its users' report mails.  Not part of the product."""

from __future__ import annotations

import email.utils
import itertools
import random
import re
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from filterd.reportmail.unpack import MAX_MESSAGES
from tests.support.load import Mail
from tests.support.material import corpus_archive
from tests.support.realmail import as_smtp
from tests.support.reportmail import FORMS, report_mail

DOMAIN = "example.org"
REPORTS = "reports.example.org"
USERS = tuple(f"user{number:02d}@{DOMAIN}" for number in range(8))

_COMMON = "the a of to we you and please for on with is are this that our your from will at in by as it be have not"
HAM = {
    "clinic.example": "appointment ward patient nurse laboratory result discharge physician transport admission therapy shift roster ambulance referral",
    "school.example": "parents class teacher excursion timetable homework canteen pupil lesson gymnasium holidays choir library consultation grades",
    "council.example": "minutes committee budget tender motion resolution procurement agenda delegate building permit ordinance meeting hearing vote",
}
SPAM = {
    "solarpanels.example": "solar rooftop subsidy quote installer panel savings tariff neighbourhood offer homeowner consultation battery advisor discount",
    "seminars.example": "webinar bestseller mindset coach income freedom blueprint mentor launch scaling funnel masterclass registration seats earlybird",
    "vapes.example": "liquid flavour vaporizer mango starter coil bundle clearance shipping menthol pods disposable aroma wholesale starterkit",
}
# Good mail in which only one partner writes: what poisoned reports aim at.
TARGET = "pharmacy.example"
_TARGET = "prescription dispensary dosage delivery refill formulary antibiotics insulin generics invoice pharmacist stock substitute tablets interval"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the site.

    Attributes:
        recipient: the user who gets it.
    """

    octets: bytes
    sender: str
    recipient: str
    spam: bool

    @property
    def mail(self) -> Mail:
        """As the client sends it."""
        helo = f"mail.{self.sender.partition('@')[2]}"
        return Mail(self.sender, self.recipient, self.octets, f"127.0.0.{20 + len(self.sender) % 20}", helo)


def letter(domain: str, words: str, recipient: str, spam: bool, chance: random.Random) -> Letter:
    """A message of one kind: words of its trade and of everybody, in an order of its own."""
    number = next(_numbers)
    trade, common = words.split(), _COMMON.split()
    text = [chance.choice(trade if chance.random() < 0.5 else common) for _ in range(90)]
    lines = "\r\n".join(" ".join(text[at : at + 12]) for at in range(0, len(text), 12))
    head = [
        f"Received: from desk.{domain} (desk.{domain} [192.0.2.{number % 250 + 1}])",
        f"\tby mail.{domain} (Postfix) with ESMTPS id 4{chance.randrange(16**8):08X}",
        f"\tfor <{recipient}>; Mon, 23 Nov 2026 10:00:{number % 60:02d} +0100 (CET)",
        f"From: Office <office@{domain}>",
        f"To: <{recipient}>",
        f"Subject: {' '.join(chance.sample(trade, 3))}",
        f"Date: Mon, 23 Nov 2026 10:00:{number % 60:02d} +0100",
        f"Message-ID: <{number}.{chance.randrange(10**9)}@{domain}>",
        f"In-Reply-To: <{chance.randrange(10**9)}@{DOMAIN}>",
        "MIME-Version: 1.0",
        "User-Agent: Mutt/2.2.9",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    octets = "\r\n".join([*head, "", lines, ""]).encode()
    return Letter(octets, f"office@{domain}", recipient, spam)


def letters(kinds: dict[str, str], count: int, spam: bool, seed: int) -> list[Letter]:
    """`count` messages, the kinds and the users in turn."""
    chance = random.Random(seed)
    names = list(kinds)
    return [
        letter(names[at % len(names)], kinds[names[at % len(names)]], USERS[at % len(USERS)], spam, chance)
        for at in range(count)
    ]


def target(count: int, seed: int, users: Sequence[str] = USERS) -> list[Letter]:
    """Good mail of the partner."""
    chance = random.Random(seed)
    return [letter(TARGET, _TARGET, users[at % len(users)], False, chance) for at in range(count)]


def reports(said: Sequence[Letter], address: str, forms: Sequence[str]) -> list[tuple[Mail, list[str]]]:
    """The report mails in which each recipient reports what they got, with the forms of what is attached, which come in turn."""
    ways = itertools.cycle(forms)
    found = []
    for user in dict.fromkeys(item.recipient for item in said):
        theirs = [item for item in said if item.recipient == user]
        for begin in range(0, len(theirs), MAX_MESSAGES):
            used = [next(ways) for _ in theirs[begin : begin + MAX_MESSAGES]]
            attached = [
                FORMS[way](item.octets) for way, item in zip(used, theirs[begin : begin + MAX_MESSAGES], strict=True)
            ]
            name, to = f"<report.{next(_numbers)}@{DOMAIN}>", f"{address}@{REPORTS}"
            octets = report_mail(*attached, sender=user, subject="FW: mail", message_id=name, to=to)
            found.append((Mail(user, to, octets), used))
    return found


@dataclass(frozen=True, slots=True)
class Bag:
    """The mail of a story.

    Attributes:
        ham, spam: what users report at first.
        live: what comes while a candidate is in shadow and after its promotion.
        known: good mail of the partner that nobody ever reports.
        poisoned: good mail of the partner that an attacker's accounts report as spam.
        later: good mail of the partner and of others that comes when the bad model is in use.
        forms: how their mail programs attach what they report.
    """

    ham: list[Letter]
    spam: list[Letter]
    live: list[Letter]
    known: list[Letter]
    poisoned: list[Letter]
    later: list[Letter]
    forms: Sequence[str]


ATTACKERS = USERS[:3]


def made_up() -> Bag:
    """Words of some trades in any order."""
    return Bag(
        ham=letters(HAM, 64, False, 1),
        spam=letters(SPAM, 64, True, 2),
        live=[*letters(HAM, 60, False, 11), *letters(SPAM, 4, True, 12)],
        known=target(16, 13),
        poisoned=target(24, 31, ATTACKERS),
        later=[*target(16, 41), *letters(HAM, 12, False, 51)],
        forms=list(FORMS),
    )


_FOLDER = "csdmc2010"  # of the corpus: the seed has not seen it
_TOO_LARGE = 20_000  # octets


def real() -> Bag:
    """Real mail of one folder of the corpus; the partner is who writes most there.  Skips when it is not here."""
    found: dict[bool, list[tuple[str, bytes]]] = {True: [], False: []}
    seen: set[bytes] = set()
    with tarfile.open(corpus_archive()) as tar:
        for member in tar:
            if not member.isfile() or f"/{_FOLDER}/" not in member.name or member.size > _TOO_LARGE:
                continue
            file = tar.extractfile(member)
            assert file is not None
            octets = as_smtp(file.read())
            name = re.search(rb"(?mi)^Message-ID: *(<\S+@\S+>)\r$", octets.partition(b"\r\n\r\n")[0])
            if name is not None and name[1] not in seen:
                seen.add(name[1])
                found["/spam/" in member.name].append((member.name, octets))
    by_author: defaultdict[str, list[bytes]] = defaultdict(list)
    for _, octets in sorted(found[False]):
        by_author[_author(octets)].append(octets)
    partner = max(by_author, key=lambda author: (len(by_author[author]), author))
    chance = random.Random(7)
    ham = [octets for _, octets in sorted(found[False]) if _author(octets) != partner]
    spam = [octets for _, octets in sorted(found[True])]
    for octets in (ham, spam):
        chance.shuffle(octets)
    theirs = by_author[partner]

    def sent(octets: Sequence[bytes], spam: bool, users: Sequence[str] = USERS) -> list[Letter]:
        return [
            Letter(each, _author(each) or "info@client.example", users[at % len(users)], spam)
            for at, each in enumerate(octets)
        ]

    third = len(theirs) // 3
    return Bag(
        ham=sent(ham[:96], False),
        spam=sent(spam[:96], True),
        live=[*sent(ham[96:216], False), *sent(spam[96:100], True)],
        known=sent(theirs[:third], False),
        poisoned=sent([*theirs[third : 2 * third], *ham[256:400]], False, ATTACKERS),
        later=sent([*theirs[2 * third :], *ham[216:256]], False),
        forms=["rfc822", "eml", "rfc822 in base64", "eml with LF", "eml as text", "eml as mbox"],
    )


def _author(octets: bytes) -> str:
    """The address in From, where SMTP can carry it."""
    field = re.search(rb"(?mi)^From:(.*(?:\r\n[ \t].*)*)", octets.partition(b"\r\n\r\n")[0])
    address = email.utils.parseaddr(field[1].decode("ascii", "replace"))[1].lower() if field else ""
    return address if re.fullmatch(r"[a-z0-9._+-]+@[a-z0-9.-]+\.[a-z]+", address) else ""
