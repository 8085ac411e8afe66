"""`filterd models …`: what was trained, what the gate said, which one scores mail; promote, go back, export, import."""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filterd import modelbundle, modelspace, modelswitch, modelview
from filterd.adapters import model_key
from filterd.classifier.model import Model
from filterd.commands import modeltext
from filterd.commands.options import add_config, add_json, print_json
from filterd.commands.training import TrainingFailedError, run_training, terminal
from filterd.config import Config, load_config
from filterd.errors import ConfigError, FilterdError
from filterd.storage import models
from filterd.storage.database import Database, open_database
from filterd.watch import drift

_BY = "command line"
_COMPARE_SECONDS = 300.0  # a machine under load; 1,000 messages take two seconds


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("models", help="content models: train, judge, promote, go back").add_subparsers(
        required=True, metavar="ACTION"
    )

    def action(name: str, run: Any, help: str, *, named: bool = False) -> argparse.ArgumentParser:
        command = group.add_parser(name, help=help)
        if named:
            command.add_argument(
                "name", metavar="NAME", help="as `filterd models list` shows it; seed is the shipped one"
            )
        add_config(command)
        add_json(command)
        command.set_defaults(run=run)
        return command

    def reasoned(command: argparse.ArgumentParser, *, force: bool) -> None:
        if force:
            command.add_argument("--force", action="store_true", help="although the gate of this site did not pass it")
        command.add_argument("--reason", default="", metavar="TEXT", help="kept with the event; needed with --force")

    action("list", run_list, "all models: which one is in use, what the gate said")
    action("show", run_show, "everything about one model", named=True)
    diff = action(
        "diff", run_diff, "what two models learned, how far apart they are, which mail they judge differently"
    )
    diff.add_argument("a", metavar="A")
    diff.add_argument("b", metavar="B")
    diff.add_argument("--messages", type=int, default=1000, help="recent messages that both judge (default 1000)")
    train = action("train", run_train, "train a candidate from the reports now, and let the gate judge it")
    train.add_argument("--from-scratch", action="store_true", help="from the reports alone, without the seed's weights")
    reasoned(action("promote", run_promote, "let a model score mail", named=True), force=True)
    reasoned(action("rollback", run_rollback, "go back to the model that was in use before"), force=False)
    shadow = action("shadow", run_shadow, "let a model score live mail beside the one in use, without effect")
    shadow.add_argument("name", metavar="NAME")
    shadow.add_argument("--off", action="store_true", help="end it instead")
    reasoned(shadow, force=True)
    export = action("export", run_export, "write a model into a tar file for another site", named=True)
    export.add_argument("file", metavar="FILE", type=Path, help="must not be there yet")
    load = action("import", run_import, "install a model from such a file as a candidate; its key must be trusted")
    load.add_argument("file", metavar="FILE", type=Path)
    load.add_argument("--name", help="of its folder here (default: the name in its manifest)")
    sign = action("sign", run_sign, "sign a model folder that was made here, such as the one model.path names")
    sign.add_argument("path", metavar="PATH", type=Path)
    action("key", run_key, "print the public key that this site's models are signed with")
    events = action("events", run_events, "what happened to models, newest first")
    events.add_argument("--limit", type=int, default=50, help="at most so many (default 50)")
    action("drift", run_drift, "whether mail is still what the model in use was made for")


def run_list(options: argparse.Namespace) -> int:
    """Print the table of all models."""
    config, database = _open(options)
    return _say(
        options, found := [asdict(item) for item in modelview.overview(config, database)], modeltext.all_models(found)
    )


def run_show(options: argparse.Namespace) -> int:
    """Print everything about one model."""
    config, database = _open(options)
    found = modelview.details(config, database, options.name)
    return _say(options, found, modeltext.one_model(found))


def run_diff(options: argparse.Namespace) -> int:
    """Print how two models differ; the comparison is a process of its own, it needs the training's libraries."""
    load_config(options.config)
    command = _python("api.compare", options.config, "--messages", str(options.messages), "--", options.a, options.b)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_COMPARE_SECONDS, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise FilterdError(
            f"the comparison took more than {_COMPARE_SECONDS:.0f} seconds: give --messages 100"
        ) from None
    if done.returncode:
        return done.returncode
    found = json.loads(done.stdout)
    return _say(options, found, modeltext.comparison(found))


