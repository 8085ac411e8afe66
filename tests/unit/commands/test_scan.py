"""`filterd scan` as an administrator reads it."""

from __future__ import annotations

from filterd.commands.scan import render
from filterd.engine.policy import Policy, decide
from filterd.engine.record import Explainer, evidence_json
from filterd.mail.evidence import Evidence, Reason, Result, Stage

FOUND = [
    Evidence("structure", Stage.DATA, Result.FAIL, Reason.BAD_DATE, detail="no zone", log_text="no zone"),
    Evidence(
        "links", Stage.DATA, Result.FAIL, Reason.LINK_USERINFO, detail="a.example", log_text="a.example; b.example"
    ),
    Evidence(
        "spoof", Stage.DATA, Result.FAIL, Reason.OWN_DOMAIN, detail="\x1b[2Jours.example\u202e", log_text="no SPF"
    ),
]


def test_what_was_found_is_said_once_and_cannot_write_to_the_terminal() -> None:
    verdict = decide(FOUND, Policy())
    said = render(
        {
            "id": "ID",
            **Explainer(FOUND, Policy(), accepted=True).verdict(verdict, "anna@example.org"),
            "evidence": evidence_json(FOUND, verdict),
            "recipients": [],
        }
    )
    found = said.partition("What was found:")[2]
    assert found.count("no zone") == 1
    assert found.count("a.example") == 1
    assert "a.example; b.example" in found
    assert "ours.example\N{REPLACEMENT CHARACTER} no SPF" in found
    assert all(char.isprintable() or char == "\n" for char in said)
