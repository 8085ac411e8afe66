"""[auth] gives the accounts it names, and says when it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from filterd.adapters.accounts import build_authenticator
from filterd.adapters.accounts_file import FileAccounts
from filterd.adapters.accounts_ldap import LdapAccounts
from filterd.config import AuthConfig
from filterd.errors import ConfigError


def test_what_is_configured_is_built() -> None:
    assert build_authenticator(AuthConfig()) is None
    assert isinstance(build_authenticator(AuthConfig(file=Path("accounts"))), FileAccounts)
    assert isinstance(build_authenticator(AuthConfig(ldap_url="ldaps://127.0.0.1")), LdapAccounts)


def test_both_at_once_is_refused() -> None:
    with pytest.raises(ConfigError, match="auth: expected file or ldap_url"):
        build_authenticator(AuthConfig(file=Path("accounts"), ldap_url="ldaps://127.0.0.1"))


def test_ldap_costs_nothing_where_it_is_not_used() -> None:
    code = "import sys, filterd.adapters.accounts; sys.exit('ldap3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
