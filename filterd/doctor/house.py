"""Owns the look at what is on this machine: state folder, database, clock, model, what the workers said last.

Must not know the network.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from sqlalchemy import func, select

from filterd import metrics, modelstore
from filterd.adapters import model_key
from filterd.config import Config
from filterd.doctor import postgres
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import ConfigError, ModelError, StorageError
from filterd.mail.network import is_loopback
from filterd.storage.database import Database, database_as_it_is, translated
from filterd.storage.migrations import HEAD, revision
from filterd.storage.postgres import facts
from filterd.storage.schema import messages

_MIB = 1_048_576
_CLOCK_SLACK_MS = 60_000  # nodes that share a database may differ by so much


def state_dir(config: Config) -> list[Finding]:
    """Whether it can be written, by whom, and how much room is left."""
    folder, what = config.state_dir, "state_dir"
    if not folder.is_dir():
        return [
            warn(what, f"{folder} is not there yet", "`filterd serve` makes it, if it may write to the folder above")
        ]
    owner = folder.stat().st_uid
    if os.geteuid() != owner:
        text = f"{folder} belongs to user {owner}, doctor runs as user {os.geteuid()}"
        return [warn(what, text, "run doctor as the user of the service: files of others would stop the service")]
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"filterd doctor")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return [fail(what, f"{folder} cannot be written: {error.strerror}", "without it every message gets 451")]
    stat = os.statvfs(folder)
    free, least = stat.f_bavail * stat.f_frsize, config.storage.min_free_bytes
    text = f"{folder}: {free // _MIB} MiB free, storage.min_free_bytes is {least // _MIB} MiB"
    if free < least:
        return [fail(what, text, "make room: every message gets 452 4.3.1 now")]
    if free < 2 * least:
        return [warn(what, text, "make room soon: below min_free_bytes mail gets 452 4.3.1")]
    return [ok(what, text)]


def reach(config: Config) -> list[Finding]:
    """Whether anybody but this machine can bring mail of the internet: the default address is for trying out."""
    strangers = [listener for listener in config.listeners if listener.trust == "internet"]
    if not strangers or not all(is_loopback(listener.address) for listener in strangers):
        return []
    first = strangers[0]
    text = f"{first.address}:{first.port} is reached from this machine only: no mail of the internet comes in"
    remedy = "unless a program on this machine passes it on: address and port of [[listeners]]; docs/exchange.md"
    return [warn(f"listener {first.name}", text, remedy)]


def database(config: Config) -> list[Finding]:
    """Whether it opens, has this program's schema, and has seen no later time than now."""
    what = "database"
    try:
        found = database_as_it_is(config)
    except (ConfigError, StorageError) as error:
        return [fail(what, str(error), "leave storage.url empty for SQLite, or install the driver: docs/postgresql.md")]
    if found is None:
        return [ok(what, "not there yet; the first start makes it")]
    try:
        return _database(config, found, what)
    except StorageError as error:
        return [fail(what, str(error), "without it every message gets 451; look at its server, or at the file's owner")]
    finally:
        found.close()


def _database(config: Config, found: Database, what: str) -> list[Finding]:
    with found.read() as connection:
        with translated():
            schema = revision(connection)
            server = [] if found.is_sqlite else postgres.server(config, facts(connection))
        if schema is None:
            return [ok(what, "empty; the first start makes its tables"), *server]
        if schema > HEAD:
            text = f"schema {schema}, this program knows {HEAD}"
            return [fail(what, text, "install the newer program again: this one does not start on it")]
        if schema < HEAD:
            text = f"schema {schema}, this program needs {HEAD}"
            return [warn(what, text, "the next start upgrades it: have a copy"), *server]
        newest = connection.execute(select(func.max(messages.c.received_ms))).scalar_one()
    findings = [ok(what, f"{found.url.render_as_string()}, schema {schema}"), *server]
    if newest is not None and newest > time.time() * 1000 + _CLOCK_SLACK_MS:
        ahead = (newest / 1000 - time.time()) / 60
        text = f"the newest message in the ledger came {ahead:.0f} minutes from now"
        return [*findings, fail("clock", text, "set the clock (NTP): signatures, expiry and greylisting depend on it")]
    return [*findings, ok("clock", time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime()))]


def model(config: Config, path: Path) -> list[Finding]:
    """Whether the content model at `path` can be used: signature, digests, version; and who can read the key that signs models."""
    key = _model_key(config)
    try:
        found = modelstore.load(config, path)
    except (ModelError, OSError) as error:
        remedy = "mail goes on with the seed model if it was promoted, else without the content check: `filterd models rollback`, or correct model.path"
        return [fail("model", str(error), remedy), *key]
    return [ok("model", f"{found.name} ({path})"), *key]


def _model_key(config: Config) -> list[Finding]:
    """Nothing where no model was ever signed."""
    what, path = "model key", model_key.private_path(config.state_dir)
    if not path.parent.is_dir():
        return []
    if model_key.readable_by_others(config.state_dir):
        text = f"{path} can be read by others, who could sign models for this site"
        return [
            warn(
                what,
                text,
                f"chmod 600 {path}; if somebody may have read it, remove it and {model_key.public_path(config.state_dir).name}, then sign your models again",
            )
        ]
    try:
        pair = model_key.pair(config.state_dir)
    except ModelError as error:
        return [fail(what, str(error), "models that are trained from now on cannot be signed")]
    if not path.exists():
        remedy = "what is trained from now on cannot be signed: restore it, or see docs/models.md, Signatures"
        return [warn(what, f"{path} is gone", remedy)] if model_key.public_key(config.state_dir) else []
    if not pair:
        text = f"{path} is not the key that {model_key.public_path(config.state_dir)} belongs to"
        return [fail(what, text, "`filterd models key` writes the right one; then sign your models again")]
    return [ok(what, str(path))]


def workers(config: Config) -> list[Finding]:
    """What the running workers count about themselves, or what the last ones said."""
    what = "workers"
    folder = config.state_dir / "run" / "metrics"
    if not any(folder.glob("*.db")):
        return [ok(what, "none has run here since state_dir was made")]
    said = metrics.samples(folder)
    zones = set(config.list_zones)
    suspended = {labels["zone"] for name, labels, value in said if name == "filterd_dnsbl_suspended" and value}
    findings = [
        warn(f"workers, {zone}", "a worker has suspended this DNS list", "its own test here, and the log, say why")
        for zone in sorted(suspended & zones)
    ]
    return findings or [ok(what, "no DNS list suspended, as they said last")]
