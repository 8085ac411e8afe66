"""Do the links of the message pretend to lead elsewhere than they do?

Owns: which links are remarkable.  Must not know: how links are found (content/links.py), what a finding costs, DNS lists.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.proven import proven_domains
from filterd.checks.base import CheckContext
from filterd.content.links import Link, links_in, takes_long
from filterd.content.lookalike import Likeness, Lookalikes, is_disguised
from filterd.content.suffixes import organizational
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage

_MAX_SHOWN = 5  # links of one kind in the log
# Where somebody is led to by pressing, or what is fetched by looking; an address that is only written is often a log line.
_LEADS = frozenset({"anchor", "attribute", "redirect"})


@dataclass(slots=True)
class Links:
    """The check; `lookalikes` knows our own and our partners' domains, and is exchanged when there are others."""

    lookalikes: Lookalikes
    name: ClassVar[str] = "links"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim", "dmarc", "content")  # content: it reads the message first, in a thread

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.message is None or ctx.connection.trust is TrustClass.REPORT:
            return ()
        links = await asyncio.to_thread(links_in, ctx.message) if takes_long(ctx.message) else links_in(ctx.message)
        if not links:
            return ()
        # Whoever proves that a domain is theirs may show its name on a link that counts presses elsewhere.
        own = {organizational(domain) for domain in proven_domains(ctx.evidence)}
        kinds: dict[Reason, list[str]] = {}
        for reason, text in self._look(links, own):
            kinds.setdefault(reason, []).append(text)
        return [self._evidence(reason, list(dict.fromkeys(texts))) for reason, texts in kinds.items()]

    def _look(self, links: Sequence[Link], own: set[str]) -> Iterator[tuple[Reason, str]]:
        for link in links:
            if link.named and link.named not in own and link.named not in (link.domain, *link.onward):
                yield Reason.LINK_TEXT_OTHER_HOST, f"{link.named} leads to {link.host}"
            if link.userinfo and link.scheme != "ftp":  # where a name before the host is a user
                yield Reason.LINK_USERINFO, link.host
            if not link.domain:
                if link.where in _LEADS and ipaddress.ip_address(link.host).is_global:
                    yield Reason.LINK_BARE_ADDRESS, link.host
                continue
            found = self.lookalikes.find(link.host)
            if found is not None and found.kind is not Likeness.ENDING:
                yield Reason.LINK_LOOKALIKE, f"{link.host} looks like {found.domain} ({found.kind})"
            elif is_disguised(link.host):
                yield Reason.LINK_LOOKALIKE, f"{link.host} has letters of several alphabets"

    def _evidence(self, reason: Reason, texts: list[str]) -> Evidence:
        return Evidence(
            self.name,
            self.stage,
            Result.FAIL,
            reason,
            detail=texts[0],
            properties={"links": str(len(texts))},
            log_text="; ".join(texts[:_MAX_SHOWN]),
        )
