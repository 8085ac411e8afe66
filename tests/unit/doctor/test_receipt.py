"""Each end of a probe has its line; without a receipt nobody is guilty."""

from __future__ import annotations

import pytest

from filterd.adapters.exchange_probe import Answer, Questions, Seen
from filterd.doctor.finding import Finding, Level
from filterd.doctor.receipt import judge_receipt, not_waited
from filterd.exchange.receipt import Action, Fate, Receipt
from filterd.mail.reply import Reply
from filterd.probing import Came

WHAT = "exchange ex01.example.org:25"
TO = "filterd-probe-x@filter.example.net"
ASKED = Questions("filter.example.net", "example.org", probe="bob@example.org", receipt_to=TO)
TAKEN = Seen(probe=Answer(Reply(250, "2.6.0", "Queued mail for delivery")), receipt_asked=True)


def judged(action: Action, status: str = "", diagnostic: str = "", by: str = "EX01.example.org") -> Finding:
    receipt = Receipt(by, "", (Fate(action, "bob@example.org", status, diagnostic),))
    (found,) = judge_receipt(WHAT, TAKEN, ASKED, Came(receipt, 2.14), 60.0)
    assert found.what == f"{WHAT}, receipt"
    return found


def test_it_has_arrived() -> None:
    found = judged(Action.DELIVERED, "2.0.0")
    assert found == Finding(
        Level.OK, found.what, "delivered to bob@example.org after 2.1 s (delivered, 2.0.0; by EX01.example.org)"
    )
    assert judged(Action.DELIVERED, by="").text == "delivered to bob@example.org after 2.1 s (delivered)"


@pytest.mark.parametrize(
    ("action", "means"), [(Action.RELAYED, "sends no receipts"), (Action.EXPANDED, "it is a group")]
)
def test_it_is_on_its_way_and_what_that_means(action: Action, means: str) -> None:
    found = judged(action, "2.0.0")
    assert found.level is Level.OK
    assert found.text.startswith("on its way to bob@example.org after 2.1 s")
    assert means in found.remedy


@pytest.mark.parametrize(
    ("status", "diagnostic", "remedy"),
    [
        ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", "directory"),
        ("5.2.3", "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", "size"),
        ("4.4.7", "", ""),
        ("", "", ""),
        ("2.0.0", "x" * 300, ""),
    ],
)
def test_it_did_not_arrive(status: str, diagnostic: str, remedy: str) -> None:
    found = judged(Action.FAILED, status, diagnostic)
    assert found.level is Level.FAIL
    assert (diagnostic or "no reason is given") in found.text
    assert remedy in found.remedy.lower()
    assert found.remedy


def test_it_is_late() -> None:
    found = judged(Action.DELAYED, "4.4.7", "451 4.4.1 Connection timed out")
    assert found.level is Level.WARN
    assert "goes on trying" in found.text
    assert "Get-Queue" in found.remedy


@pytest.mark.parametrize(
    ("came", "more"),
    [
        (Came(), ""),
        (Came(other="01ABC"), "filterd trace 01ABC"),
        (Came(problem="database is locked"), "database is locked"),
    ],
)
def test_without_a_receipt_the_likely_reasons_stand_first(came: Came, more: str) -> None:
    (found,) = judge_receipt(WHAT, TAKEN, ASKED, came, 1.5)
    assert found.level is Level.WARN
    assert "none within 1.5 s" in found.text
    assert more in found.text
    words = ("DeliveryReportEnabled", "Get-SendConnector", "MX", "not running", TO)
    places = [found.remedy.index(word) for word in words]
    assert places == sorted(places)


def test_exchange_that_offers_no_dsn_is_told_how() -> None:
    seen = Seen(probe=TAKEN.probe)
    (found,) = judge_receipt(WHAT, seen, ASKED, None, 60.0)
    assert found.level is Level.WARN
    assert "DeliveryStatusNotificationEnabled" in found.remedy


def test_a_probe_that_was_refused_has_no_receipt() -> None:
    refused = Seen(probe=Answer(Reply(550, "5.7.1", "No")), receipt_asked=True)
    for seen in (refused, Seen(), Seen(probe=Answer(None, 1.0, "lost"), receipt_asked=True)):
        assert judge_receipt(WHAT, seen, ASKED, None, 60.0) == []
        assert not_waited(WHAT, seen, "why", "what to do") == []


def test_why_it_is_not_waited_for_is_said() -> None:
    (found,) = not_waited(WHAT, TAKEN, "filterd is not running", "start it")
    assert (found.level, found.text, found.remedy) == (Level.WARN, "not waited for: filterd is not running", "start it")
