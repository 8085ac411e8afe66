"""Doctor says when safe senders are wanted and cannot be used, and the other way round."""

from __future__ import annotations

from pathlib import Path

from filterd.adapters.safelist_store import Calibration, save
from filterd.config import Config, LdapConfig, ServerConfig
from filterd.directory.safelist import VARIANTS
from filterd.doctor.finding import Level
from filterd.doctor.safelists import safelists


def config(folder: Path, *wanted: bool) -> Config:
    tables = tuple(LdapConfig(name=f"ad{number}", safelists=value) for number, value in enumerate(wanted))
    return Config(server=ServerConfig(state_dir=folder), ldap=tables)


def test_wanted_and_not_verified(tmp_path: Path) -> None:
    (found,) = safelists(config(tmp_path, True, False))
    assert (found.level, "ad0 " in found.text) == (Level.WARN, True)
    assert "filterd directory calibrate" in found.remedy
    assert safelists(config(tmp_path, False)) == []
    assert safelists(config(tmp_path)) == []


def test_verified(tmp_path: Path) -> None:
    save(tmp_path, Calibration(VARIANTS[:1], ("00", "01"), 1, 1_800_000_000_000))
    (found,) = safelists(config(tmp_path, True))
    assert (found.level, found.text) == (Level.OK, "format verified on 2027-01-15")
    (found,) = safelists(config(tmp_path, False))
    assert found.level is Level.WARN
