"""Tables of lists of domains."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.config import parse_config
from filterd.errors import ConfigError


def test_zones_are_an_array_of_tables(tmp_path: Path) -> None:
    zones = [
        {"zone": "DBL.example.", "ask": ["domains", "hosts"], "return_codes": ["127.0.1.2"]},
        {"zone": "multi.example"},
    ]
    config = parse_config({"url_lists": {"zones": zones}, "dnsbl": [{"zone": "bl.example"}]}, tmp_path)
    assert config.url_lists.zones[0].return_codes == ("127.0.1.2/32",)
    assert config.list_zones == ("bl.example", "dbl.example", "multi.example")


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ({}, r"url_lists\.zones\[0\]\.zone"),
        ({"zone": "x.example", "ask": ["everything"]}, r"url_lists\.zones\[0\]\.ask"),
        ({"zone": "x.example", "weight": -1.0}, r"url_lists\.zones\[0\]\.weight"),
        ({"zone": "x.example", "return_codes": ["x"]}, "expected an address or a network"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, zone: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"url_lists": {"zones": [zone]}}, tmp_path)
