"""Owns which accounts the configuration asks for.  Must not know how they are checked."""

from __future__ import annotations

from filterd.adapters.accounts_file import FileAccounts
from filterd.config import AuthConfig
from filterd.errors import ConfigError
from filterd.ports import Authenticator


def build_authenticator(config: AuthConfig) -> Authenticator | None:
    """The accounts of [auth], None when there are none.  Nothing is read or asked yet, but the trusted authorities.

    Raises ConfigError.
    """
    if config.file is not None and config.ldap_url:
        raise ConfigError(["auth: expected file or ldap_url, not both: one name could be two accounts"])
    if config.file is not None:
        return FileAccounts(config.file)
    if not config.ldap_url:
        return None
    # Here, because ldap3 is 5 MB in every worker, which most have no use for.
    from filterd.adapters.accounts_ldap import LdapAccounts

    return LdapAccounts(config)
