"""Owns the training of candidate models: one niced subprocess at a time, under a deadline; what follows is modelswitch's.

A job is remembered by this process, its beginning and end by the models' events, so that a restart forgets none.
Must not know how training works.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from api.problems import conflict, unavailable
from filterd import modelspace, modelswitch
from filterd.config import Config
from filterd.errors import FilterdError, ModelError
from filterd.storage import models
from filterd.storage.database import Database, now_ms
from filterd.storage.models import ModelEvent

log = logging.getLogger(__name__)

DEADLINE_SECONDS = 3_600.0
COMPARE_SECONDS = 60.0  # 5,000 messages take 2 s
_KILL_SECONDS = 5.0
_KEPT = 50  # jobs remembered
_LINE = 1_048_576  # octets of the child's answer, or of one word about its progress
_PREFIX = "candidate-"
_KINDS = ("training", "trained", "training_failed")  # events of a job
_ENDED = "stopped because the API process ended"
_TAIL = 2_000  # characters of its complaint
_comparing = asyncio.Lock()  # nobody waits for it


class JobState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """One training.

    Attributes:
        model: name of the candidate's folder below state_dir/models.
        progress: what the child said last about how far it is.
        result: what training reports, once done.
        error: why it failed.
        ended_ms: Unix milliseconds, None while it runs.
    """

    id: str
    model: str
    created_ms: int
    created_by: str
    state: JobState = JobState.RUNNING
    ended_ms: int | None = None
    error: str = ""
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)


class Jobs:
    """Starts and remembers trainings."""

    def __init__(
        self, config: Config, database: Database, command: list[str] | None, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        """`command`: is given `--out FOLDER --actor NAME`, ends with 0; None when there is no configuration file.

        Its last line is the result, a JSON object; before it there may be lines {"progress": {…}}.
        """
        self._config = config
        self._database = database
        self._models = config.state_dir / "models"
        self._command = command
        self._deadline = deadline_seconds
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    @property
    def can_train(self) -> bool:
        """Whether there is a configuration file to train with, and no training runs."""
        return self._command is not None and (self._task is None or self._task.done())

    def get(self, id: str) -> Job | None:
        """A job, or None.  Blocks."""
        if id in self._jobs:
            return self._jobs[id]
        return _remembered(models.events(self._database, f"{_PREFIX}{id}", kinds=_KINDS), self._database)

    def all(self) -> list[Job]:
        """The newest jobs, newest first.  Blocks."""
        found = list(reversed(self._jobs.values()))
        for event in models.events(self._database, kinds=("training",), limit=_KEPT):
            id = event.name.removeprefix(_PREFIX)
            if id not in self._jobs and (job := self.get(id)) is not None:
                found.append(job)
        return sorted(found, key=lambda job: job.created_ms, reverse=True)[:_KEPT]

    def start(self, actor: str) -> Job:
        """Begin a training.  Raises ApiError 409 while another one runs."""
        if self._command is None:
            raise conflict("the API was started without a configuration file", "start it with --config")
        if self._task is not None and not self._task.done():
            running = next(job for job in self._jobs.values() if job.state is JobState.RUNNING)
            raise conflict(f"job {running.id} is still running", f"wait for GET /v1/jobs/{running.id} to say done")
        at = now_ms()
        id = secrets.token_hex(6)
        job = Job(id, f"{_PREFIX}{id}", at, actor)
        self._jobs[job.id] = job
        while len(self._jobs) > _KEPT:
            self._jobs.popitem(last=False)
        self._task = asyncio.get_running_loop().create_task(self._run(job, self._command))
        return job

    async def close(self) -> None:
        """End a running training."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, job: Job, command: list[str]) -> None:
        out = self._models / job.model
        log.info("training started", extra={"job": job.id, "by": job.created_by})
        try:
            await asyncio.to_thread(models.add_event, self._database, "training", job.model, job.created_by, {})
            job.result = await self._train([*command, "--out", str(out), "--actor", job.created_by], job)
            row = await asyncio.to_thread(
                modelswitch.finish, self._config, self._database, job.model, job.result, job.created_by
            )
            job.result = {**job.result, "state": row.state.value}
            await asyncio.to_thread(modelspace.tidy, self._config, self._database)
            job.state = JobState.DONE
        except asyncio.CancelledError:
            job.state, job.error = JobState.FAILED, _ENDED
            raise
        except TimeoutError:
            job.state, job.error = JobState.FAILED, f"took more than {self._deadline:.0f} seconds"
        except (OSError, ValueError, RuntimeError, FilterdError) as error:
            job.state, job.error = JobState.FAILED, str(error)[-_TAIL:]
        finally:
            job.ended_ms = now_ms()
            if job.state is not JobState.DONE:
                self._failed(job, out)
            log.info("training ended", extra={"job": job.id, "state": job.state.value, "error": job.error})

    def _failed(self, job: Job, out: Path) -> None:
        """What was written so far goes, unless it is a model already that only could not go on."""
        job.state = JobState.FAILED
        try:
            if models.get(self._database, job.model) is None:
                shutil.rmtree(out, ignore_errors=True)
            detail = {"error": job.error or "a fault of filterd, see the log"}
            models.add_event(self._database, "training_failed", job.model, job.created_by, detail)
        except FilterdError as error:
            log.error("the end of a training cannot be recorded", extra={"job": job.id, "error": str(error)})

    async def _train(self, command: list[str], job: Job) -> dict[str, Any]:
        """What the child prints.  Raises TimeoutError, OSError, ValueError (no JSON), RuntimeError (its complaint)."""
        self._models.mkdir(parents=True, exist_ok=True)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True, limit=_LINE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(self._deadline):
                complaint, last = await asyncio.gather(_tail(process.stderr), _follow(process.stdout, job))
                await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode != 0:
            text = complaint.decode("utf-8", "replace").strip()
            raise RuntimeError(_without_traceback(text) or f"ended with status {process.returncode}")
        found = json.loads(last)
        if not isinstance(found, dict):
            raise ValueError("training answered with something that is no JSON object")
        return found