def run_train(options: argparse.Namespace) -> int:
    """Train, judge, and go on as far as gate and configuration let it; exit status 1 when there is no candidate."""
    config, database = _open(options)
    name = f"candidate-{secrets.token_hex(6)}"
    out = config.state_dir / "models" / name
    out.parent.mkdir(parents=True, exist_ok=True)
    extra = ["--from-scratch"] if options.from_scratch else []
    models.add_event(database, "training", name, _BY, {})
    command = _python("api.retrain", options.config, "--out", str(out), "--actor", _BY, *extra)
    try:
        answer = run_training(command, terminal())
    except TrainingFailedError as error:
        models.add_event(database, "training_failed", name, _BY, {"error": str(error)})
        print(f"filterd: no candidate: {error}", file=sys.stderr)
        return 1
    modelswitch.finish(config, database, name, answer, _BY)
    modelspace.tidy(config, database)
    found = modelview.details(config, database, name)
    return _say(options, found, modeltext.one_model(found))


def run_promote(options: argparse.Namespace) -> int:
    """Promote a model; what is in use now is printed."""
    config, database = _open(options)
    done = modelswitch.promote(config, database, options.name, _BY, force=options.force, reason=options.reason)
    text = f"{done.name} ({done.model}) is in use, before it {done.before}; workers follow within 10 seconds"
    return _say(options, asdict(done), text)


def run_rollback(options: argparse.Namespace) -> int:
    """Go back; what is in use now is printed."""
    config, database = _open(options)
    done = modelswitch.rollback(config, database, _BY, reason=options.reason)
    lines = [f"{name} was passed over: {why}" for name, why in done.skipped.items()]
    lines.append(f"{done.name} ({done.model}) is in use again, {done.before} is not; workers follow within 10 seconds")
    return _say(options, asdict(done), "\n".join(lines))


def run_shadow(options: argparse.Namespace) -> int:
    """Begin or end a model's time in shadow; exit status 1 when there is none to end."""
    config, database = _open(options)
    if options.off:
        if modelswitch.end_shadow(database, options.name, None, _BY, {"reason": options.reason}):
            return _say(options, {"name": options.name, "shadow": False}, f"{options.name} is no longer in shadow")
        print(f"filterd: {options.name} is not in shadow", file=sys.stderr)
        return 1
    modelswitch.shadow(config, database, options.name, _BY, force=options.force, reason=options.reason)
    learning = config.learning
    text = f"{options.name} is in shadow, for {learning.shadow_hours} hours and {learning.shadow_messages} messages"
    return _say(options, {"name": options.name, "shadow": True}, text)


def run_export(options: argparse.Namespace) -> int:
    """Write the tar file; the key that the other site must trust is printed."""
    config = load_config(options.config)
    try:
        key = modelbundle.write_bundle(config, options.name, options.file)
    except OSError as error:
        raise ConfigError([f"{options.file}: {error.strerror or error}"]) from None
    text = f"{options.file} written; the other site needs in learning.trusted_keys: {key}"
    return _say(options, {"file": str(options.file), "key": key}, text)


def run_import(options: argparse.Namespace) -> int:
    """Install a model as a candidate."""
    config, database = _open(options)
    try:
        with options.file.open("rb") as file:
            octets = file.read(modelbundle.MAX_BUNDLE + 1)
    except OSError as error:
        raise ConfigError([f"{options.file}: {error.strerror or error}"]) from None
    row = modelbundle.import_bundle(config, database, octets, _BY, options.name)
    text = f"{row.name} is installed as a candidate; the gate of this site has not judged it, so that promote takes --force"
    return _say(options, {"name": row.name, "model": row.model, "state": row.state.value}, text)


def run_sign(options: argparse.Namespace) -> int:
    """Sign a folder whose files agree with its manifest."""
    config = load_config(options.config)
    model = Model.load(options.path)
    try:
        key = model_key.own_key(config.state_dir)
        model_key.sign(options.path, key)
    except OSError as error:
        raise ConfigError([f"{options.path}: {error.strerror or error}"]) from None
    return _say(options, {"model": model.name, "key": key.public}, f"{model.name} is signed with this site's key")


def run_key(options: argparse.Namespace) -> int:
    """Print the public key; it is made when there is none yet."""
    key = model_key.own_key(load_config(options.config).state_dir).public
    return _say(options, {"key": key}, key)


def run_events(options: argparse.Namespace) -> int:
    """Print what happened."""
    _, database = _open(options)
    found = [asdict(event) for event in models.events(database, limit=options.limit)]
    return _say(options, found, modeltext.history(found))


def run_drift(options: argparse.Namespace) -> int:
    """Print what the last daily look found."""
    _, database = _open(options)
    found = drift.state(database)
    return _say(options, found, modeltext.drift(found))


def _open(options: argparse.Namespace) -> tuple[Config, Database]:
    config = load_config(options.config)
    return config, open_database(config)


def _say(options: argparse.Namespace, value: Any, text: str) -> int:
    if options.json:
        print_json(value)
    else:
        print(text)
    return 0


def _python(module: str, config: Path, *arguments: str) -> list[str]:
    """Another part of the installation, by name: the daemon does not import it."""
    return [sys.executable, "-m", module, "--config", str(config), *arguments]
