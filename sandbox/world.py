"""Owns the names and addresses of the sandbox's little Internet.  RFC 2606 names, loopback addresses; RFC 5782 section 5.

Every client has a name that is confirmed, so that the samples are told apart by what they stand for.
Must not know what is sent.
"""

from __future__ import annotations

from sandbox.signing import DkimKey

OUR_DOMAIN = "example.com"
RECIPIENTS = ("anna@example.com", "ben@example.com", "postmaster@example.com")
DNSBL = "dnsbl.example"

LOCAL = "127.0.0.1"  # whoever tries filterd out by hand
PARTNER = "127.0.0.10"  # mail.example.org: SPF pass, DKIM, DMARC
SHOP = "127.0.0.20"  # not in the SPF record of shop.example, which ends in ~all
FORGER = "127.0.0.30"  # not in the SPF record of bank.example, which ends in -all
LISTED = "127.0.0.66"  # on dnsbl.example


def make_zones(key: DkimKey) -> dict[str, str]:
    """The zones, with the public half of the partner's key."""
    return {
        "example.org": f"""
            @                    IN A   {PARTNER}
            @                    IN MX  10 mail
            @                    IN TXT "v=spf1 a:mail.example.org -all"
            mail                 IN A   {PARTNER}
            mail                 IN TXT "v=spf1 a -all"
            _dmarc               IN TXT "v=DMARC1; p=reject"
            {key.selector}._domainkey IN TXT {key.record}
        """,
        OUR_DOMAIN: """
            @      IN MX  10 filter
            @      IN TXT "v=spf1 -all"
            filter IN A   127.0.0.1
            _dmarc IN TXT "v=DMARC1; p=reject"
        """,
        "shop.example": """
            @      IN A   127.0.0.21
            @      IN MX  10 mail
            @      IN TXT "v=spf1 ip4:127.0.0.21 ~all"
            mail   IN A   127.0.0.21
        """,
        "bank.example": """
            @      IN A   127.0.0.31
            @      IN MX  10 mail
            @      IN TXT "v=spf1 ip4:127.0.0.31 -all"
            mail   IN A   127.0.0.31
            _dmarc IN TXT "v=DMARC1; p=reject"
        """,
        "bulk.example": f"""
            @      IN A   {LISTED}
            @      IN TXT "v=spf1 ip4:{LISTED} -all"
            mail   IN A   {LISTED}
        """,
        # RFC 5782 section 5: a zone lists 127.0.0.2 and never 127.0.0.1
        DNSBL: f"""
            2.0.0.127 IN A   127.0.0.2
            2.0.0.127 IN TXT "test entry"
            {_reversed(LISTED)} IN A 127.0.0.2
            {_reversed(LISTED)} IN TXT "sandbox: sends bulk mail"
        """,
        # the senders of spam have names that are right, as botnets do: they are told apart by other things
        "access.example": f"""
            pool-20 IN A {SHOP}
            pool-30 IN A {FORGER}
        """,
        "127.in-addr.arpa": f"""
            {_reversed(LOCAL, 3)}   IN PTR localhost.
            {_reversed(PARTNER, 3)} IN PTR mail.example.org.
            {_reversed(SHOP, 3)}    IN PTR pool-20.access.example.
            {_reversed(FORGER, 3)}  IN PTR pool-30.access.example.
            {_reversed(LISTED, 3)}  IN PTR mail.bulk.example.
        """,
        "localhost": f"@ IN A {LOCAL}",
    }


def _reversed(address: str, octets: int = 4) -> str:
    return ".".join(reversed(address.split(".")[-octets:]))
