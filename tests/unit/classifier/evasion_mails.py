"""Owns the invented messages that tricks are tried on: spam of several kinds, ham of several kinds, and innocent text.

None of it is anybody's mail; names, hosts and addresses are made up.
"""

from __future__ import annotations

PILLS = """From: "Canadian Health Shop" <k7q2z@rx-discount.example>
To: <undisclosed-recipients:;>
Subject: Save 80% on Viagra and Cialis today!!
Date: Tue, 03 Mar 2026 04:11:09 -0800
Message-ID: <000701c9$5a1f$0a00a8c0@k7q2z>
X-Mailer: Microsoft Outlook Express 6.00.2600.0000
X-Priority: 1
MIME-Version: 1.0
Content-Type: text/html; charset="iso-8859-1"
Content-Transfer-Encoding: 7bit

<html><body bgcolor="#FFFFFF"><center><font size="5" color="red"><b>CHEAP MEDS ONLINE</b></font><br>
No prescription needed! Order Viagra, Cialis and Levitra from our licensed pharmacy and save up to 80% on every order.<br>
<a href="http://198.51.100.77/rx/?id=8812">CLICK HERE TO ORDER NOW</a><br>
Discreet packaging, free worldwide shipping, money back guarantee. Limited time offer, act now!<br>
<font size="1">To be removed from this list <a href="http://198.51.100.77/remove">click here</a></font></center></body></html>
"""
ADVANCE_FEE = """From: "Mrs. Amina Okoro" <mrsamina@webmail.example>
Reply-To: amina.okoro.private@freemail.example
To: undisclosed-recipients:;
Subject: DEAR BELOVED, URGENT BUSINESS PROPOSAL
Date: Wed, 04 Mar 2026 22:41:10 +0100
Message-ID: <2026030422.a8812@webmail.example>
X-Mailer: The Bat! (v2.00.6)
MIME-Version: 1.0
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: 7bit

DEAR FRIEND,

I am Mrs. Amina Okoro, the widow of the late minister of petroleum. Before his death my husband deposited the sum of
US$18,500,000.00 (Eighteen Million Five Hundred Thousand United States Dollars) with a security company abroad. I need
a reliable and honest foreign partner who will assist me to transfer this money out of the country. You will receive 30%
of the total sum for your assistance. This transaction is 100% risk free and must be kept strictly confidential.

Please reply urgently with your full name, private telephone and fax numbers and your bank account details so that we can
proceed with the transfer of the fund.

Yours sincerely,
Mrs. Amina Okoro
"""
MORTGAGE = """From: "Loan Approval Dept" <approvals8841@low-rates.example>
To: user@example.org
Subject: Your mortgage application is approved - rates as low as 3.25%
Date: Thu, 05 Mar 2026 13:02:44 -0500
Message-ID: <54ab7e.77c1@low-rates.example>
X-Mailer: eGroups Message Poster
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="----=_NextPart_000_0025_8812"

------=_NextPart_000_0025_8812
Content-Type: text/plain; charset="us-ascii"

Refinance now! Rates as low as 3.25%. Bad credit? No problem! Get your free quote today:
http://www.low-rates.example/apply.php?aff=22

------=_NextPart_000_0025_8812
Content-Type: text/html; charset="us-ascii"

<html><head><title>rates</title></head><body><table width="600" border="0" cellpadding="0"><tr><td bgcolor="#003399">
<font face="Arial" color="#FFFFFF"><b>REFINANCE NOW!</b></font></td></tr><tr><td><p>Mortgage rates as low as <b>3.25%</b>.
Bad credit? No problem! Lenders compete for your loan. Save thousands of dollars every year, consolidate your debt and
lower your monthly payment. It takes only 60 seconds and there is no obligation.</p>
<p><a href="http://www.low-rates.example/apply.php?aff=22">Get your FREE quote today!</a></p></td></tr></table>
</body></html>
------=_NextPart_000_0025_8812--
"""
LOTTERY = """From: "International Lottery Promo" <claims@lotto-winners.example>
Reply-To: agent.claims@freemail.example
Subject: WINNING NOTIFICATION!!! BATCH No. 77/00/2231
Date: Fri, 06 Mar 2026 02:00:00 +0000
Message-ID: <77.2231@lotto-winners.example>
MIME-Version: 1.0
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

CONGRATULATIONS!!!

We are pleased to inform you that your e-mail address attached to ticket num=
ber 5647600545188 won the lottery in the 2nd category. You have therefore be=
en approved for a lump sum payout of US$1,500,000.00 (One Million Five Hundr=
ed Thousand Dollars). To claim your prize money contact your fiduciary agent=
 immediately with your full name, address, telephone number and this winning=
 notification. Keep this award confidential until your claim has been proces=
sed.

Sincerely,
Promotion Manager
"""
WORK_AT_HOME = """From: <jobs4u8812@fastcash.example>
To: user@example.org
Subject: Make $5,000 a week working from home - guaranteed income
Date: Sat, 07 Mar 2026 08:19:55 -0700
Message-ID: <200603070819.k27Fjt@fastcash.example>
X-Mailer: Mailloop 5.0
X-MSMail-Priority: High
MIME-Version: 1.0
Content-Type: text/html
Content-Transfer-Encoding: base64

PGh0bWw+PGJvZHk+PHA+QXJlIHlvdSB0aXJlZCBvZiB5b3VyIGJvc3M/IE1ha2UgJDUsMDAwIGEgd2VlayBmcm9tIHRoZSBjb21mb3J0IG9mIHlv
dXIgaG9tZSEgTm8gZXhwZXJpZW5jZSBuZWVkZWQsIG5vIHNlbGxpbmcsIGd1YXJhbnRlZWQgaW5jb21lLiBUaG91c2FuZHMgb2YgcGVvcGxlIGFy
ZSBhbHJlYWR5IGVhcm5pbmcgZXh0cmEgY2FzaCB3aXRoIG91ciBwcm92ZW4gc3lzdGVtLjwvcD48cD48YSBocmVmPSJodHRwOi8vd3d3LmZhc3Rj
YXNoLmV4YW1wbGUvam9pbj9pZD04ODEyIj5DbGljayBoZXJlIGZvciB5b3VyIEZSRUUgaW5mb3JtYXRpb24gcGFja2FnZTwvYT48L3A+PHA+VGhp
cyBvZmZlciB3aWxsIG5vdCBsYXN0LCBvcmRlciBub3cgYW5kIHN0YXJ0IGVhcm5pbmcgdG9kYXkhPC9wPjwvYm9keT48L2h0bWw+
"""
PHISHING = """From: "Account Security" <service@secure-update.example>
To: <user@example.org>
Subject: Your account will be suspended - verify your information
Date: Sun, 08 Mar 2026 19:33:01 +0000
Message-ID: <E1Hq-0007fV@host77.secure-update.example>
X-Priority: 1
MIME-Version: 1.0
Content-Type: text/html; charset=us-ascii

<html><body><p>Dear valued customer,</p>
<p>We recently noticed unusual activity in your bank account. For your protection your account access has been limited.
Please confirm your credit card and billing information within 24 hours, otherwise your account will be suspended.</p>
<p><a href="http://198.51.100.201/signin/verify.php">Click here to verify your account information</a></p>
<p>Thank you for your prompt attention.<br>Account Security Department</p></body></html>
"""
STOCK = """From: "Hot Picks" <alert@penny-alerts.example>
To: user@example.org
Subject: This stock is about to EXPLODE - buy now
Date: Mon, 09 Mar 2026 05:40:21 -0400
Message-ID: <01c6$77aa@penny-alerts.example>
X-Mailer: Microsoft Outlook Express 5.50.4133.2400
MIME-Version: 1.0
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: 7bit

INVESTOR ALERT! This company is set to explode on Monday!

Symbol: QXZP  Current price: $0.35  5-day target: $2.10

Huge news is expected and our last three picks made over 400% in profit for our subscribers. Do not miss this opportunity,
get in before the rush. Watch this one trade like crazy and make big money fast. This is a limited time opportunity and
you have received this offer because you opted in. To unsubscribe visit http://www.penny-alerts.example/remove.html
"""
PATCH = """Received: from mail.lists.example.net (mail.lists.example.net [192.0.2.25])
\tby mx.example.org (Postfix) with ESMTP id 4BGY for <dev@example.org>; Tue, 10 Mar 2026 09:00:10 +0100
From: Karl Beispiel <karl@example.net>
To: dev@lists.example.net
Cc: Maria Muster <maria@example.org>
Subject: Re: [PATCH v2 2/3] parser: do not read beyond the end of the buffer
Date: Tue, 10 Mar 2026 09:00:08 +0100
Message-ID: <20260310080008.GA2231@desk.example.net>
References: <20260309101010.1201-3-maria@example.org>
In-Reply-To: <20260309101010.1201-3-maria@example.org>
User-Agent: Mutt/1.10.1 (2018-07-13)
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
Content-Disposition: inline

On Mon, Mar 09, 2026 at 10:10:10AM +0100, Maria Muster wrote:
> The length is checked after the loop, so that a short
> buffer is read one octet beyond its end.
>
> Signed-off-by: Maria Muster <maria@example.org>

Looks good to me, but the check in parse_header() has the same
problem, see the second hunk. Could you fix both in v3? I would
also like to see a test for an empty buffer.

Reviewed-by: Karl Beispiel <karl@example.net>

Thanks,
Karl
"""
MEETING = """From: Petra Probe <petra.probe@example.org>
To: Team <team@example.org>
Subject: Minutes of Monday's meeting
Date: Tue, 10 Mar 2026 11:20:31 +0100
Message-ID: <8812AB@exchange.example.org>
MIME-Version: 1.0
X-Mailer: Microsoft Outlook 16.0
Thread-Index: AdH8ZkQx
Content-Language: en-GB
Content-Type: multipart/alternative; boundary="_000_8812exchange_"

--_000_8812exchange_
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Hi all,

please find below what we agreed on Monday. Anna writes the test plan until Friday, Bert looks at the build
failure on the old branch. We meet again next week, same room.

Regards, Petra

--_000_8812exchange_
Content-Type: text/html; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

<html><body><p>Hi all,</p><p>please find below what we agreed on Monday. Anna writes the test plan until Friday, =
Bert looks at the build failure on the old branch. We meet again next week, same room.</p><p>Regards, Petra</p>=
</body></html>

--_000_8812exchange_--
"""
QUESTION = """From: Jan Jansen <jan@example.com>
To: users@lists.example.net
Subject: mount fails after the upgrade
Date: Wed, 11 Mar 2026 20:14:02 +0100
Message-ID: <4f1c9e2a-77aa@example.com>
MIME-Version: 1.0
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:68.0) Gecko/20100101 Thunderbird/68.6.0
Content-Type: text/plain; charset=utf-8; format=flowed
Content-Transfer-Encoding: 7bit

Hello,

since I upgraded the kernel on my old workstation, mounting the second disk fails with "wrong fs type". The log says:

  EXT4-fs (sdb1): bad geometry: block count exceeds size of device

Before I run fsck on it: has anybody seen this with the new driver? The disk works in another machine. I can send the
whole log and the config if that helps.

Thanks in advance,
Jan
"""
ANNOUNCEMENT = """From: Release Team <releases@lists.example.net>
To: announce@lists.example.net
Subject: [ANNOUNCE] parser 2.4.1
Date: Thu, 12 Mar 2026 15:00:00 +0000
Message-ID: <20260312150000.77@lists.example.net>
List-Id: <announce.lists.example.net>
List-Unsubscribe: <https://lists.example.net/announce>
Precedence: list
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

The parser project is happy to announce version 2.4.1, a bug fix release.

Changes since 2.4.0:
 - the parser no longer reads beyond the end of short buffers
 - documentation of the configuration file
 - builds again with older compilers

Download: https://www.example.net/parser/parser-2.4.1.tar.xz
Please report bugs to the list. Thanks to everybody who sent patches and tested the release candidates.
"""


