"""One training at a time, in a process of its own, with a deadline; a failed one leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from api.jobs import Job, Jobs, JobState
from api.problems import ApiError

FINE = "import sys, os; os.mkdir(sys.argv[2]); print('{\"examples\": 3}')"
COMPLAINS = "import sys, os; os.mkdir(sys.argv[2]); print('too few reports', file=sys.stderr); sys.exit(1)"
CRASHES = "raise RuntimeError('bug')"
NO_JSON = "print('hello')"
A_LIST = "print('[]')"
HANGS = "import sys, os, time; os.mkdir(sys.argv[2]); time.sleep(600)"
TELLS_AND_HANGS = "import sys, os, time; os.mkdir(sys.argv[2]); open(%r, 'w').write(str(os.getpid())); time.sleep(600)"


def train(tmp_path: Path, code: str, deadline: float = 30.0) -> Job:
    async def story() -> Job:
        jobs = Jobs(tmp_path / "models", [sys.executable, "-c", code], deadline)
        job = jobs.start("anna")
        assert job.state is JobState.RUNNING
        assert jobs._task is not None
        await jobs._task
        assert jobs.get(job.id) is job
        return job

    return asyncio.run(story())


def test_a_candidate_is_made(tmp_path: Path) -> None:
    job = train(tmp_path, FINE)
    assert (job.state, job.result, job.error) == (JobState.DONE, {"examples": 3}, "")
    assert (tmp_path / "models" / job.model).is_dir()
    assert job.ended_ms is not None


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
        jobs = Jobs(tmp_path, ["/nonexistent/python"])
        job = jobs.start("anna")
        assert jobs._task is not None
        await jobs._task
        return job

    assert asyncio.run(story()).state is JobState.FAILED


def test_one_at_a_time_and_the_end_of_the_service_ends_it(tmp_path: Path) -> None:
    async def story() -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        jobs = Jobs(tmp_path, [sys.executable, "-c", TELLS_AND_HANGS % str(pipe)])
        job = jobs.start("anna")
        with pytest.raises(ApiError, match=job.id) as refused:
            jobs.start("berta")
        assert refused.value.status_code == 409
        number = int(await asyncio.to_thread(pipe.read_text))  # returns when the child has written
        await jobs.close()
        assert job.state is JobState.FAILED
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
        assert not (tmp_path / job.model).exists()
        await jobs.close()

    asyncio.run(story())


def test_old_jobs_are_forgotten(tmp_path: Path) -> None:
    async def story() -> int:
        jobs = Jobs(tmp_path, ["/nonexistent/python"])
        for _ in range(60):
            jobs.start("anna")
            assert jobs._task is not None
            await jobs._task
        return len(jobs.all())

    assert asyncio.run(story()) == 50
