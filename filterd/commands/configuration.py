"""`filterd check-config` and `filterd print-config`: the configuration, checked or generated from its models."""

from __future__ import annotations

import argparse
import ast
import inspect
import stat
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from filterd.adapters.accounts import build_authenticator
from filterd.adapters.accounts_file import read_accounts
from filterd.adapters.directory import configured_domains, may_learn_domains
from filterd.adapters.directory_file import read_hashed, read_recipients
from filterd.adapters.exchange_certificate import read_keys
from filterd.adapters.ldap_link import password_of, trust
from filterd.adapters.signing_key import check_signing_keys
from filterd.adapters.site_key import path_of, site_key
from filterd.adapters.upstream_tls import check_authorities
from filterd.checks.names import check_names
from filterd.commands.options import add_config
from filterd.config import Config, DnsblConfig, LdapConfig, Table, load_config
from filterd.errors import ConfigError
from filterd.frontends.smtp.tls import check_certificates
from filterd.mail.network import is_loopback


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    check = commands.add_parser("check-config", help="say whether a configuration file can be used")
    add_config(check)
    check.set_defaults(run=run_check)
    show = commands.add_parser("print-config", help="print a configuration file with every key and its default")
    show.add_argument("--format", choices=("toml", "markdown"), default="toml", help="sample file or reference page")
    show.set_defaults(run=run_print)


def run_check(options: argparse.Namespace) -> int:
    """Check the file and what it names; problems are printed by the command line, exit status 2."""
    config = load_config(options.config)
    found = look_through(config)
    found.look(partial(_storage, config))  # doctor has an examination of its own for it
    if found.problems:
        raise ConfigError(found.problems)
    for fact in found.facts:
        print(fact)
    for text, remedy in (*found.warnings, *_directories(config)):
        print(f"warning: {text}: {remedy}")
    print(f"{options.config}: good")
    return 0


@dataclass(slots=True)
class Looked:
    """What was found about a configuration and the files that it names.

    Attributes:
        facts: for whoever wants to compare.
        warnings: (what, remedy).
        problems: what cannot be used, each with its key.
    """

    facts: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def look(self, at: Callable[[], object]) -> None:
        """One file that cannot be used must not hide what is to be said of the others."""
        try:
            at()
        except ConfigError as error:
            self.problems += error.problems


def look_through(config: Config) -> Looked:
    """Everything about a configuration that its text alone does not say."""
    found = Looked()
    for check in (check_names, check_certificates, check_signing_keys, check_authorities):
        found.look(partial(check, config))
    found.look(lambda: _recipients(config, found))
    found.look(lambda: _hashed_recipients(config, found))
    found.look(lambda: _exchange_certificate(config, found))
    found.look(lambda: _accounts(config, found))
    if not configured_domains(config.recipients) and not may_learn_domains(config):
        text = "recipients.accepted_domains is empty: all mail will be refused with 550 5.7.1"
        found.warnings.append((text, "name the domains that Exchange takes mail for"))
    _report_listeners(config, found)
    return found


def _storage(config: Config) -> None:
    """The URL alone: nothing is connected or made."""
    if not config.storage.url:
        return
    from filterd.storage.database import database_as_it_is  # most sites name none, and the packages behind it are large

    database = database_as_it_is(config)
    if database is not None:
        database.close()


def _recipients(config: Config, found: Looked) -> None:
    if config.recipients.file is None:
        return
    try:
        count = len(read_recipients(config.recipients.file))
    except OSError as error:
        raise ConfigError([f"recipients.file: {config.recipients.file}: {error.strerror}"]) from None
    found.facts.append(f"recipients.file: {count} addresses")


def _hashed_recipients(config: Config, found: Looked) -> None:
    if config.recipients.hashed_file is None:
        return
    if not path_of(config.state_dir).exists():  # looking makes no key: it would belong to whoever looks
        text = f"recipients.hashed_file: there is no site key ({path_of(config.state_dir)}) that it could be made with"
        raise ConfigError([f"{text}; write the list with `filterd directory hash` as the user that filterd runs as"])
    try:
        count = len(read_hashed(config.recipients.hashed_file, site_key(config.state_dir)))
    except OSError as error:
        raise ConfigError([f"recipients.hashed_file: {config.recipients.hashed_file}: {error.strerror}"]) from None
    found.facts.append(f"recipients.hashed_file: {count} addresses")


def _exchange_certificate(config: Config, found: Looked) -> None:
    if config.reports.exchange_certificate is not None:
        found.facts.append(f"reports.exchange_certificate: {len(read_keys(config.reports.exchange_certificate))} keys")


def _accounts(config: Config, found: Looked) -> None:
    build_authenticator(config.auth)
    if config.auth.file is None:
        return
    try:
        count = len(read_accounts(config.auth.file))
        exposed = config.auth.file.stat().st_mode & stat.S_IROTH
    except OSError as error:
        raise ConfigError([f"auth.file: {config.auth.file}: {error.strerror}"]) from None
    found.facts.append(f"auth.file: {count} accounts")
    if exposed:
        text = "auth.file: everybody on this machine can read the hashes"
        found.warnings.append((text, f"chmod o-r {config.auth.file}"))


