"""`filterd password`: a line for the password file of [auth], or whether a password is the right one."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from filterd.adapters.accounts_file import check_user, hash_password, read_accounts, user_key, verify_password
from filterd.errors import ConfigError
from filterd.wire.sasl import MAX_PASSWORD


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("password", help="print a line for the password file of [auth]")
    command.add_argument("user", metavar="USER", help="whom the account is for")
    command.add_argument("--check", type=Path, metavar="FILE", help="only say whether USER has this password in FILE")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask on a terminal, or read one line of standard input.  Exit status 1 when --check finds another password."""
    try:
        user = check_user(options.user)
    except ValueError as error:
        raise ConfigError([f"USER: {error}"]) from None
    if options.check is None:
        print(f"{user}:{hash_password(_ask(twice=True))}")
        return 0
    try:
        hashed = read_accounts(options.check).get(user_key(user))
    except OSError as error:
        raise ConfigError([f"{options.check}: cannot be read: {error.strerror}"]) from None
    if hashed is None:
        print(f"filterd: no account {user} in {options.check}", file=sys.stderr)
        return 1
    if not verify_password(hashed, _ask(twice=False)):
        print(f"filterd: {user} has another password", file=sys.stderr)
        return 1
    print(f"{user}: the password is right")
    return 0


def _ask(twice: bool) -> str:
    """The password.  Raises ConfigError when it cannot be one."""
    try:
        password = _from_terminal(twice) if sys.stdin.isatty() else _from_input()
        size = len(password.encode())
    except UnicodeError:
        raise ConfigError(["password: expected UTF-8"]) from None
    except EOFError:
        size = 0
    if not size:
        raise ConfigError(["password: expected one line, found nothing"])
    if size > MAX_PASSWORD or "\0" in password:  # no client could log in with it
        raise ConfigError([f"password: expected at most {MAX_PASSWORD} octets of UTF-8 without NUL"])
    return password


def _from_terminal(twice: bool) -> str:
    password = getpass.getpass("Password: ")
    if twice and getpass.getpass("Again: ") != password:
        raise ConfigError(["password: the two differ; nothing was printed"])
    return password


def _from_input() -> str:
    return sys.stdin.readline(MAX_PASSWORD + 2).removesuffix("\n").removesuffix("\r")
