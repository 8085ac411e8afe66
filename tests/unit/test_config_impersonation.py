"""Tables of protected people and partners."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.config import parse_config
from filterd.errors import ConfigError


def test_people_and_partners(tmp_path: Path) -> None:
    people = [{"name": "Erika Mustermann", "addresses": ["erika@example.com"]}, {"name": "Jörg Müller"}]
    config = parse_config({"impersonation": {"partners": ["Bank.com"], "people": people}}, tmp_path).impersonation
    assert config.partners == ("bank.com",)
    assert [person.name for person in config.people] == ["Erika Mustermann", "Jörg Müller"]


@pytest.mark.parametrize(
    ("person", "said"),
    [
        ({"name": "Erika"}, r"impersonation\.people\[0\]\.name: expected a first and a last name"),
        (
            {"name": "A B", "addresses": ["nobody"]},
            r"impersonation\.people\[0\]\.addresses\[0\]: expected a mail address",
        ),
    ],
)
def test_errors_name_the_key_and_the_remedy(tmp_path: Path, person: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"impersonation": {"people": [person]}}, tmp_path)