def _directories(config: Config) -> list[tuple[str, str]]:
    """Files of [[ldap]] that cannot be used: filterd starts without them, and answers from the last snapshot."""
    found: list[tuple[str, str]] = []
    for table in config.ldap:
        looked = Looked()
        looked.look(partial(trust, table.ca_file, f"ldap ({table.name}): ca_file", verify=True))
        looked.look(partial(password_of, table))
        found += [
            (problem, "nothing can be read from this directory until it is corrected") for problem in looked.problems
        ]
    return found


def _report_listeners(config: Config, found: Looked) -> None:
    if config.reports.domain and all(listener.trust == "internet" for listener in config.listeners):
        text = f"reports.domain: no listener takes mail to spam@{config.reports.domain} and its neighbours"
        remedy = 'add a listener with trust = "report" for your Exchange servers (docs/reports.md)'
        found.warnings.append((text, remedy))
    for listener in config.listeners:
        if listener.trust == "report" and not (listener.sources or listener.auth or is_loopback(listener.address)):
            text = f"listeners.{listener.name}.sources is empty: whoever reaches this listener can report in anybody's name"
            found.warnings.append((text, "name your Exchange servers there (docs/reports.md)"))


def run_print(options: argparse.Namespace) -> int:
    """Print the sample file or the reference page."""
    print(sample() if options.format == "toml" else reference(), end="")
    return 0


def _tables() -> list[tuple[str, bool, type[Table]]]:
    """(name, whether it is an array of tables, model) in the order of the file, inner arrays behind their table."""
    found = []
    for name, info in Config.model_fields.items():
        annotation = info.annotation
        inner = typing.get_args(annotation)
        many = bool(inner)
        model = inner[0] if many else annotation
        assert isinstance(model, type)
        assert issubclass(model, Table)
        found.append((name, many, model))
        for key, info in model.model_fields.items():
            below = _array_of(info.annotation)
            if below is not None:
                found.append((f"{name}.{key}", True, below))
    return found


def _array_of(annotation: Any) -> type[Table] | None:
    """The table of which a key has several; None for keys with values."""
    inner = typing.get_args(annotation)
    is_array = typing.get_origin(annotation) is tuple and isinstance(inner[0], type) and issubclass(inner[0], Table)
    return inner[0] if is_array else None


def _meanings(model: type[Table]) -> dict[str, str]:
    """What is said below each key.

    Read from the source here: pydantic would do it whenever a model is made, a quarter of the time that the configuration
    takes at the start of every process.
    """
    found = {}
    for owner in reversed(model.__mro__):
        if owner is Table or not issubclass(owner, Table):
            continue
        (table,) = ast.parse(inspect.getsource(owner)).body
        assert isinstance(table, ast.ClassDef)
        for key, text in pairwise(table.body):
            if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(key.target)] = inspect.cleandoc(str(text.value.value))
    return found


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


def sample() -> str:
    """A configuration file with every key at its default; keys without one are commented out."""
    lines = ["# filterd: every key with its default.  Keep what differs for you; unknown keys are errors.", ""]
    for name, many, model in _tables():
        # no zone or directory is asked by default, nobody protected, nothing signed
        commented = "# " if model in (DnsblConfig, LdapConfig) or "." in name else ""
        lines += [f"# {(model.__doc__ or '').strip()}", f"{commented}[[{name}]]" if many else f"[{name}]"]
        meanings = _meanings(model)
        for key, info in model.model_fields.items():
            if _array_of(info.annotation) is not None:
                continue
            lines.append(f"# {meanings[key]}")
            if info.default is None or info.default is PydanticUndefined:
                lines.append(f"# {key} = " + ('"dnsbl.example"' if key == "zone" else '""'))
            else:
                lines.append(f"{commented}{key} = {_toml(info.default)}")
        lines.append("")
    return "\n".join(lines)


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return _type_name(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return "list of " + _type_name(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType):
        return _type_name(next(a for a in typing.get_args(annotation) if a is not type(None)))
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, "value")


def reference() -> str:
    """The reference page of all keys."""
    lines = [
        "# Configuration",
        "",
        "Generated by `filterd print-config --format markdown`; a test keeps it true.  Relative paths are taken from the",
        "folder of the configuration file.  Unknown keys and bad values are errors that name the key; nothing is started then.",
        "",
    ]
    for name, many, model in _tables():
        lines += [f"## `{'[[' if many else '['}{name}{']]' if many else ']'}`", "", (model.__doc__ or "").strip(), ""]
        lines += ["| key | type | meaning |", "|---|---|---|"]
        meanings = _meanings(model)
        for key, info in model.model_fields.items():
            if _array_of(info.annotation) is not None:
                continue
            lines.append(f"| `{key}` | {_type_name(info.annotation)} | {meanings[key]} |")
        lines.append("")
    return "\n".join(lines)
