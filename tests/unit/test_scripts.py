"""The shell scripts behind `make` say what is missing and how to get it, and clean up after themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.material import CHECKOUT

_LINES = (CHECKOUT / "tests" / "servers.txt").read_text().splitlines()
PACKAGES = " ".join(name for line in _LINES if (name := line.partition("#")[0].strip()))


def run(script: str, folder: Path, commands: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The script in `folder`, with shell one-liners in place of the named commands."""
    tools = folder / "tools"
    tools.mkdir()
    for name, body in commands.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return subprocess.run(
        ["sh", str(CHECKOUT / script)],
        cwd=folder,
        env={"PATH": path, "CREATECLUSTER_D": str(folder / "clusters"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_old_python_is_refused_with_the_way_out(tmp_path: Path) -> None:
    body = 'case "$2" in *print*) echo 3.9;; *) exit 1;; esac'
    done = run("requirements/install.sh", tmp_path, {"python3": body})
    assert done.returncode == 2
    assert "Python 3.11 or later is needed, python3 is 3.9" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_a_missing_python_is_named(tmp_path: Path) -> None:
    done = run("requirements/install.sh", tmp_path, {}, PYTHON="python9")
    assert done.returncode == 2
    assert "python9 is not here" in done.stderr


def test_without_root_a_missing_venv_module_is_a_command_to_type(tmp_path: Path) -> None:
    body = 'case "$2" in *print*) echo 3.12;; *ensurepip*) exit 1;; esac'
    done = run("requirements/install.sh", tmp_path, {"python3": body, "id": "echo 1000"})
    assert done.returncode == 2
    assert "sudo apt-get install python3.12-venv" in done.stderr


def test_as_root_a_missing_venv_module_is_installed(tmp_path: Path) -> None:
    body = 'case "$2" in *print*) echo 3.12;; *ensurepip*) exit 1;; -m) exit 3;; esac; [ "$1" != -m ] || exit 3'
    commands = {"python3": body, "id": "echo 0", "apt-get": 'echo "$@" >>apt.log'}
    assert run("requirements/install.sh", tmp_path, commands).returncode == 3  # where the double of venv stops
    assert (tmp_path / "apt.log").read_text().splitlines()[-1].endswith(" python3.12-venv")


def test_nothing_is_installed_when_all_servers_are_here(tmp_path: Path) -> None:
    done = run("tests/servers.sh", tmp_path, {"dpkg-query": "echo installed", "apt-get": "exit 9", "id": "echo 0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_root_the_missing_servers_are_a_command_to_type(tmp_path: Path) -> None:
    done = run("tests/servers.sh", tmp_path, {"dpkg-query": "exit 1", "apt-get": "exit 9", "id": "echo 1000"})
    assert done.returncode == 0
    assert f"sudo apt-get install {PACKAGES}\n" in done.stderr


@pytest.mark.parametrize(("outcome", "status"), [("true", 0), ("exit 100", 100)])
def test_servers_are_installed_without_being_started(tmp_path: Path, outcome: str, status: int) -> None:
    policy = tmp_path / "policy-rc.d"
    body = f'echo "$@" >>apt.log; [ "$2" = update ] || {{ sh "{policy}"; echo "policy $?" >>apt.log; cat clusters/*.conf >>apt.log; {outcome}; }}'
    commands = {"dpkg-query": "exit 1", "apt-get": body, "id": "echo 0", "debconf-set-selections": "cat >/dev/null"}
    assert run("tests/servers.sh", tmp_path, commands, POLICY_RC_D=str(policy)).returncode == status
    log = (tmp_path / "apt.log").read_text().splitlines()
    assert log[0].endswith(" update")
    assert log[1].endswith(f" {PACKAGES}")
    assert log[2:] == ["policy 101", "create_main_cluster = false"]
    assert not policy.exists()
    assert list((tmp_path / "clusters").iterdir()) == []


def test_a_policy_of_the_machine_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    commands = {"dpkg-query": "exit 1", "apt-get": "true", "id": "echo 0", "debconf-set-selections": "cat >/dev/null"}
    assert run("tests/servers.sh", tmp_path, commands, POLICY_RC_D=str(policy)).returncode == 0
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


@pytest.mark.parametrize(
    ("mark", "ci", "expected"),
    [
        ('server("no-such-server")', "", "1 skipped"),
        ('server("no-such-server")', "true", "1 error"),
        ('server("sh")', "true", "1 passed"),
        ("server", "", "1 error"),
    ],
)
def test_a_missing_server_is_skipped_by_name_and_fails_in_ci(tmp_path: Path, mark: str, ci: str, expected: str) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n\n@pytest.mark.{mark}\ndef test_it():\n    pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = server: a real server\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rsE", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert expected in done.stdout.splitlines()[-1]
    assert ("no-such-server" in done.stdout) == ("no-such" in mark)


def test_ci_passes_the_exit_status_on(tmp_path: Path) -> None:
    """`.ci/run` with a double of make: no standard input, the same status."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "make").write_text('#!/bin/sh\necho "$@"\nread line && exit 1\nexit 7\n')
    (tools / "make").chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(CHECKOUT / ".ci" / "run")],
        cwd=tmp_path,
        env={"PATH": path},
        input="text\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, "--no-print-directory test\n")
