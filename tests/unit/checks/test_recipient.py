"""Who may send to strangers: our own users, over upstream; nobody else.  Who may report mail: whoever is inside."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.recipient import RecipientCheck
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Recipient, TrustClass
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
