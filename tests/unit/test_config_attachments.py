"""The table [attachments]: nothing is refused by default, and what is wrong is named with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from filterd.config import AttachmentsConfig, parse_config
from filterd.errors import ConfigError


def table(**keys: Any) -> AttachmentsConfig:
    return parse_config({"attachments": keys}, Path("/etc/filterd")).attachments


def test_nothing_is_refused_by_default() -> None:
    handling = {value for value in table().model_dump().values() if isinstance(value, str)}
    assert handling == {"quarantine", "weigh", "ignore"}


def test_names_that_are_allowed_are_compared_without_case() -> None:
    assert table(allow=["Price-List-*.XLSM"]).allow == ("price-list-*.xlsm",)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"executables": "delete"}, "attachments.executables: "),
        ({"allow": [""]}, "attachments.allow[0]: expected a file name with at most four *"),
        ({"allow": ["*a*b*c*d*"]}, "attachments.allow[0]: expected a file name with at most four *"),
        ({"memory_bytes": 1_000}, "attachments.memory_bytes: "),
        ({"depth": 0}, "attachments.depth: "),
        ({"exe": "reject"}, "attachments.exe: unknown key"),
    ],
)
def test_what_is_wrong_is_named(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(**keys)
    assert expected in str(caught.value)
