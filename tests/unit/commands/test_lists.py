"""`filterd lists` as an administrator meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filterd.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "filterd.toml"
    path.write_text("[lists]\nblock = ['203.0.113.0/24', '192.0.2.0/24']\nallow = ['203.0.113.5-203.0.113.9']\n")
    return path


def lists(config: Path, *words: str) -> int:
    return main(["lists", *words, "--config", str(config)])


def held(config: Path, capsys: pytest.CaptureFixture[str], address: str) -> dict[str, object] | None:
    status = lists(config, "test", address, "--json")
    found = json.loads(capsys.readouterr().out)["entry"]
    assert status == (0 if found else 1)
    return found  # type: ignore[no-any-return]


def test_a_range_with_comment_and_expiry(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lists(config, "add", "allow", "192.0.2.10-192.0.2.40", "--comment", "partner", "--days", "7") == 0
    number = int(capsys.readouterr().out)
    found = held(config, capsys, "192.0.2.40")
    assert found is not None
    assert (found["kind"], found["network"], found["source"]) == ("allow", "192.0.2.10-192.0.2.40", "database")
    assert (found["comment"], found["id"]) == ("partner", number)
    assert isinstance(found["expires_ms"], int)
    other = held(config, capsys, "192.0.2.41")
    assert other is not None
    assert (other["kind"], other["source"], other["id"]) == ("block", "configuration", None)
    assert lists(config, "show") == 0
    assert "192.0.2.10-192.0.2.40" in capsys.readouterr().out


def test_which_entry_holds_an_address_for_people(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lists(config, "test", "203.0.113.7") == 0
    page = capsys.readouterr().out
    assert "allow" in page
    assert "203.0.113.5-203.0.113.9" in page
    assert lists(config, "test", "198.51.100.1") == 1
    assert "no entry holds it" in capsys.readouterr().out
    assert lists(config, "test", "nowhere") == 2
    assert "address: expected one such as 192.0.2.1" in capsys.readouterr().err


def test_until(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lists(config, "add", "block", "2001:db8::/32", "--until", "2099-12-31") == 0
    capsys.readouterr()
    found = held(config, capsys, "2001:db8::1")
    assert found is not None
    assert found["expires_ms"] == 4_102_444_800_000
    for words in (("--until", "2020-01-01"), ("--until", "soon"), ("--days", "x"), ("--days", "-3")):
        assert lists(config, "add", "block", "2001:db8::/32", *words) == 2
        assert f"{words[0].strip('-')}: expected" in capsys.readouterr().err


def test_import_is_all_or_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config.parent / "entries.txt"
    file.write_text("block 198.51.100.0/24 30 # campaign\nallow 198.51.100.7\nblock nonsense\n")
    assert lists(config, "import", str(file)) == 2
    assert "entries.txt:3: network: expected" in capsys.readouterr().err
    assert held(config, capsys, "198.51.100.7") is None
    file.write_text("block 198.51.100.0/24 30 # campaign\nallow 198.51.100.7\n")
    assert lists(config, "import", str(file)) == 0
    assert capsys.readouterr().out == "2\n"
    found = held(config, capsys, "198.51.100.9")
    assert found is not None
    assert found["comment"] == "campaign"
    assert (held(config, capsys, "198.51.100.7") or {})["kind"] == "allow"


def test_a_file_from_windows_is_taken(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config.parent / "entries.txt"
    file.write_bytes(b"\xef\xbb\xbfallow 198.51.100.7\r\nblock 198.51.100.0/24\r\n")
    assert lists(config, "import", str(file)) == 0
    assert capsys.readouterr().out == "2\n"
    assert (held(config, capsys, "198.51.100.7") or {})["kind"] == "allow"


@pytest.mark.parametrize(("octets", "problem"), [(None, "No such file"), (b"\xff\xfe", "expected text in UTF-8")])
def test_a_file_that_cannot_be_read(
    config: Path, capsys: pytest.CaptureFixture[str], octets: bytes | None, problem: str
) -> None:
    file = config.parent / "entries.txt"
    if octets is not None:
        file.write_bytes(octets)
    assert lists(config, "import", str(file)) == 2
    assert problem in capsys.readouterr().err
