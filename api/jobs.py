"""Owns the training of candidate models: one niced subprocess at a time, under a deadline, never activated by itself.

Jobs are remembered until the process ends; a candidate that was finished stays in state_dir/models.
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
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from api.problems import conflict
from filterd.storage.database import now_ms

log = logging.getLogger(__name__)

DEADLINE_SECONDS = 3_600.0
_KILL_SECONDS = 5.0
_KEPT = 50  # jobs remembered
_OUTPUT = 65_536  # octets of the child's answer
_TAIL = 2_000  # characters of its complaint


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
    result: dict[str, Any] = field(default_factory=dict)


class Jobs:
    """Starts and remembers trainings."""

    def __init__(self, models: Path, command: list[str] | None, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """`command`: is given `--out FOLDER`, prints a JSON object, ends with 0; None when there is no configuration file."""
        self._models = models
        self._command = command
        self._deadline = deadline_seconds
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def get(self, id: str) -> Job | None:
        """A job, or None."""
        return self._jobs.get(id)

    def all(self) -> list[Job]:
        """The jobs, newest first."""
        return list(reversed(self._jobs.values()))

    def start(self, actor: str) -> Job:
        """Begin a training.  Raises ApiError 409 while another one runs."""
        if self._command is None:
            raise conflict("the API was started without a configuration file", "start it with --config")
        if self._task is not None and not self._task.done():
            running = next(job for job in self.all() if job.state is JobState.RUNNING)
            raise conflict(f"job {running.id} is still running", f"wait for GET /v1/jobs/{running.id} to say done")
        at = now_ms()
        id = secrets.token_hex(6)
        job = Job(id, f"candidate-{id}", at, actor)
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
            job.result = await self._train([*command, "--out", str(out)])
            job.state = JobState.DONE
        except asyncio.CancelledError:
            job.state, job.error = JobState.FAILED, "stopped because the API process ended"
            raise
        except TimeoutError:
            job.state, job.error = JobState.FAILED, f"took more than {self._deadline:.0f} seconds"
        except (OSError, ValueError, RuntimeError) as error:
            job.state, job.error = JobState.FAILED, str(error)[-_TAIL:]
        finally:
            job.ended_ms = now_ms()
            if job.state is not JobState.DONE:
                shutil.rmtree(out, ignore_errors=True)
            log.info("training ended", extra={"job": job.id, "state": job.state.value, "error": job.error})

    async def _train(self, command: list[str]) -> dict[str, Any]:
        """What the child prints.  Raises TimeoutError, OSError, ValueError (no JSON), RuntimeError (its complaint)."""
        self._models.mkdir(parents=True, exist_ok=True)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            async with asyncio.timeout(self._deadline):
                output, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode != 0:
            text = complaint[-_TAIL * 4 :].decode("utf-8", "replace").strip()
            raise RuntimeError(_without_traceback(text) or f"ended with status {process.returncode}")
        found = json.loads(output[:_OUTPUT])
        if not isinstance(found, dict):
            raise ValueError("training answered with something that is no JSON object")
        return found


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


def retrain_command(config_path: Path) -> list[str]:
    """The command that trains a candidate from the reports."""
    return [sys.executable, "-m", "api.retrain", "--config", str(config_path)]
