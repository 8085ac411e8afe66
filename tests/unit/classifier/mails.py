"""Owns the messages that the classifier's tests are written around: invented, none of them real mail."""

from __future__ import annotations

import random

from filterd.mail.message import Message

HAM = (
    b"Received: from desk.example.net (desk.example.net [192.0.2.7])\r\n"
    b"\tby mail.example.net (Postfix) with ESMTPS id 4BGYNL6KjJ\r\n"
    b"\tfor <anna@example.org>; Mon, 02 Mar 2026 10:11:12 +0100 (CET)\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=one; h=from:to;\r\n"
    b"\tbh=QzauUeaEnfHfWuXx3lBriozcVQ0DxIozXWsHJDJ8lEM=; b=jYoOVjguL2ABHtruGRJTVFLIe6pXUkIprGqjAW0B\r\n"
    b"From: Bert Example <bert@example.net>\r\n"
    b"To: Anna <anna@example.org>\r\n"
    b"Subject: =?utf-8?q?Protokoll_der_Sitzung_vom_M=C3=A4rz?=\r\n"
    b"Date: Mon, 02 Mar 2026 10:11:10 +0100 (CET)\r\n"
    b"Message-ID: <20260302101110.5F3A1@desk.example.net>\r\n"
    b"In-Reply-To: <20260301.77@example.org>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"User-Agent: Mutt/2.2.9\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"\r\n"
    b"Hallo Anna,\r\n\r\nanbei das Protokoll, siehe https://wiki.example.net/protokoll/maerz .\r\nGr=C3=BC=C3=9Fe, Bert\r\n"
)
SPAM = (
    b'From: "Winner Dept" <win@spam.example>\r\n'
    b"Reply-To: claim@free.example\r\n"
    b"To: undisclosed-recipients:;\r\n"
    b"Subject: You WON 1.000.000\r\n"
    b"Date: Mon, 02 Mar 2026 10:11:10 -0800\r\n"
    b"Message-ID: <abc@spam.example>\r\n"
    b"X-Mailer: Bulk 3000\r\n"
    b"X-Priority: 1\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="----=_Part_77"\r\n'
    b"\r\n"
    b"------=_Part_77\r\n"
    b"Content-Type: text/html; charset=iso-8859-1\r\n"
    b"\r\n"
    b"<html><style>p {x}</style><body><!-- hide --><p>Claim your via<b></b>gra&nbsp;prize "
    b'<a href="http://198.51.100.9/claim?id=1">now</a></p></body></html>\r\n'
    b"------=_Part_77\r\n"
    b'Content-Type: application/zip; name="prize.zip"\r\n'
    b"Content-Disposition: attachment; filename=prize.zip\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"UEsDBBQAAAAIAAAAIQAAAAAAAAAAAAAAAAA=\r\n"
    b"------=_Part_77--\r\n"
)


def generated(count: int, seed: int = 1) -> list[tuple[Message, bool]]:
    """`count` labelled messages, ham and spam in turn, from two small vocabularies that overlap."""
    chance = random.Random(seed)
    common = ["the", "a", "of", "to", "we", "you", "please", "today", "report", "mail", "time", "with", "for", "on"]
    ham = [
        "meeting",
        "minutes",
        "patch",
        "kernel",
        "review",
        "build",
        "invoice",
        "schedule",
        "colleague",
        "thanks",
        "regards",
        "agenda",
    ]
    spam = [
        "winner",
        "prize",
        "claim",
        "free",
        "pills",
        "cheap",
        "urgent",
        "bank",
        "transfer",
        "offer",
        "click",
        "unsubscribe",
    ]
    out = []
    for number in range(count):
        is_spam = number % 2 == 1
        words = (
            chance.choices(common, k=30)
            + chance.choices(spam if is_spam else ham, k=12)
            + chance.choices(ham + spam, k=6)
        )
        chance.shuffle(words)
        sender = f"{chance.choice(words)}@{'bulk' if is_spam else 'office'}{chance.randrange(9)}.example"
        octets = f"From: <{sender}>\r\nSubject: {' '.join(words[:4])}\r\n\r\n{' '.join(words)}\r\n".encode()
        out.append((Message(octets), is_spam))
    return out
