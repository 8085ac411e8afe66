"""Owns the sample messages, written for this purpose, and what shall become of each.  Must not know how they are sent."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from email.utils import formatdate, make_msgid

from sandbox import world
from sandbox.signing import DkimKey

_ORDER = """
    Dear Ben,

    thank you for the minutes of last Thursday. I have two small corrections for
    item 4: the delivery of the second pump is planned for week 38, not 36, and
    the acceptance test will be done by our own people in Graz.

    Could you send me the updated schedule before the meeting on Monday? Then I
    can discuss it with the workshop in the morning and we need not wait for the
    next round.

    Kind regards
    Maria Huber

    --
    Maria Huber, project office, Example Works
"""

_OFFER = """
    <html><body bgcolor="#FFFF00"><center>
    <h1><font color="red">!!! CONGRATULATIONS WINNER !!!</font></h1>
    <p><b>VIAGRA, CIALIS, no prescription needed - 80% OFF - 100% FREE SHIPPING!!!</b></p>
    <p>Dear friend, you have been selected to receive <b>$1,000,000 CASH</b>. Earn money fast from home,
    no risk, satisfaction guaranteed. Lose weight now! Cheap meds online, best prices, lowest price ever!</p>
    <p><a href="http://127.0.0.21/cheap-pills/?buy=now">CLICK HERE NOW TO ORDER</a> - act now, limited time offer!!!</p>
    <p><font size="1">This is not spam. To be removed from our mailing list click here and enter your email address.
    Online pharmacy, replica watches, casino bonus, mortgage rates, enlarge today.</font></p>
    </center></body></html>
"""

_BANK = """
    Dear customer,

    we have noticed unusual activity and your account has been limited. To verify
    your account, confirm your password and card number within 24 hours here:

        http://127.0.0.31.verify-login.test/secure/account/update

    If you do not respond, your account will be suspended.

    Security department, Bank
"""

_BULK = """
    Hello,

    our catalogue for the new season is here. Order today and save.

    Bulk Mailers
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message and its sender.

    Attributes:
        name: what it stands for, in few words.
        client: loopback address it is sent from.
        helo: argument of EHLO.
        mail_from: reverse-path.
        recipient: forward-path.
        message: the octets, CRLF lines, dots not stuffed.
        message_id: its Message-ID, to find it again.
        expected: the places where it may end: upstream, quarantine, refused.
    """

    name: str
    client: str
    helo: str
    mail_from: str
    recipient: str
    message: bytes
    message_id: str
    expected: frozenset[str]


def make_samples(key: DkimKey) -> list[Sample]:
    """The samples with the date of now; the partner's messages are signed with `key`."""

    def sample(
        name: str,
        client: str,
        helo: str,
        header_from: str,
        subject: str,
        text: str,
        expected: set[str],
        *,
        recipient: str = "ben@example.com",
        html: bool = False,
        signed: bool = False,
    ) -> Sample:
        address = header_from.rpartition("<")[2].rstrip(">")
        message_id = make_msgid(domain=address.rpartition("@")[2])
        lines = [
            f"From: {header_from}",
            f"To: <{recipient}>",
            f"Subject: {subject}",
            f"Date: {formatdate(localtime=False)}",
            f"Message-ID: {message_id}",
            "MIME-Version: 1.0",
            f"Content-Type: text/{'html' if html else 'plain'}; charset=us-ascii",
            "",
            *textwrap.dedent(text).strip().splitlines(),
            "",
        ]
        message = "\r\n".join(lines).encode("ascii")
        if signed:
            message = key.sign(message)
        return Sample(name, client, helo, address, recipient, message, message_id, frozenset(expected))

    maria = "Maria Huber <maria.huber@example.org>"
    mail = "mail.example.org"
    return [
        sample("good mail, signed", world.PARTNER, mail, maria, "Re: Minutes and schedule", _ORDER, {"upstream"}, signed=True),
        sample(
            "unknown recipient", world.PARTNER, mail, maria, "Schedule", _ORDER, {"refused"},
            recipient="bern@example.com", signed=True,
        ),
        sample("not our domain", world.PARTNER, mail, maria, "Schedule", _ORDER, {"refused"}, recipient="joe@elsewhere.test"),
        sample("listed client", world.LISTED, "mail.bulk.example", "Bulk <news@bulk.example>", "New season", _BULK, {"refused"}),
        sample(
            "spam", world.SHOP, "127.0.0.20", "WINNER <winner@shop.example>", "!!! FREE VIAGRA - YOU HAVE WON $1,000,000 CASH !!!",
            _OFFER, {"quarantine", "refused"}, html=True,
        ),
        sample(
            "forged author", world.FORGER, "user-pc", "Bank <service@bank.example>", "Your account has been limited",
            _BANK, {"quarantine", "refused"},
        ),
    ]  # fmt: skip
