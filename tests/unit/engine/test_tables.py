"""The tables of policy are complete."""

from __future__ import annotations

from filterd.checks.registry import NAMES
from filterd.engine.tables import FAILURE, GROUP_OF, STAGES, WEIGHTS, OnFailure
from filterd.mail.evidence import Stage

NOT_CHECKS = {"storage", "storage_full", "upstream", "upstream_in_doubt", "signing_key", "engine"}


def test_every_check_has_exactly_one_failure_row() -> None:
    assert set(FAILURE) - NOT_CHECKS == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


def test_every_row_that_defers_says_so_with_a_temporary_reply() -> None:
    for name, row in FAILURE.items():
        if row.default is OnFailure.DEFER:
            assert row.reply is not None, name
            assert row.reply.is_temporary, name


def test_every_stage_has_a_deadline_below_the_clients_patience() -> None:
    assert set(STAGES) == set(Stage)
    assert all(0 < row.seconds <= 30 for row in STAGES.values())


def test_every_weight_belongs_to_a_check_with_a_group() -> None:
    assert {check for check, _ in WEIGHTS} <= set(NAMES)
    assert set(GROUP_OF) == set(NAMES)
