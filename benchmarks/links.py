"""Owns the measurement of links and impersonation on labelled mail: which findings ham and spam have, and what looking costs.

Run: python -m benchmarks.links --corpus FOLDER   (a folder with index.tsv: label, path, date)
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from filterd.auth.author import author_domains
from filterd.checks.base import Check, CheckContext
from filterd.checks.impersonation import Impersonation
from filterd.checks.links import Links
from filterd.config import ImpersonationConfig
from filterd.content.confusables import fold
from filterd.content.freemail import FREEMAIL
from filterd.content.links import links_in
from filterd.content.lookalike import Lookalikes
from filterd.content.persons import name_keys, persons_in
from filterd.content.suffixes import organizational
from filterd.content.view import view_of
from filterd.deadline import Deadline
from filterd.mail.envelope import Connection, Envelope
from filterd.mail.evidence import Reason
from filterd.mail.message import Message

# Whom phishing of the corpus plays, with the endings and second names that are theirs.
PARTNERS = """
    paypal.com ebay.com amazon.com microsoft.com microsoftonline.com apple.com google.com googlemail.com netflix.com facebook.com
    facebookmail.com instagram.com linkedin.com dropbox.com docusign.com chase.com citibank.com wellsfargo.com bankofamerica.com
    santander.com bradesco.com.br itau.com.br nubank.com.br blockchain.com coinbase.com binance.com metamask.io dhl.com
    fedex.com ups.com usps.com yahoo.com outlook.com office.com adobe.com walmart.com costco.com intel.com ibm.com
    redhat.com kernel.org debian.org cnet.com nytimes.com sourceforge.net lindows.com kickstarter.com britishairways.com
"""
_CLIENT = Connection(ip_address("192.0.2.1"), helo="mail.example")
Key = tuple[str, str]


def main() -> int:
    """Tables in Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks.links", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with index.tsv")
    parser.add_argument("--people", type=int, default=60, help="most frequent authors of ham that are protected")
    parser.add_argument("--domains", type=int, default=300, help="domains of authors of ham that are protected at once")
    options = parser.parse_args()
    mail = list(_read(options.corpus))
    number = Counter(key for key, _ in mail)
    config = ImpersonationConfig.model_validate({"people": _people(mail, options.people)}, strict=False)
    lookalikes = Lookalikes(PARTNERS.split())
    impersonation = Impersonation(config, frozenset({"ours.example"}), lookalikes, None, time.time)
    hits: dict[str, Counter[Key]] = defaultdict(Counter)
    costs = {check.name: _run(check, mail, hits) for check in (Links(lookalikes), impersonation)}
    _table(number, hits)
    _chance(mail, number, options.domains)
    print("\nCPU, parts and text of the message read before:")
    for name, seconds in costs.items():
        print(f"- {name}: {sum(seconds) / len(seconds) * 1e6:.0f} µs in the mean, p99 {_p99(seconds) * 1e6:.0f} µs")
    _cost_of_likeness()
    return 0


def _read(folder: Path) -> Iterator[tuple[Key, Message]]:
    for line in (folder / "index.tsv").read_text("utf-8").splitlines():
        label, path, _ = line.split("\t")
        octets = (folder / path).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        message = Message(octets)
        view_of(message)
        yield (path.partition("/")[0], label), message


def _people(mail: list[tuple[Key, Message]], most: int) -> list[dict[str, object]]:
    """The authors of ham by how often they write, each with the address that they use most."""
    addresses: dict[frozenset[str], Counter[str]] = defaultdict(Counter)
    for (_, label), message in mail:
        for person in persons_in(message, "from")[:1] if label == "ham" else ():
            for key in sorted(name_keys(person.shown), key=sorted)[:1]:
                addresses[key][f"{person.local}@{person.domain}".lower()] += 1
    frequent = sorted(addresses, key=lambda key: -addresses[key].total())
    people = [{"name": " ".join(sorted(key)), "addresses": [addresses[key].most_common(1)[0][0]]} for key in frequent]
    return [person for person in people if _is_plain(str(person["addresses"]))][:most]


def _is_plain(address: str) -> bool:
    return "@" in address and " " not in address and address.isascii()


def _run(check: Check, mail: list[tuple[Key, Message]], hits: dict[str, Counter[Key]]) -> list[float]:
    async def run() -> list[float]:
        seconds = []
        for key, message in mail:
            ctx = CheckContext(_CLIENT, Deadline.after(60), message=message, envelope=Envelope("ID", None))
            started = time.process_time()
            found = list(await check(ctx))
            seconds.append(time.process_time() - started)
            for item in found:
                hits[item.reason][key] += 1
        return seconds

    return asyncio.run(run())


def _table(number: Counter[Key], hits: dict[str, Counter[Key]]) -> None:
    keys = sorted(number)
    print("| finding | " + " | ".join(f"{folder} {label} ({number[folder, label]})" for folder, label in keys) + " |")
    print("|---" * (len(keys) + 1) + "|")
    for reason in Reason:
        if reason in hits:
            print(f"| {reason} | " + " | ".join(str(hits[reason][key] or "") for key in keys) + " |")


def _chance(mail: list[tuple[Key, Message]], number: Counter[Key], most: int) -> None:
    """How often real domains look like other real ones."""
    owners = Counter(organizational(d) for (_, label), m in mail if label == "ham" for d in author_domains(m)[:2])
    protected = [domain for domain, _ in owners.most_common() if domain not in FREEMAIL][:most]
    lookalikes = Lookalikes(protected)
    hits: Counter[tuple[str, str]] = Counter()
    for (_, label), message in mail:
        places = {
            "author": author_domains(message)[:2],
            "link": [link.host for link in links_in(message) if link.domain],
        }
        for place, hosts in places.items():
            for kind in {found.kind for host in hosts if (found := lookalikes.find(host)) is not None}:
                hits[f"{place} {kind}", label] += 1
    totals = {label: sum(count for (_, of), count in number.items() if of == label) for label in ("ham", "spam")}
    print(f"\nWith {len(protected)} domains of authors of ham protected at once, messages with a look-alike:")
    for place in sorted({place for place, _ in hits}):
        print("- " + place + ": " + ", ".join(f"{hits[place, label]} of {totals[label]} {label}" for label in totals))


def _cost_of_likeness() -> None:
    many = Lookalikes(f"{chr(97 + n % 26)}{n}company{n * 7919 % 9973}.com" for n in range(100))
    hosts = [f"click{n}.newsletter-of-some-shop{n}.com" for n in range(2000)]
    started = time.process_time()
    for host in hosts:
        many.find(host)
    print(f"- a new host beside 100 protected domains: {(time.process_time() - started) / len(hosts) * 1e6:.0f} µs")
    text = "Это обычное письмо на русском языке, vіagrа тоже. " * 45
    started = time.process_time()
    for _ in range(1000):
        fold(text)
    print(f"- folding {len(text.encode())} octets of Russian: {(time.process_time() - started) * 1e3:.0f} µs")


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


if __name__ == "__main__":
    raise SystemExit(main())