async def _follow(lines: asyncio.StreamReader, job: Job) -> bytes:
    """The last line; those before it that are {"progress": {…}} are the job's progress.  Raises ValueError beyond _LINE."""
    last = b""
    while line := await lines.readline():
        last = line
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict) and isinstance(found.get("progress"), dict):
                job.progress = found["progress"]
    return last


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The end of what is said there."""
    kept = b""
    while block := await stream.read(_TAIL * 4):
        kept = (kept + block)[-_TAIL * 4 :]
    return kept


def _remembered(events: Sequence[ModelEvent], database: Database) -> Job | None:
    """The job of an earlier process, from the events of its model, newest first."""
    begun = next((event for event in events if event.kind == "training"), None)
    if begun is None:
        return None
    job = Job(begun.name.removeprefix(_PREFIX), begun.name, begun.at_ms, begun.actor)
    done = next((event for event in events if event.kind == "trained"), None)
    failed = next((event for event in events if event.kind == "training_failed"), None)
    row = models.get(database, begun.name)
    if done is not None and row is not None:
        job.state, job.ended_ms = JobState.DONE, done.at_ms
        job.result = {"model": row.model, "position": row.position, "gate": dict(row.gate), "state": row.state.value}
    else:
        job.state, job.error = JobState.FAILED, str(failed.detail.get("error", "")) if failed else _ENDED
        job.ended_ms = failed.at_ms if failed else None
    return job


def _without_traceback(text: str) -> str:
    """The last line when the child crashed: the log has the rest."""
    if "Traceback (most recent call last)" in text:
        log.error("training crashed", extra={"output": text})
        return text.splitlines()[-1]
    return text


async def _end(process: asyncio.subprocess.Process) -> None:
    """Terminate the child and whatever it started, then kill."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await process.wait()
            return
        except TimeoutError:
            continue


async def compare_models(config_path: Path, a: str, b: str, messages: int) -> dict[str, Any]:
    """What `python -m api.compare` says of two models.

    One at a time: each is a process with 100 MB, and whoever may read may ask.  Raises ApiError 409 while another one runs,
    503 when it takes too long, ModelError.
    """
    if _comparing.locked():
        raise conflict("another comparison is running", "ask again in some seconds")
    async with _comparing:
        return await _compare(config_path, a, b, messages)


async def _compare(config_path: Path, a: str, b: str, messages: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "api.compare", "--config", str(config_path), "--messages", str(messages), a, b]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        async with asyncio.timeout(COMPARE_SECONDS):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise unavailable(f"the comparison took more than {COMPARE_SECONDS:.0f} seconds") from None
    finally:
        if process.returncode is None:
            await _end(process)
    if process.returncode != 0:
        text = complaint[-_TAIL:].decode("utf-8", "replace").strip()
        raise ModelError(_without_traceback(text) or f"the comparison ended with status {process.returncode}")
    found: dict[str, Any] = json.loads(output)
    return found


def retrain_command(config_path: Path) -> list[str]:
    """The command that trains a candidate from the reports."""
    return [sys.executable, "-m", "api.retrain", "--config", str(config_path)]
