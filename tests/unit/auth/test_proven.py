"""Which domains somebody stands for."""

from __future__ import annotations

from filterd.auth.proven import proven_domains
from filterd.mail.evidence import Evidence, Reason, Result, Stage


def found(check: str, name: str, domain: str, result: Result = Result.PASS, reason: Reason = Reason.OK) -> Evidence:
    return Evidence(check, Stage.DATA, result, reason, properties={name: domain})


def test_passes_count_and_a_pass_that_a_trusted_sealer_saw() -> None:
    evidence = [
        found("dmarc", "header.from", "a.example"),
        found("dmarc", "header.from", "b.example", Result.FAIL, Reason.NOT_ALIGNED_BUT_SEALED),
        found("spf", "smtp.mailfrom", "c.example"),
        found("dkim", "header.d", "d.example"),
    ]
    assert proven_domains(evidence) == {"a.example", "b.example", "c.example", "d.example"}


def test_what_proves_nothing() -> None:
    evidence = [
        found("dmarc", "header.from", "a.example", Result.FAIL, Reason.NOT_ALIGNED_NONE),
        found("spf", "smtp.helo", "b.example"),
        found("spf_helo", "smtp.helo", "c.example"),
        found("dkim", "header.d", "d.example", Result.TEMPERROR),
        Evidence("dkim", Stage.DATA, Result.TEMPERROR, Reason.TIMEOUT),
    ]
    assert proven_domains(evidence) == frozenset()
