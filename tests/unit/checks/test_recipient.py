"""Who may send to strangers: our own users, over upstream; nobody else."""

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
