"""The pages for administrators of Exchange: every table can be pasted, every command typed."""

from __future__ import annotations

import re
import shlex
import textwrap
import tomllib
from pathlib import Path

import pytest

from filterd.cli import parser
from filterd.config import parse_config

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (
    *("active-directory", "callahead", "directory", "exchange", "exchange-logs", "hybrid", "outbound", "push"),
    *("safelists", "scl"),
)


def blocks(page: str, kind: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text()
    found = re.findall(rf"^ *```{kind}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.parametrize("page", PAGES)
def test_its_tables_are_good(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        parse_config(tomllib.loads(block), tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_are_there(page: str) -> None:
    lines = [
        line.removeprefix("$ ")
        for block in (*blocks(page, "sh"), *blocks(page, ""))
        for line in block.replace("\\\n", " ").splitlines()
        if line.removeprefix("$ ").startswith("filterd ")
    ]
    for line in lines:
        parser().parse_args(shlex.split(line, comments=True)[1:])


def test_there_is_something_to_paste_and_to_type() -> None:
    assert sum(len(blocks(page, "toml")) for page in PAGES) >= 8
    assert sum(len(blocks(page, "sh")) for page in PAGES) >= 5
