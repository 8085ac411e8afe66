"""Owns models for tests: variants of the shipped seed that are signed, installed, damaged.  Not part of the product."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from filterd import modelstore
from filterd.adapters import model_key
from filterd.classifier.manifest import MANIFEST, WEIGHTS
from filterd.config import SEED_MODEL, Config
from filterd.storage import models
from filterd.storage.database import Database
from filterd.storage.models import ModelRow

_KILLED = 137  # as a shell tells it
PASSED: dict[str, Any] = {
    "verdict": "passed",
    "criteria": [{"name": "pins", "passed": True, "text": "no confirmed good mail is pinned yet", "messages": []}],
}
REFUSED: dict[str, Any] = {
    "verdict": "refused",
    "criteria": [
        {
            "name": "pins",
            "passed": False,
            "text": "1 of 3 pinned good messages would be called spam again",
            "messages": ["06H0KA497Z54F66G"],
        },
        {"name": "caught", "passed": True, "text": "33 of 34 held-out spam caught", "messages": []},
    ],
}
UNPROVEN: dict[str, Any] = {
    "verdict": "not_enough_evidence",
    "criteria": [
        {"name": "evidence", "passed": False, "text": "3 good and 4 spam, 30 of each are needed", "messages": []}
    ],
}


def make_model(folder: Path, number: int = 1, **manifest: Any) -> str:
    """An unsigned model whose weights are the seed's but for a few; its id.  `manifest`: keys to change."""
    folder.mkdir(parents=True)
    weights = np.fromfile(SEED_MODEL / WEIGHTS, "<f4")
    weights[:number] += 0.25
    weights.tofile(folder / WEIGHTS)
    for name in ("information.f32",):
        os.link(SEED_MODEL / name, folder / name) if _same_disk(folder) else shutil.copy(SEED_MODEL / name, folder)
    data = json.loads((SEED_MODEL / MANIFEST).read_text())
    digest = sha256(weights.tobytes()).hexdigest()
    data["files"][WEIGHTS]["sha256"] = digest
    data |= {"name": f"local-{digest[:12]}", "training": {"base": data["name"], "learned": {"ham": 0, "spam": number}}}
    (folder / MANIFEST).write_text(json.dumps({**data, **manifest}, indent=2) + "\n")
    return str(data["name"])


def sign(state_dir: Path, folder: Path) -> None:
    """Sign a folder with the key of that site."""
    model_key.sign(folder, model_key.own_key(state_dir))


def installed(
    config: Config, db: Database, name: str, number: int = 1, gate: Mapping[str, Any] = PASSED, position: int = 0
) -> ModelRow:
    """A signed model with its row, as training leaves it."""
    make_model(config.state_dir / "models" / name, number)
    return modelstore.install(config, db, name, position=position, gate=gate, actor="test")


def killed(step: str, work: Callable[[], object]) -> bool:
    """Run `work` in a process that dies, as by kill -9, when it reaches the function that `step` names; whether it did.

    `step`: dotted name, with "!" behind it to die after the function instead of before.
    """
    name = step.rstrip("!")
    module, _, function = name.rpartition(".")
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == _KILLED
    status = 1
    try:
        owner = importlib.import_module(module)
        real = getattr(owner, function)

        def die(*args: Any, **kwargs: Any) -> None:
            if step.endswith("!"):
                real(*args, **kwargs)
            os._exit(_KILLED)

        setattr(owner, function, die)
        work()
        status = 0
    finally:
        os._exit(status)


def damage(file: Path, at: int = 1000) -> None:
    """Turn one bit of a file."""
    octets = bytearray(file.read_bytes())
    octets[at] ^= 1
    file.unlink()  # it may be a second name of the seed's
    file.write_bytes(octets)


def _same_disk(folder: Path) -> bool:
    return folder.stat().st_dev == SEED_MODEL.stat().st_dev


def state(db: Database, name: str) -> str:
    """What the row of a model says of it."""
    row = models.get(db, name)
    assert row is not None
    return row.state.value


def folder(config: Config, name: str) -> Path:
    """Where a model of that name lies, or would."""
    return config.state_dir / "models" / name