def _wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


SPAM = {
    name: _wire(text)
    for name, text in (
        ("pills", PILLS),
        ("advance fee", ADVANCE_FEE),
        ("mortgage", MORTGAGE),
        ("lottery", LOTTERY),
        ("work at home", WORK_AT_HOME),
        ("phishing", PHISHING),
        ("stock", STOCK),
    )
}
HAM = {
    name: _wire(text)
    for name, text in (("patch", PATCH), ("meeting", MEETING), ("question", QUESTION), ("announcement", ANNOUNCEMENT))
}

_WORK = """The patch moves the check before the loop so that a short buffer is refused at once.
I have tested it on the old machine and on the new one, both build without warnings now.
On Monday we talked about the schedule, and Anna said that the tests should be ready before the release.
Could you please send the log of the second run and the configuration that you used?
The function returns an error when the file does not exist, which is what the manual page says.
Thanks for the review, I will send a new version with your comments addressed.
The kernel prints the warning only once, so look at the beginning of the log after a reboot.
We should keep the old interface for one more release and mark it as deprecated in the documentation.
> I do not think that this is the right place for the check, the caller knows the length already.
In the second chapter the author describes how the village grew along the river in those years.
The build fails on the older compiler because the header is missing, see the attached output.
Signed-off-by: Karl Beispiel <karl@example.net>"""
_SENTENCES = _WORK.split("\n")


def innocent(size: int) -> str:
    """That many characters of what people write about their work, no two lines in a row the same."""
    lines = []
    length = number = 0
    while length < size:
        line = f"{_SENTENCES[(number * 7 + number // 12) % 12]} {number}"
        lines.append(line)
        length += len(line) + 2
        number += 1
    return "\r\n".join(lines)[:size]
