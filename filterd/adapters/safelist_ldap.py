"""Owns reading one mailbox's safe senders from a directory, for calibration.  Must not know what the octets mean, nor the sync."""

from __future__ import annotations

from filterd.adapters.directory_ldap import LdapDirectory, escaped
from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link, password_of, trust
from filterd.adapters.site_key import site_key
from filterd.config import Config, LdapConfig
from filterd.deadline import Deadline
from filterd.directory.attributes import SAFE
from filterd.errors import FilterdError

_SECONDS = 60.0  # a person waits for it; all servers together
_HARMFUL = "password"  # a wrong one, tried at every controller, locks the account


class NoSuchListError(FilterdError):
    """The directory answered, and has no list for this mailbox; the text says what to do."""


def safe_senders(config: Config, table: LdapConfig, mailbox: str) -> bytes:
    """The octets of msExchSafeSendersHash, from the first server that answers.

    Blocks.  Raises NoSuchListError, LdapError (one line that says what to do), ConfigError.
    """
    context = trust(table.ca_file, f"ldap ({table.name}): ca_file", verify=table.verify)
    password, key, deadline = password_of(table), site_key(config.state_dir), Deadline.after(_SECONDS)
    failures: list[LdapError] = []
    for url in table.urls:
        link = Link(table, url, context, password, deadline)
        try:
            link.open()
            return _from(link, LdapDirectory(table, link, key).bases, table, mailbox)
        except LdapError as error:
            failures.append(error)
            if error.kind == _HARMFUL:
                break
        finally:
            link.close()
    raise LdapError("; ".join(map(str, failures)), failures[-1].kind)


def _from(link: Link, bases: tuple[str, ...], table: LdapConfig, mailbox: str) -> bytes:
    value, names = escaped(mailbox), dict.fromkeys((*table.address_attributes, "mail"))
    query = "(|" + "".join(f"({name}=smtp:{value})({name}={value})" for name in names) + ")"
    found = {entry.dn: entry for base in bases for page in link.pages(base, query, [SAFE]) for entry in page}
    if not found:
        raise NoSuchListError(
            f"{link.where}: nobody has the address {mailbox}: give a mailbox's address as Exchange has it"
        )
    values = [octets for entry in found.values() for octets in entry.attributes.get(SAFE.lower(), ())]
    if not values:
        text = f"{mailbox} has no {SAFE}: run Update-Safelist, wait for replication; or ldap.user may not read it"
        raise NoSuchListError(f"{link.where}: {text}")
    return values[0]
