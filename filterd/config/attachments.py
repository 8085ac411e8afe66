"""Owns the table about attachments: what each kind of finding leads to, exceptions, and the bounds of the look inside.

Must not know what the values are used for.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from filterd.config.base import Seconds, Table

Handling = Literal["ignore", "weigh", "quarantine", "reject"]


def _pattern(text: str) -> str:
    if not 1 <= len(text) <= 200 or text.count("*") > 4:
        raise ValueError("expected a file name with at most four *, such as price-list-*.xlsm")
    return text.lower()


NamePattern = Annotated[str, AfterValidator(_pattern)]


class AttachmentsConfig(Table):
    """Attachments by name, declared type, true type and content; each kind is ignored, weighed, quarantined or refused."""

    executables: Handling = "quarantine"
    """Programs (exe, scr, msi, jar, dll … and their octets under any name). Default quarantine."""
    scripts: Handling = "quarantine"
    """Scripts that Windows runs (js, vbs, wsf, hta, ps1 …). Default quarantine."""
    shortcuts: Handling = "quarantine"
    """Files that open or run something else (lnk, scf, url that leads to a file …). Default quarantine."""
    system_files: Handling = "quarantine"
    """Settings, help and installers' files that Windows acts upon (reg, inf, chm, rdp …). Default quarantine."""
    disguised: Handling = "quarantine"
    """Double extensions, turned direction, a program named as a picture or document. Default quarantine."""
    bombs: Handling = "quarantine"
    """Archives that pass members, depth or ratio. Default quarantine."""
    unfinished: Handling = "quarantine"
    """Attachments that cost whoever looks at them all its CPU time or memory, or end it twice. Default quarantine."""
    automatic_macros: Handling = "quarantine"
    """Macros that run when a document is opened or closed. Default quarantine."""
    html_smuggling: Handling = "quarantine"
    """HTML attachments whose script builds a file. Default quarantine."""
    passwords_in_text: Handling = "quarantine"
    """Encrypted archives or documents with the password in the text. Default quarantine."""
    macros: Handling = "weigh"
    """Other macros. Default weigh."""
    active_content: Handling = "weigh"
    """Embedded files and remote templates in documents, pages that ask for a password. Default weigh."""
    encrypted: Handling = "weigh"
    """Other encrypted archives and documents. Default weigh."""
    disk_images: Handling = "weigh"
    """iso, img, vhd and the like, whatever is inside. Default weigh."""
    databases: Handling = "weigh"
    """Access files. Default weigh."""
    unreadable: Handling = "weigh"
    """Archives that are damaged, of an unknown method, too much to look at, or not looked at in time on a busy machine. Default weigh."""
    uncommon: Handling = "ignore"
    """What Outlook hides beside these: source code, certificates, mailbox files, bookmarks. Default ignore: recorded with weight 0."""
    allow: tuple[NamePattern, ...] = Field(default=(), strict=False)
    """Names of attachments that are not looked at, such as price-list-*.xlsm; * stands for anything, case does not matter. Default none."""
    members: int = Field(default=10_000, ge=10, le=1_000_000)
    """Files inside one attachment, all levels together; more are a bomb. Default 10000."""
    depth: int = Field(default=6, ge=1, le=32)
    """Archives inside each other; more are a bomb. Default 6."""
    ratio: int = Field(default=250, ge=10, le=100_000)
    """Unpacked octets for each octet of the attachment, from 64 MB on; more are a bomb. Default 250."""
    unpacked_bytes: int = Field(default=134_217_728, ge=1_048_576, le=1_073_741_824)
    """Octets of one attachment that are unpacked to be looked at; the rest is unreadable. Default 134217728."""
    seconds: Seconds = 10.0
    """Longest look at the attachments of one message; then the process is killed. Default 10."""
    memory_bytes: int = Field(default=536_870_912, ge=134_217_728)
    """Address space of one process that looks inside, the interpreter included. Default 536870912."""
    processes: int = Field(default=1, ge=1, le=16)
    """Processes of one worker that look inside; they start with the first archive or document. Default 1."""
    jobs: int = Field(default=200, ge=1)
    """Messages after which such a process is replaced. Default 200."""
