"""`filterd directory calibrate` as an administrator meets it."""

from __future__ import annotations

import argparse
import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.adapters.safelist_store import verified
from filterd.commands import directory_calibrate
from filterd.commands.directory_calibrate import octets_of
from filterd.config import load_config
from filterd.directory.safelist import Variant
from filterd.errors import ConfigError
from tests.support.powershell import errors, strings

VARIANT = Variant("lower", "utf-16-le", "none", 0, "kept")
ONE, OTHER = "Calibrate-Kx7Q@example.net", "Verify-Tm4Z@example.net"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "filterd.toml"
    path.write_text("[[ldap]]\nname = 'ad'\nurls = ['ldaps://127.0.0.1:1']\n")
    return path


def attribute(*texts: str, variant: Variant = VARIANT) -> bytes:
    hashes = (variant.hash(text) for text in texts)
    return b"".join(sorted(hashes, key=lambda octets: int.from_bytes(octets, "little")))


def run(config: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    directory_calibrate.register(parser.add_subparsers())
    options = parser.parse_args(["calibrate", *words, "--config", str(config)])
    return int(options.run(options))


def with_value(config: Path, sender: str, octets: bytes) -> int:
    return run(config, "test@example.org", sender, "--value", base64.b64encode(octets).decode())


def test_two_different_addresses_verify_the_format(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = load_config(config).state_dir
    assert run(config) == 0
    page = capsys.readouterr().out
    assert "not known" in page
    assert "Update-Safelist 'test@example.org'" in page
    assert with_value(config, ONE, attribute(ONE, "x@example.com")) == 0
    page = capsys.readouterr().out
    assert f"{ONE}: fits {VARIANT.name}" in page
    assert "2 entries, in ascending order" in page
    assert "not verified yet, 1 address so far" in page
    assert "-TrustedSendersAndDomains @{Add='Verify-" in page
    assert verified(state) is None
    assert with_value(config, ONE, attribute(ONE)) == 0  # the same again is no second address
    assert verified(state) is None
    capsys.readouterr()
    assert with_value(config, OTHER, attribute(ONE, OTHER)) == 0
    page = capsys.readouterr().out
    assert "safelist format verified on 20" in page
    assert 'set safelists = true in [[ldap]] with name = "ad"' in page
    assert verified(state) == VARIANT
    assert run(config) == 0
    assert "safelist format verified on 20" in capsys.readouterr().out


def test_an_address_that_is_not_on_the_list(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_value(config, ONE, attribute(OTHER)) == 1
    page = capsys.readouterr().out
    assert f"{ONE}: in none of 288 ways on the list" in page
    assert f"Set-MailboxJunkEmailConfiguration 'test@example.org' -TrustedSendersAndDomains @{{Add='{ONE}'}}" in page
    assert f"  filterd directory calibrate test@example.org {ONE} --config {config}\n" in page, "to copy as it stands"
    assert verified(load_config(config).state_dir) is None


def test_several_ways_that_fit_are_said_plainly(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, sender in enumerate(("calibrate-one@example.net", "calibrate-two@example.net"), 1):
        assert with_value(config, sender, attribute(sender)) == 0
        page = capsys.readouterr().out
        assert f"{number} address{'es' if number > 1 else ''} so far: 2 ways fit: as-is/" in page
        assert "an address in small letters cannot tell two ways apart" in page
    assert verified(load_config(config).state_dir) is None
    assert with_value(config, ONE, attribute(ONE)) == 0
    assert verified(load_config(config).state_dir) == VARIANT


def test_what_contradicts_the_verified_format_switches_off(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_value(config, ONE, attribute(ONE))
    with_value(config, OTHER, attribute(OTHER))
    capsys.readouterr()
    other = Variant("upper", "utf-8", "none", 3, "swapped")
    assert with_value(config, ONE, attribute(ONE, variant=other)) == 0
    assert "contradicts" in capsys.readouterr().out
    assert verified(load_config(config).state_dir) is None


@pytest.mark.parametrize("octets", [b"", b"abc", b"abcde"])
def test_octets_that_are_no_list(config: Path, octets: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_value(config, ONE, octets) == 1
    assert "are no list of entries" in capsys.readouterr().out


def test_a_list_in_another_order_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = sorted((f"u{number}@example.com" for number in range(9)), key=VARIANT.hash)
    with_value(config, texts[0], b"\xff\xff\xff\xff\0\0\0\0")
    assert "NOT in ascending order" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nobody", ONE), "MAILBOX: expected an address"),
        (("--value", "AAECAw=="), "MAILBOX, KNOWN_SENDER: expected beside --value"),
        (("test@example.org",), "KNOWN_SENDER: expected an address"),
        (("test@example.org", "@example.net"), "KNOWN_SENDER: expected an address"),
        (("test@example.org", ONE, "--ldap", "other"), "there is ad"),
        (("test@example.org", ONE, "--value", "no base64!"), "expected the attribute's octets"),
    ],
)
def test_what_cannot_be_used_names_the_field(config: Path, words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        run(config, *words)


@given(st.binary(max_size=80))
def test_a_value_is_read_as_administrators_can_show_it(octets: bytes) -> None:
    assert octets_of(octets.hex("-").upper()) == octets
    assert octets_of(octets.hex(" ")) == octets
    if len(octets) % 3:  # "=" at the end: no hexadecimal
        assert octets_of(base64.b64encode(octets).decode()) == octets


def test_the_shown_commands_are_powershell(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(config, "o'neil@example.org", "D'Arcy@example.net", "--value", "00000000")
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("  Set-", "  Update-"))]
    assert len(shown) == 2
    script = "\n".join(shown)
    assert not errors(script)
    assert strings(script) == ["o'neil@example.org", "D'Arcy@example.net", "o'neil@example.org"]
