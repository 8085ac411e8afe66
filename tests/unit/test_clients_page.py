"""docs/clients.md: what it tells people to write can be used."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

from filterd.cli import parser
from filterd.commands.listfile import read_entries
from filterd.config import parse_config
from filterd.mail.network import parse_range

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clients.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_its_commands_are_there() -> None:
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        parser().parse_args(shlex.split(line, comments=True)[1:])


def test_its_zones_are_good(tmp_path: Path) -> None:
    (zones,) = blocks("toml")
    assert [zone.weight for zone in parse_config(tomllib.loads(zones), tmp_path).dnsbl] == [8.0, -2.0]


def test_its_file_can_be_imported() -> None:
    (lines,) = blocks("text")
    assert [(entry.kind, entry.network) for entry in read_entries(lines, "page", 0)] == [
        ("allow", "198.51.100.7"),
        ("block", "192.0.2.0/24"),
        ("block", "192.0.2.10-192.0.2.40"),
    ]


def test_its_range_is_made_of_the_networks_it_names() -> None:
    networks = [str(network) for network in parse_range("192.0.2.10-192.0.2.40")]
    assert f"{', '.join(networks[:-1])} and {networks[-1]}" in " ".join(PAGE.split())
