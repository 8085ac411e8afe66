"""What do attachments bring: by name, declared type, true type, and inside archives and documents?

Owns: which attachments are looked into where, and the evidence.  Names and first octets are looked at here; archives, documents
and HTML files go to the Inspector.  Must not know: what a finding leads to, nor how the inside is read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import ClassVar

from filterd.checks.base import CheckContext
from filterd.config import AttachmentsConfig
from filterd.content.attachments.families import DECLARED
from filterd.content.attachments.finding import Finding, Kind
from filterd.content.attachments.inspect import surface
from filterd.content.attachments.magic import HEAD
from filterd.content.attachments.passwords import passwords
from filterd.content.attachments.uuencode import files_in, names_in
from filterd.content.decode import decoded, to_utf8
from filterd.content.mime import Part
from filterd.content.view import view_of
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.ports import Inspector

# Above it reading may take long: 30 ms for 60 KB of tags, 0.4 s for 25 MB of delimiters in fifty levels.
_THREAD_OCTETS = 32_768
_MAX_PER_REASON = 3  # files that stand in the record for each reason; the others say nothing new
_MAX_TEXTS = 3  # text parts in which a password is looked for
_MAX_TEXT = 16_384  # octets of each
_MAX_PAGE = 262_144  # octets of a page in which a script is looked for
_ENCODED = frozenset({"base64", "quoted-printable"})
_HEAD_ENCODED = 4 * HEAD  # octets of an encoded body that always give HEAD, if nothing strange is in it
# Markers of the walk: there are parts, names or ways to read them that nobody looked at.
_UNSEEN = frozenset({"parts", "octets", "depth", "boundary", "part-header", "twice"})

# finding -> (reason, the key of [attachments] that says how it is handled)
REASONS: Mapping[Kind, tuple[Reason, str]] = {
    Kind.EXECUTABLE: (Reason.ATTACHMENT_EXECUTABLE, "executables"),
    Kind.SCRIPT: (Reason.ATTACHMENT_SCRIPT, "scripts"),
    Kind.SHORTCUT: (Reason.ATTACHMENT_SHORTCUT, "shortcuts"),
    Kind.SYSTEM: (Reason.ATTACHMENT_SYSTEM_FILE, "system_files"),
    Kind.DISGUISED: (Reason.ATTACHMENT_DISGUISED, "disguised"),
    Kind.BOMB: (Reason.ATTACHMENT_BOMB, "bombs"),
    Kind.UNFINISHED: (Reason.ATTACHMENT_UNFINISHED, "unfinished"),
    Kind.AUTO_MACRO: (Reason.ATTACHMENT_AUTO_MACRO, "automatic_macros"),
    Kind.SMUGGLING: (Reason.ATTACHMENT_SMUGGLING, "html_smuggling"),
    Kind.PASSWORD_IN_TEXT: (Reason.ATTACHMENT_PASSWORD, "passwords_in_text"),
    Kind.MACRO: (Reason.ATTACHMENT_MACRO, "macros"),
    Kind.ACTIVE: (Reason.ATTACHMENT_ACTIVE, "active_content"),
    Kind.ENCRYPTED: (Reason.ATTACHMENT_ENCRYPTED, "encrypted"),
    Kind.DISK_IMAGE: (Reason.ATTACHMENT_DISK_IMAGE, "disk_images"),
    Kind.DATABASE: (Reason.ATTACHMENT_DATABASE, "databases"),
    Kind.UNREADABLE: (Reason.ATTACHMENT_UNREADABLE, "unreadable"),
    Kind.UNCOMMON: (Reason.ATTACHMENT_UNCOMMON, "uncommon"),
}


class Attachments:
    """The check; without an inspector only names and first octets are looked at."""

    name: ClassVar[str] = "attachments"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AttachmentsConfig, inspector: Inspector | None) -> None:
        self._config = config
        self._inspector = inspector
        self._order = list(REASONS)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        message = ctx.message
        if message is None or ctx.connection.trust is TrustClass.REPORT:
            return ()  # our own users report what they got: the attachment is the report
        view = await asyncio.to_thread(view_of, message) if len(message) > _THREAD_OCTETS else view_of(message)
        found: list[Finding] = []
        deep: list[Part] = []
        for part in _files(message, view.parts, found):
            if self._is_allowed(part):
                continue
            head = decoded(message, part, HEAD)
            on_surface, inside = surface(part.names, part.content_type, head)
            found += on_surface
            # Blanks and stray characters before the first octets keep our first look short, and no mail program from its file.
            if inside or (len(head) < HEAD and part.size > _HEAD_ENCODED):
                deep.append(part)
        for body in view.texts:
            if body.part.encoding in _ENCODED:
                for name in names_in(body.text):
                    found += surface((name,), "", b"")[0]
        if not view.parts or _UNSEEN & set(view.markers):
            found.append(Finding(Kind.UNREADABLE, "message", "it has more parts, or others, than could be looked at"))
        problem: TemporaryError | None = None
        if deep and self._inspector is not None:
            given = passwords(_texts(message, view.parts, deep))
            try:
                inside_found = await self._inspector.inspect(message, deep, given, ctx.deadline)
            except TemporaryError as error:  # what names say stands all the same
                problem = error
            else:
                found += [finding for _, finding in inside_found]
        evidence = list(self._evidence(found))
        if problem is not None:
            text = f"{len(deep)} attachments not looked into: {problem}"
            evidence.append(Evidence(self.name, self.stage, Result.TEMPERROR, Reason.UNAVAILABLE, log_text=text))
        return evidence

    def _is_allowed(self, part: Part) -> bool:
        """Whether every name of the part is one that the administrator lets through."""
        allowed = self._config.allow
        return bool(allowed and part.names) and all(
            any(fnmatchcase(name.lower(), _literal(pattern)) for pattern in allowed) for name in part.names
        )

    def _evidence(self, found: Sequence[Finding]) -> Iterable[Evidence]:
        """The gravest reasons first; of each reason the first findings, so that a thousand files do not fill the record."""
        details: dict[tuple[Kind, str], dict[str, None]] = {}
        for finding in sorted(found, key=lambda finding: self._order.index(finding.kind)):
            details.setdefault((finding.kind, finding.path), {})[finding.detail] = None
        counts = Counter[Kind]()
        for (kind, path), seen in details.items():
            counts[kind] += 1
            if counts[kind] > _MAX_PER_REASON:
                continue
            reason, key = REASONS[kind]
            ignored = getattr(self._config, key) == "ignore"
            yield Evidence(
                self.name,
                self.stage,
                Result.NEUTRAL if ignored else Result.FAIL,
                reason,
                detail=path,
                measured=0.0 if ignored else None,  # configured: it says nothing here
                properties={"policy.attachment": key},
                log_text=f"({', '.join(filter(None, seen))})"[:300],
            )


def _files(message: Message, parts: Sequence[Part], found: list[Finding]) -> Iterable[Part]:
    """The parts that people open as files; what their headers alone say is added to `found`."""
    whole = True
    above: dict[int, str] = {}  # depth -> type of the container that is open there
    for number, part in enumerate(parts):
        if part.is_container:
            above[part.depth] = part.content_type
            # A mail in base64 is against RFC 2046 5.2.1, and opened all the same.
            if part.content_type == "message/rfc822" and part.encoding in _ENCODED:
                yield part
            else:
                # Its name is mostly a subject: "mail from joe@example.com".
                found += [item for item in surface(part.names, "", b"")[0] if item.detail != ".com"]
        elif part.names or not part.is_text or part.content_type in DECLARED:
            yield part
        elif part.content_type == "text/html" and number > 1 and above.get(part.depth - 1) == "multipart/mixed":
            # Behind other parts and no alternative to them: Exchange makes an ATT00001.htm of it, which a browser opens.
            if b"<script" in decoded(message, part, _MAX_PAGE).lower():
                yield part
        elif part.encoding not in _ENCODED and whole:  # one part with too many costs enough
            inside, whole = files_in(message, part)
            yield from inside
            if not whole:
                found.append(Finding(Kind.UNREADABLE, "text", "more uuencoded files than are looked at"))


def _literal(pattern: str) -> str:
    """Only * is special: a name may hold [ and ?."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _texts(message: Message, parts: Sequence[Part], deep: Sequence[Part]) -> list[str]:
    """Where people write the password: subject, text, the archive's own name."""
    texts = [message.subject]
    for part in parts:
        if part.is_text and not part.names and len(texts) <= _MAX_TEXTS:
            raw = to_utf8(decoded(message, part, _MAX_TEXT), part.charset)
            texts.append(raw.decode("utf-8", "replace"))
    return [*texts, *(part.name for part in deep)]
