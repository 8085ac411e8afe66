"""The container is built from the lock and runs without root: built where a builder is, linted everywhere."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from filterd.config import load_config
from tests.support.dockerfile import lint
from tests.support.material import CHECKOUT

GOOD = """\
FROM python:3.11-slim AS build
RUN pip install --require-hashes -r r.txt && pip install --no-deps .
FROM build AS run
COPY --from=build /a /a
USER filterd
HEALTHCHECK --interval=30s \\
    CMD ["true"]
CMD ["filterd", "serve"]
"""


def has_builder() -> bool:
    """Whether `docker build` could work here."""
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "info"], capture_output=True, timeout=30, check=False).returncode == 0
    )


def test_the_dockerfile_keeps_our_rules() -> None:
    assert lint((CHECKOUT / "Dockerfile").read_text(encoding="utf-8"), CHECKOUT) == []


@pytest.mark.slow
@pytest.mark.skipif(not has_builder(), reason="no container builder here (docker info fails); the Dockerfile is linted")
def test_the_container_can_be_built() -> None:
    subprocess.run(["docker", "build", "--quiet", "."], cwd=CHECKOUT, check=True, timeout=900)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("python:3.11-slim", "python", "line 1: python has no pinned tag"),
        ("python:3.11-slim", "python:latest", "line 1: python:latest has no pinned tag"),
        (" AS run", "", "line 3: the stage has no name"),
        ("USER filterd\n", "", "the last stage runs as root"),
        ("USER filterd", "USER 0:0", "the last stage runs as root"),
        ("--require-hashes ", "", "line 2: pip installs without --require-hashes"),
        ("--no-deps .", "--no-deps requests", "line 2: pip installs without --require-hashes"),
        ("COPY --from=build /a", "COPY missing.txt", "line 4: missing.txt does not exist"),
        ("--from=build", "--from=other", "line 4: COPY from other, which is no earlier stage"),
        ("COPY --from=build /a", "ADD https://example.org/a", "line 4: ADD fetches and unpacks unseen; use COPY"),
        ('CMD ["filterd", "serve"]', "CMD filterd serve", "line 8: CMD is not in exec form"),
        ('HEALTHCHECK --interval=30s \\\n    CMD ["true"]\n', "", "no HEALTHCHECK"),
    ],
)
def test_the_linter_sees_each_broken_rule(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert lint(GOOD, tmp_path) == []
    assert lint(GOOD.replace(old, new), tmp_path) == [problem]


def test_what_the_dockerfile_copies_is_not_ignored() -> None:
    """The ignore file leaves out everything but what it names."""
    lines = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in lines
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (CHECKOUT / "Dockerfile").read_text(encoding="utf-8"))
    assert {line[1:] for line in lines if line.startswith("!")} == {name for names in copied for name in names.split()}


def test_build_tools_can_be_removed_after_the_build() -> None:
    """The image uninstalls requirements/build.txt: nothing in it may be needed at run time."""
    assert locked("build.txt")
    assert not locked("build.txt") & locked("run.txt")


def locked(file: str) -> set[str]:
    """The packages of a lock file."""
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", (CHECKOUT / "requirements" / file).read_text(encoding="utf-8")))


def test_the_container_can_be_one_of_several_nodes() -> None:
    assert {"psycopg", "psycopg-binary"} <= locked("run.txt")


def test_the_containers_configuration_is_accepted() -> None:
    config = load_config(CHECKOUT / "deploy" / "container.toml")
    assert config.state_dir == Path("/var/lib/filterd")
    assert config.listeners[0].port == 2525


def test_the_health_check_asks_the_configured_api() -> None:
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    config = load_config(CHECKOUT / "deploy" / "container.toml")
    assert f"http://127.0.0.1:{config.api.port}/v1/health" in text


def test_compose_publishes_the_api_on_loopback_only() -> None:
    service = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]["filterd"]
    assert service["ports"] == ["25:2525", "127.0.0.1:8025:8025"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_the_unit_is_hardened_and_outlives_a_drain() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's own way to keep case
    unit.read(CHECKOUT / "deploy" / "filterd.service", encoding="utf-8")
    service = dict(unit["Service"])
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == "filterd"
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert service["Restart"] == "on-failure"
    assert service["User"] == "filterd"
    drain = load_config(CHECKOUT / "deploy" / "container.toml").server.drain_seconds
    assert int(service["TimeoutStopSec"]) > drain + 10  # what the supervisor grants its parts
