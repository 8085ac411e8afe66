"""`make run` from the outside: every sample ends where it should, and Ctrl-C ends the sandbox cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.daemon import free_port, port_is_free
from tests.support.material import CHECKOUT


def start(folder: Path, *flags: str) -> tuple[subprocess.Popen[str], int, int]:
    """The sandbox as `make run` starts it, its front door and its API port."""
    smtp_port, api_port = free_port(), free_port()
    command = [sys.executable, "-m", "sandbox", "--state-dir", str(folder / "state")]
    command += ["--smtp-port", str(smtp_port), "--api-port", str(api_port), *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, smtp_port, api_port


@pytest.mark.slow
def test_every_sample_ends_where_it_should(tmp_path: Path) -> None:
    process, smtp_port, api_port = start(tmp_path, "--once")
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "good mail, signed" in output
    assert port_is_free("127.0.0.1", smtp_port)
    assert port_is_free("127.0.0.1", api_port)


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    process, smtp_port, api_port = start(tmp_path)
    output = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if line.startswith("Ctrl-C"):
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, "".join([*output, rest])
    text = "".join(output)
    assert f"127.0.0.1:{smtp_port}" in text
    assert f"http://127.0.0.1:{api_port}/docs" in text
    assert port_is_free("127.0.0.1", smtp_port)
    assert port_is_free("127.0.0.1", api_port)
