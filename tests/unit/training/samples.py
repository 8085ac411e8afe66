"""Owns small generated collections on disk for the trainer's tests."""

from __future__ import annotations

from pathlib import Path

from tests.unit.classifier.mails import generated


def write_collection(root: Path, count: int, folders: tuple[str, ...] = ("one", "two")) -> Path:
    """`count` generated mails, in turn over the folders, and their index; its path."""
    lines = []
    for number, (message, spam) in enumerate(generated(count)):
        label = "spam" if spam else "ham"
        path = root / folders[number // 2 % len(folders)] / label / f"{number:05}.eml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(message.octets).replace(b"\r\n", b"\n"))
        lines.append(f"{label}\t{path.relative_to(root)}\t2026-01-{1 + number // 50:02}T00:{number % 50:02}:00Z\n")
    index = root / "index.tsv"
    index.write_text("".join(lines))
    return index
