"""Names of checks in a configuration: known ones pass, another one is named with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.checks.names import NAMES, check_names
from filterd.config import parse_config
from filterd.errors import ConfigError


def test_every_name_may_be_observed_and_is_there_once() -> None:
    check_names(parse_config({"policy": {"observe_checks": list(NAMES)}}, Path("/nowhere")))
    assert len(set(NAMES)) == len(NAMES)


def test_an_unknown_name_is_named_with_its_key_and_the_names_that_there_are() -> None:
    config = parse_config({"policy": {"observe_checks": ["spf", "dnsbll"]}}, Path("/nowhere"))
    with pytest.raises(ConfigError) as refused:
        check_names(config)
    (problem,) = refused.value.problems
    assert problem.startswith("policy.observe_checks: expected names of lists, dnsbl")
    assert problem.endswith("found 'dnsbll'")
