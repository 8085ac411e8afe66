"""Owns a small linter for Dockerfiles: the rules that this project wants kept.  Not part of the product."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_STAGE = re.compile(r"(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?", re.I)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    line: int
    word: str
    text: str


def parse(source: str) -> list[Instruction]:
    """The instructions of a Dockerfile, comments left out."""
    found: list[Instruction] = []
    start, parts = 0, list[str]()
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not parts):
            continue
        start = start if parts else number
        parts.append(line.rstrip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            word, _, text = " ".join(parts).partition(" ")
            found.append(Instruction(start, word.upper(), text.strip()))
            parts = []
    return found


def lint(source: str, context: Path) -> list[str]:
    """What breaks the rules, one line each; `context` is the folder that COPY copies from."""
    problems: list[str] = []
    instructions = parse(source)
    stages: list[str] = []
    user, last = "root", {}

    def problem(at: Instruction, text: str) -> None:
        problems.append(f"line {at.line}: {text}")

    for item in instructions:
        last[item.word] = item
        if item.word == "FROM":
            match = _STAGE.fullmatch(item.text)
            image, name = (match[1], match[2]) if match else (item.text, None)
            if not name:
                problem(item, "the stage has no name")
            if image not in stages and (
                "@" not in image and re.fullmatch(r".+:(?!latest$)[\w.-]*\d[\w.-]*", image) is None
            ):
                problem(item, f"{image} has no pinned tag")
            stages.append(name or "")
            user = "root"
        elif item.word == "USER":
            user = item.text.partition(":")[0]
        elif item.word == "ADD":
            problem(item, "ADD fetches and unpacks unseen; use COPY")
        elif item.word == "COPY":
            problems += [f"line {item.line}: {text}" for text in _copy_problems(item.text, context, stages)]
        elif item.word == "RUN" and re.search(r"\bpip3? install\b", item.text):
            for command in re.findall(r"pip3? install [^&;|]*", item.text):
                if "--require-hashes" not in command and not ("--no-deps" in command and command.split()[-1] == "."):
                    problem(item, "pip installs without --require-hashes")
        if item.word in ("CMD", "ENTRYPOINT") and not _is_exec_form(item.text):
            problem(item, f"{item.word} is not in exec form")
    if not stages:
        problems.append("no FROM")
    if "CMD" not in last:
        problems.append("no CMD")
    if user in ("root", "0"):
        problems.append("the last stage runs as root")
    if "HEALTHCHECK" not in last or "NONE" in last["HEALTHCHECK"].text.split():
        problems.append("no HEALTHCHECK")
    return problems


def _copy_problems(text: str, context: Path, stages: list[str]) -> list[str]:
    words = text.split()
    flags = [word for word in words if word.startswith("--")]
    sources = [word for word in words if not word.startswith("--")][:-1]
    origin = next((flag.partition("=")[2] for flag in flags if flag.startswith("--from=")), None)
    if origin is not None:
        return [] if origin in stages[:-1] else [f"COPY from {origin}, which is no earlier stage"]
    return [f"{source} does not exist" for source in sources if not list(context.glob(source.rstrip("/")))]


def _is_exec_form(text: str) -> bool:
    try:
        words = json.loads(text)
    except ValueError:
        return False
    return isinstance(words, list) and all(isinstance(word, str) for word in words)
