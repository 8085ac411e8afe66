"""Owns accounts of a password file: `user:hash` lines, argon2id (RFC 9106).  Read again when the file changes.

The only file that imports argon2.  Must not know who asks, nor how often somebody may fail.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import secrets
import threading
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError, VerifyMismatchError

from filterd.adapters.threads import Threads
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError

log = logging.getLogger(__name__)

# Cost of new hashes: OWASP's recommendation for argon2id (19 MiB, 2 passes, 1 lane).  Measured on 2 cores: 30 ms, 60 logins
# a second with both threads.  argon2-cffi's default (64 MiB, 3 passes, 4 lanes) takes 150 ms of both cores, 8 a second, and
# 128 MiB beside a worker's 250: too much where a program logs in for every message it sends.
_COST = Parameters(type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=2, memory_cost=19_456, parallelism=1)
# A typing error in the file must not stop the machine: far above every published recommendation.
MAX_MEMORY_KIB = 1_048_576
MAX_TIME = 16
MAX_PARALLELISM = 16
MAX_FILE_BYTES = 16 * 1024 * 1024  # a hundred thousand accounts
MAX_USER = 255  # octets, as in wire.sasl
_THREADS = 2
_WAITING = 32  # behind these two about half a second; more would only wait for their deadline
_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,86})"
)
_Stamp = tuple[int, int, int]


def user_key(user: str) -> str:
    """The form in which users are compared: no difference of case, one spelling of composed characters (NFC)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", user).casefold())  # Unicode 3.13, D145: NFD first


def hash_password(password: str) -> str:
    """A new argon2id hash; takes tens of milliseconds."""
    return PasswordHasher.from_parameters(_COST).hash(_spelled(password))


def verify_password(hashed: str, password: str) -> bool:
    """Whether `hashed` is of `password`; takes as long as the hash asks for.  Raises TemporaryError(broken)."""
    try:
        return PasswordHasher.from_parameters(_COST).verify(hashed, _spelled(password))
    except VerifyMismatchError:
        return False
    except (Argon2Error, InvalidHashError) as error:  # such as no memory
        raise TemporaryError(f"argon2: {error}", "broken") from None


def _spelled(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode()  # as RFC 8265 section 4.2; macOS types decomposed letters


def read_accounts(path: Path) -> dict[str, str]:
    """user_key -> hash.

    Raises:
        ConfigError: names the line that is no account.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} octets; is it a password file?"])
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    for number, octets in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            line = octets.decode().strip()
            if not line or line.startswith("#"):
                continue
            user, hashed = _account(line)
            key = user_key(user)
            if key in found:
                raise ValueError(f"a second line for {user!r}, the first is line {lines[key]}")
            found[key], lines[key] = hashed, number
        except UnicodeDecodeError:
            problems.append(f"{path}:{number}: expected UTF-8")
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        raise ConfigError(problems[:20])
    return found


def check_user(user: str) -> str:
    """`user` as it may stand in a password file.  Raises ValueError that says what is wrong with it."""
    if not user or user != user.strip() or user.startswith("#") or ":" in user or not user.isprintable():
        raise ValueError(
            f"expected a user without colon, control characters, blanks around or # before it, found {user!r}"
        )
    if len(user.encode()) > MAX_USER:
        raise ValueError(f"user is longer than {MAX_USER} octets")
    return user


def _account(line: str) -> tuple[str, str]:
    """User and hash of one line.  Raises ValueError that says what is wrong and never shows what may be a password."""
    user, colon, hashed = line.partition(":")
    if not colon:
        raise ValueError("expected user:hash, there is no colon")
    check_user(user)
    match = _HASH.fullmatch(hashed)
    if match is None or not all(map(_is_base64, match.groups()[3:])):
        raise ValueError(f"expected an argon2id hash for {user!r}, as `filterd password` prints it")
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    if memory > MAX_MEMORY_KIB or not 1 <= passes <= MAX_TIME or not 1 <= lanes <= MAX_PARALLELISM:
        limits = f"m <= {MAX_MEMORY_KIB}, t = 1 to {MAX_TIME}, p = 1 to {MAX_PARALLELISM}"
        raise ValueError(f"expected {limits} in the hash for {user!r}, found m={memory},t={passes},p={lanes}")
    if memory < 8 * lanes:  # RFC 9106 section 3.1
        raise ValueError(f"expected m of at least 8 times p in the hash for {user!r}, found m={memory},p={lanes}")
    return user, hashed


def _is_base64(text: str) -> bool:
    """Whether libargon2 takes it: without padding, and the bits that are left over are 0."""
    try:
        raw = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return False
    return base64.b64encode(raw).decode().rstrip("=") == text


def _nobody(hashes: list[str]) -> str:
    """A hash that no password has, of the cost that most of `hashes` have: what unknown users are verified against.

    Where the costs in one file differ, time tells users with a rare cost from unknown ones, and nothing else.
    """
    common = Counter(h.rpartition("$")[0].rpartition("$")[0] for h in hashes).most_common(1)
    cost = _COST
    head = common[0][0] if common else f"$argon2id$v=19$m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}"
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"{head}${salt}${digest}"


@dataclass(frozen=True, slots=True)
class _Read:
    accounts: dict[str, str]
    nobody: str


class FileAccounts:
    """Implements ports.Authenticator.

    The file is looked at before every verification, in its thread, so that a removed account ends at once.  A file that
    cannot be used leaves the accounts as they were, and is logged once.  There is no memory of earlier logins: at 30 ms
    it would save little and keep passwords about.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = Threads("accounts", _THREADS, _WAITING)
        self._lock = threading.Lock()
        self._seen: _Stamp | None = None  # of the file that was read last, or that could not be used
        self._complaint = ""
        self._good: _Read | None = None

    async def check(self, user: str, password: str, deadline: Deadline) -> bool:
        """Whether they belong together.

        Raises TemporaryError: busy, timeout, broken (also while the file has never been readable).
        """
        return await self._threads.run(lambda: self._check(user, password), deadline)

    def _check(self, user: str, password: str) -> bool:
        current = self._current()
        hashed = current.accounts.get(user_key(user))
        same = verify_password(hashed or current.nobody, password)
        return same and hashed is not None and bool(password)

    def _current(self) -> _Read:
        """The accounts as the file has them now, or as it had them when it could last be used."""
        with self._lock:
            try:
                stamp = _stamp(self._path)
                if stamp != self._seen:
                    self._seen = stamp
                    accounts = read_accounts(self._path)
                    if _stamp(self._path) != stamp:
                        self._seen = None
                        raise ConfigError([f"{self._path}: changed while it was read"])
                    self._good, self._complaint = _Read(accounts, _nobody(list(accounts.values()))), ""
                    log.info("accounts read", extra={"file": str(self._path), "count": len(accounts)})
            except (OSError, ConfigError) as error:
                if isinstance(error, OSError):
                    self._seen = None  # what comes in its place is read, whatever it is
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    log.error("password file unusable", extra={"file": str(self._path), "error": str(error)})
            if self._good is None:
                raise TemporaryError(f"{self._path} could not be read: {self._complaint}", "broken")
            return self._good


def _stamp(path: Path) -> _Stamp:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino
