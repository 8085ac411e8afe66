"""docs/submission.md: what it tells people to write can be used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from filterd.adapters.accounts import build_authenticator
from filterd.adapters.accounts_ldap import LdapAccounts
from filterd.config import parse_config

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "submission.md").read_text()


def test_its_configurations_are_good(tmp_path: Path) -> None:
    both, directory = (
        tomllib.loads(text) for text in re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    )
    config = parse_config(both, tmp_path)
    assert [(x.port, x.trust, x.auth) for x in config.listeners[1:]] == [(p, "authenticated", True) for p in (587, 465)]
    with_directory = parse_config({**both, **directory}, tmp_path)
    trusted_by_system = with_directory.auth.model_copy(update={"ldap_ca_file": None})
    assert isinstance(build_authenticator(trusted_by_system), LdapAccounts)
