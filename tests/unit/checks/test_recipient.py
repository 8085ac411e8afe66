"""Who may send to strangers: our own users, over upstream; nobody else.  Who may report mail: whoever is inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from filterd.checks.recipient import RecipientCheck
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient, TrustClass
from filterd.mail.evidence import Reason
from tests.support.checks import CLIENT, ask, context
from tests.support.doubles import ScriptedDirectory

FOREIGN, NOBODY = Mailbox("x", "elsewhere.example"), Mailbox("nobody", "example.org")


@pytest.mark.parametrize(
    ("trust", "address", "reason"),
    [
        (TrustClass.AUTHENTICATED, FOREIGN, Reason.OK),
        (TrustClass.AUTHENTICATED, NOBODY, Reason.RECIPIENT_UNKNOWN),
        (TrustClass.INTERNET, FOREIGN, Reason.RELAY_DENIED),
        (TrustClass.INTERNAL, FOREIGN, Reason.RELAY_DENIED),
        (TrustClass.REPORT, FOREIGN, Reason.RELAY_DENIED),
    ],
)
def test_only_who_has_authenticated_may_send_to_foreign_domains(
    trust: TrustClass, address: Mailbox, reason: Reason
) -> None:
    check = RecipientCheck(ScriptedDirectory(frozenset({"nobody"})))
    (found,) = ask(check, context(replace(CLIENT, trust=trust), recipient=Recipient(address)))
    assert (found.reason, found.recipient) == (reason, address.key)
    assert ("foreign" in found.log_text) == (address is FOREIGN)


@pytest.mark.parametrize("local", ["spam", "phish", "notspam", "SPAM"])
@pytest.mark.parametrize(
    ("trust", "reason"),
    [
        (TrustClass.REPORT, Reason.USER_REPORT),
        (TrustClass.INTERNAL, Reason.USER_REPORT),
        (TrustClass.AUTHENTICATED, Reason.USER_REPORT),
        (TrustClass.INTERNET, Reason.RECIPIENT_UNKNOWN),
    ],
)
@pytest.mark.parametrize("domain", ["example.org", "reports.example.net"])
def test_report_addresses_exist_for_those_inside_only(
    local: str, trust: TrustClass, reason: Reason, domain: str
) -> None:
    check = RecipientCheck(ScriptedDirectory(down=True), domain)  # no directory is asked about them
    mailbox = Mailbox(local, domain.upper())
    (found,) = ask(check, context(replace(CLIENT, trust=trust), recipient=Recipient(mailbox)))
    assert (found.reason, found.recipient) == (reason, mailbox.key)


def test_who_is_logged_in_is_written_down_with_a_report() -> None:
    check = RecipientCheck(ScriptedDirectory(), "example.org")
    for user in ("", "anna"):
        inside = replace(CLIENT, trust=TrustClass.AUTHENTICATED, user=user)
        (found,) = ask(check, context(inside, recipient=Recipient(Mailbox("spam", "example.org"))))
        assert dict(found.properties) == ({"smtp.auth": "anna"} if user else {})


@pytest.mark.parametrize(("local", "domain"), [("spam", "example.org"), ("anna", "reports.example.org")])
def test_other_addresses_are_no_report_addresses(local: str, domain: str) -> None:
    check = RecipientCheck(ScriptedDirectory(frozenset({"nobody"})), "reports.example.org")
    inside = replace(CLIENT, trust=TrustClass.REPORT)
    (found,) = ask(check, context(inside, recipient=Recipient(Mailbox(local, domain))))
    assert found.reason is (Reason.OK if domain == "example.org" else Reason.RELAY_DENIED)


def test_without_a_domain_for_reports_there_are_no_report_addresses() -> None:
    check = RecipientCheck(ScriptedDirectory())
    inside = replace(CLIENT, trust=TrustClass.REPORT)
    (found,) = ask(check, context(inside, recipient=Recipient(Mailbox("spam", "example.org"))))
    assert found.reason is Reason.OK


HOSTNAME, GENUINE = "filter.example.net", "filterd-probe-genuine"


@dataclass
class OneProbe:
    """Knows one address, and notes what it is asked for."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def knows(self, local: str, domain: str) -> bool:
        self.asked.append((local, domain))
        return (local.lower(), domain) == (GENUINE, HOSTNAME)


def receipt(
    trust: TrustClass, local: str, domain: str = HOSTNAME, sender: Mailbox | None = None, down: bool = False
) -> tuple[Reason, OneProbe]:
    """What is found about a recipient, and who was asked."""
    probes = OneProbe()
    check = RecipientCheck(ScriptedDirectory(down=down), "", HOSTNAME, probes)
    client = replace(CLIENT, trust=trust)
    (found,) = ask(check, context(client, envelope=Envelope("ID", sender), recipient=Recipient(Mailbox(local, domain))))
    assert found.recipient == Mailbox(local, domain).key
    return found.reason, probes


@pytest.mark.parametrize("trust", [TrustClass.INTERNET, TrustClass.OUTBOUND])
@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_receipt_for_a_probe_is_known_by_its_address_and_no_directory_is_asked(
    trust: TrustClass, spelled: Callable[[str], str]
) -> None:
    assert receipt(trust, spelled(GENUINE), spelled(HOSTNAME), down=True)[0] is Reason.PROBE_RECEIPT


@pytest.mark.parametrize(
    ("trust", "usual"),
    [
        (TrustClass.INTERNET, Reason.RELAY_DENIED),
        (TrustClass.INTERNAL, Reason.RELAY_DENIED),
        (TrustClass.REPORT, Reason.RELAY_DENIED),
        (TrustClass.AUTHENTICATED, Reason.RECIPIENT_UNKNOWN),
        (TrustClass.OUTBOUND, Reason.RECIPIENT_UNKNOWN),
    ],
)
def test_whoever_else_writes_there_is_refused_and_nothing_is_relayed(trust: TrustClass, usual: Reason) -> None:
    assert receipt(trust, "filterd-probe-forged")[0] is usual
    assert receipt(trust, GENUINE, sender=Mailbox("a", "example.org"))[0] is usual
    if trust not in (TrustClass.INTERNET, TrustClass.OUTBOUND):
        assert receipt(trust, GENUINE)[0] is usual


def test_addresses_of_others_that_begin_alike_are_as_any_other() -> None:
    for trust, usual in ((TrustClass.OUTBOUND, Reason.OK), (TrustClass.INTERNET, Reason.RELAY_DENIED)):
        assert receipt(trust, "filterd-probe-forged", "elsewhere.example")[0] is usual
    assert receipt(TrustClass.INTERNET, "filterd-probe-1", "example.org")[0] is Reason.OK


def test_the_key_is_not_looked_at_for_other_addresses() -> None:
    for local in ("anna", "filterd", "filterd-prob"):
        assert receipt(TrustClass.INTERNET, local)[1].asked == []
