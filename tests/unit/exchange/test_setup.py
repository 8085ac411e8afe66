"""No script is made of what cannot work: what is wrong is named, with what was expected."""

from __future__ import annotations

from typing import Any

import pytest

from filterd.exchange.setup import (
    CONNECTOR,
    OUTBOUND,
    REPORT_CONTACTS,
    REPORTS,
    RULES,
    Setup,
    SetupError,
    changes,
    contact_name,
)
from filterd.reportmail.labels import LABELS

BASE: dict[str, Any] = {"servers": ("EX01",), "addresses": ("10.0.0.25",)}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"servers": ()}, "server"),
        ({"servers": ("EX01", " ")}, "server"),
        ({"addresses": ()}, "filter address"),
        ({"addresses": ("10.0.0.0/8",)}, "one IP address"),
        ({"addresses": ("0.0.0.0-255.255.255.255",)}, "one IP address"),
        ({"addresses": ("10.0.0.25'; Remove-Mailbox *",)}, "one IP address"),
        *(
            ({"addresses": (address,)}, "no address of one machine")
            for address in ("0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "255.255.255.255", "::ffff:127.0.0.1")
        ),
        ({"addresses": ("fe80::1%eth0",)}, "no zone"),
        ({"fqdn": "mail server"}, "fqdn"),
        ({"fqdn": "Filter.example.org", "hostname": "filter.example.org"}, "our own name"),
        ({"fqdn": "filter.example.org", "hostname": "Filter.Example.org"}, "our own name"),
        ({"fqdn": "b\u00fccher.example"}, "fqdn"),
        ({"report_domain": "x';y"}, "report domain"),
        ({"report_domain": "b\u00fccher.example"}, "report domain"),
        ({"thumbprint": "abc"}, "40 hexadecimal"),
    ],
)
def test_what_cannot_work_is_refused_with_what_was_expected(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(SetupError, match=word):
        Setup(**{**BASE, **changes})


def test_addresses_and_servers_stand_once_and_as_exchange_writes_them() -> None:
    setup = Setup(("EX01", "ex01", "EX02"), ("10.0.0.25", "FD00:0:0::25", "fd00::25", "::ffff:10.0.0.25", "10.0.0.25"))
    assert setup.addresses == ("10.0.0.25", "fd00::25")
    assert [name.upper() for name in setup.servers] == ["EX01", "EX02"]


def test_what_is_enough() -> None:
    setup = Setup(**BASE, hostname="filter.example.org", fqdn="mail.example.org", thumbprint="AB" * 20)
    assert (setup.scl_mode, setup.report_domain, setup.outbound) == ("rule", "", False)


def test_what_stands_at_a_customers_is_found_again_by_its_name() -> None:
    """Who renames one of these makes a second one at every site, and the undo script leaves the first."""
    assert (CONNECTOR, OUTBOUND, REPORTS) == ("Inbound from filterd", "Outbound through filterd", "Reports to filterd")
    assert RULES == "filterd: SCL "
    assert contact_name("spam") == "filterd report spam"


def test_people_find_a_contact_for_each_label_that_a_report_can_have() -> None:
    assert {local for local, _ in REPORT_CONTACTS} == set(LABELS)
    assert [title for _, title in REPORT_CONTACTS] == ["Report spam", "Report phishing", "Report not spam"]


def test_an_administrator_reads_first_what_will_be_changed() -> None:
    plain = changes(Setup(**BASE))
    assert [line.partition(" ")[0] for line in plain] == ["receive", "transport", "InternalSMTPServers"]
    everything = changes(Setup(**BASE, scl_mode="organization", report_domain="rep.example.org", outbound=True))
    for name in (CONNECTOR, REPORTS, OUTBOUND, "ms-Exch-Accept-Headers-Organization"):
        assert any(name in line for line in everything), name
    assert not any("rep.example.org" in line or "EX01" in line for line in everything), "values are no comments"
