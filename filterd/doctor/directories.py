"""Owns the look at directories of recipients: each server of [[ldap]], what can be read there, the snapshot that is in use.

Must not know how a sync is done.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from filterd.adapters.directory_ldap import LdapDirectory
from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link, password_of, trust
from filterd.adapters.site_key import site_key
from filterd.config import Config, LdapConfig
from filterd.deadline import Deadline
from filterd.directory.snapshot import BadSnapshotError, Header, Snapshot
from filterd.directory_store import snapshot_path
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import ConfigError

_SHOWN = 5  # accepted domains in a text
_HOUR_MS = 3_600_000
_MORE = "docs/active-directory.md says more"


def seconds(config: Config) -> float:
    """The longest time that the look may take."""
    return sum(_patience(table) * len(table.urls) for table in config.ldap)


def directories(config: Config) -> list[Finding]:
    """All [[ldap]] tables.  Blocks; nothing is written, but a site key where there is none yet."""
    found: list[Finding] = []
    for table in config.ldap:
        found += _servers(config, table)
        said = {finding.text for finding in found}
        found += [finding for finding in _snapshot(config, table) if finding.text not in said]
    return found


def _patience(table: LdapConfig) -> float:
    return 2 * table.timeout_seconds  # of one server; what takes longer than that is a finding


def _servers(config: Config, table: LdapConfig) -> list[Finding]:
    """Each server by itself; what the directory holds is said of the first one that answers."""
    name = f"ldap {table.name}"
    try:
        key = site_key(config.state_dir)
        context = trust(table.ca_file, f"ldap ({table.name}): ca_file", verify=table.verify)
        password = password_of(table)
    except ConfigError as error:
        return [fail(name, "; ".join(error.problems), "correct it; recipients are answered from the last snapshot")]
    found: list[Finding] = []
    looked = False
    for url in dict.fromkeys(table.urls):
        what = f"{name}, {url}"
        try:
            link = Link(table, url, context, password, Deadline.after(_patience(table)))
        except ConfigError as error:
            found.append(fail(what, "; ".join(error.problems), "correct it"))
            continue
        try:
            link.open()
            directory = LdapDirectory(table, link, key)
            found.append(_server(what, table, directory))
            if not looked:
                looked = True
                found += _contents(what, directory)
        except LdapError as error:
            text = str(error).removeprefix(f"{what}: ")
            about = (
                f"{table.user}: " if table.user and text.startswith(f"{table.user}: ") else ""
            )  # who; then what, then the remedy
            said, _, remedy = text.removeprefix(about).partition(": ")
            found.append(fail(what, about + said, remedy or "docs/active-directory.md has what such lines mean"))
        finally:
            link.close()
    return found


def _server(what: str, table: LdapConfig, directory: LdapDirectory) -> Finding:
    skew = directory.clock_note(datetime.now(UTC))
    if skew:
        said, _, remedy = skew.partition(": ")
        return warn(what, said, remedy)
    as_whom = f"as {table.user}" if table.user else "anonymously"
    root = directory.root
    kind = "its changes can be read by number" if root.usn is not None else "everything is read anew at each sync"
    return ok(what, f"{root.host or 'it'} answers {as_whom}; {kind}")


def _contents(what: str, directory: LdapDirectory) -> list[Finding]:
    directory.note_missing()
    domains = directory.domains()
    count, more, unseen = directory.first_page()
    found = []
    if count:
        text = f"{count}{' and more' if more else ''} recipients below {' and '.join(directory.bases) or 'the whole forest'}"
        if unseen:
            text += f"; on its first page nobody has {', '.join(unseen)}"
        found.append(ok(f"{what}, recipients", text))
    else:
        remedy = "correct ldap.bases and ldap.address_attributes, or give the user the right to read them"
        found.append(fail(f"{what}, recipients", f"nobody found below {' and '.join(directory.bases)}", remedy))
    if domains:
        shown = ", ".join(f"{domain.name} ({domain.type})" for domain in domains[:_SHOWN])
        rest = f" and {len(domains) - _SHOWN} more" if len(domains) > _SHOWN else ""
        found.append(ok(f"{what}, accepted domains", shown + rest))
    found += [warn(what, note, _MORE) for note in directory.notes]
    return found


def _snapshot(config: Config, table: LdapConfig) -> list[Finding]:
    """How old it is, and what the last sync had to say."""
    what, path = f"ldap {table.name}, snapshot", snapshot_path(config.state_dir, table.name)
    try:
        header, count = _opened(config, table)
    except FileNotFoundError:
        remedy = f"`filterd directory sync {table.name}`; a running filterd does it by itself"
        return [fail(what, "there is none yet: RCPT gets 451 4.4.3", remedy)]
    except (OSError, BadSnapshotError) as error:
        said = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return [fail(what, said, f"`filterd directory sync {table.name}`, as the service's user, writes a new one")]
    hours = (time.time() * 1000 - header.read_ms) / _HOUR_MS
    text = (
        f"{count} addresses, {hours * 60:.0f} minutes old" if hours < 2 else f"{count} addresses, {hours:.0f} hours old"
    )
    old = hours >= table.warn_hours
    age = warn(what, text, "see above why it is not read anew; is filterd running?") if old else ok(what, text)
    return [age, *(warn(f"{what}, last sync", note, _MORE) for note in header.notes)]


def _opened(config: Config, table: LdapConfig) -> tuple[Header, int]:
    snapshot = Snapshot(snapshot_path(config.state_dir, table.name))
    return snapshot.header, len(snapshot)
