"""One training at a time, in a process of its own, with a deadline; a failed one leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from api.jobs import Job, Jobs, JobState, compare_models
from api.problems import ApiError
from filterd.errors import ModelError
from filterd.storage import models
from filterd.storage.database import Database
from filterd.storage.models import ModelState
from tests.support.sideservice import make_config
from tests.support.storage import make_database

# A candidate is made as training makes it: the folder, then one line of JSON with position and gate.
FINE = """
import json, pathlib, sys
from tests.support.models import make_model, %s as gate
print(json.dumps({"progress": {"step": "learning", "share": 0.5}}))
model = make_model(pathlib.Path(sys.argv[2]))
print(json.dumps({"model": model, "position": 3, "gate": gate}))
"""
COMPLAINS = "import sys, os; os.mkdir(sys.argv[2]); print('too few reports', file=sys.stderr); sys.exit(1)"
CRASHES = "raise RuntimeError('bug')"
NO_JSON = "print('hello')"
A_LIST = "print('[]')"
HANGS = "import sys, os, time; os.mkdir(sys.argv[2]); time.sleep(600)"
TELLS_AND_HANGS = "import sys, os, time; os.mkdir(sys.argv[2]); open(%r, 'w').write(str(os.getpid())); time.sleep(600)"


def make_jobs(tmp_path: Path, command: list[str], deadline: float = 30.0, **learning: object) -> tuple[Jobs, Database]:
    database = make_database(tmp_path)
    return Jobs(make_config(tmp_path, learning=learning), database, command, deadline), database


def train(tmp_path: Path, code: str, deadline: float = 30.0, **learning: object) -> Job:
    async def story() -> Job:
        jobs, database = make_jobs(tmp_path, [sys.executable, "-c", code], deadline, **learning)
        job = jobs.start("anna")
        assert job.state is JobState.RUNNING
        assert not jobs.can_train
        assert jobs._task is not None
        await jobs._task
        assert jobs.get(job.id) is job
        after = Jobs(jobs._config, database, None).get(job.id)
        assert after is not None, "an API process that was started again knows it"
        assert (after.state, after.error, after.created_by) == (job.state, job.error, "anna")
        return job

    return asyncio.run(story())


NO_SHADOW = {"shadow_hours": 0, "shadow_messages": 0}


def state_of(tmp_path: Path, job: Job) -> ModelState:
    row = models.get(make_database(tmp_path), job.model)
    assert row is not None
    return row.state


@pytest.mark.parametrize(
    ("gate", "learning", "state"),
    [
        ("PASSED", {}, ModelState.SHADOW),
        ("PASSED", {"shadow_hours": 0, "promote": "automatic"}, ModelState.SHADOW),
        ("PASSED", {"shadow_messages": 0, "promote": "automatic"}, ModelState.SHADOW),
        ("PASSED", NO_SHADOW, ModelState.PASSED),
        ("PASSED", {**NO_SHADOW, "promote": "automatic"}, ModelState.ACTIVE),
        ("REFUSED", {**NO_SHADOW, "promote": "automatic"}, ModelState.REFUSED),
        ("UNPROVEN", {**NO_SHADOW, "promote": "automatic"}, ModelState.UNPROVEN),
    ],
)
def test_a_candidate_goes_as_far_as_the_gate_and_the_configuration_let_it(
    tmp_path: Path, gate: str, learning: dict[str, object], state: ModelState
) -> None:
    job = train(tmp_path, FINE % gate, **learning)
    assert (job.state, job.error, job.result["position"]) == (JobState.DONE, "", 3)
    assert job.progress == {"step": "learning", "share": 0.5}
    assert job.ended_ms is not None
    assert state_of(tmp_path, job) is state


def test_a_newer_candidate_takes_the_place_in_shadow(tmp_path: Path) -> None:
    first, second = (train(tmp_path, FINE % "PASSED") for _ in range(2))
    assert state_of(tmp_path, first) is ModelState.PASSED
    assert state_of(tmp_path, second) is ModelState.SHADOW
    database = make_database(tmp_path)
    assert models.events(database, first.model)[0].detail["newer"] == second.model


def test_a_training_that_was_killed_with_the_service_is_known_as_failed(tmp_path: Path) -> None:
    jobs, database = make_jobs(tmp_path, ["true"])
    models.add_event(database, "training", "candidate-abc", "anna", {})
    job = jobs.get("abc")
    assert job is not None
    assert (job.state, job.ended_ms) == (JobState.FAILED, None)
    assert "ended" in job.error
    assert [each.id for each in jobs.all()] == ["abc"]
    assert jobs.get("abcd") is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (COMPLAINS, "too few reports"),
        (CRASHES, "RuntimeError: bug"),
        (NO_JSON, "Expecting value"),
        (A_LIST, "no JSON object"),
    ],
)
def test_a_failed_training_says_why_and_leaves_nothing(tmp_path: Path, code: str, error: str) -> None:
    job = train(tmp_path, code)
    assert job.state is JobState.FAILED
    assert error in job.error
    assert "Traceback" not in job.error
    assert not (tmp_path / "models" / job.model).exists()


def test_a_training_that_hangs_is_ended(tmp_path: Path) -> None:
    job = train(tmp_path, HANGS, deadline=1.0)
    assert job.state is JobState.FAILED
    assert "more than 1 seconds" in job.error
    assert not (tmp_path / "models" / job.model).exists()


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    async def story() -> Job:
        jobs, _ = make_jobs(tmp_path, ["/nonexistent/python"])
        job = jobs.start("anna")
        assert jobs._task is not None
        await jobs._task
        return job

    assert asyncio.run(story()).state is JobState.FAILED


def test_one_at_a_time_and_the_end_of_the_service_ends_it(tmp_path: Path) -> None:
    async def story() -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        jobs, _ = make_jobs(tmp_path, [sys.executable, "-c", TELLS_AND_HANGS % str(pipe)])
        job = jobs.start("anna")
        with pytest.raises(ApiError, match=job.id) as refused:
            jobs.start("berta")
        assert refused.value.status_code == 409
        number = int(await asyncio.to_thread(pipe.read_text))  # returns when the child has written
        await jobs.close()
        assert job.state is JobState.FAILED
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
        assert not (tmp_path / "models" / job.model).exists()
        await jobs.close()

    asyncio.run(story())


def test_old_jobs_are_forgotten(tmp_path: Path) -> None:
    async def story() -> int:
        jobs, _ = make_jobs(tmp_path, ["/nonexistent/python"])
        for _ in range(60):
            jobs.start("anna")
            assert jobs._task is not None
            await jobs._task
        return len(jobs.all())

    assert asyncio.run(story()) == 50


def test_one_comparison_at_a_time_whoever_asks(tmp_path: Path) -> None:
    async def ask(times: int) -> list[object]:
        asked = (compare_models(tmp_path / "none.toml", "a", "b", 1) for _ in range(times))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    first, *others = asyncio.run(ask(3))
    assert isinstance(first, ModelError), "the file is not there"
    assert ["another comparison" in str(other) for other in others] == [True, True]
    (again,) = asyncio.run(ask(1))
    assert isinstance(again, ModelError)
