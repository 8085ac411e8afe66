"""Owns the look at the server that call-ahead asks: whether it tells known recipients from unknown ones.

Must not know what is done with its answers.
"""

from __future__ import annotations

from filterd.adapters.directory import known_domains
from filterd.adapters.directory_callahead import REMEDY, CallAheadBackend
from filterd.config import Config
from filterd.deadline import Deadline
from filterd.directory.values import DomainType
from filterd.doctor.finding import Finding, fail, in_thread, ok, warn
from filterd.errors import TemporaryError

MAX_DOMAINS = 5  # each costs a question, which a server with a tarpit answers after seconds


async def callahead(config: Config, deadline: Deadline) -> list[Finding]:
    """One finding for each domain that is asked about; none without call-ahead."""
    if not config.callahead.host:
        return []
    names = config.callahead.domains or await in_thread(lambda: _asked_about(config))
    backend = CallAheadBackend(config.callahead, config.server.hostname)
    try:
        return [await _domain(config, backend, name, deadline) for name in names[:MAX_DOMAINS]]
    finally:
        await backend.close()


def _asked_about(config: Config) -> tuple[str, ...]:
    return tuple(found.name for found in known_domains(config).all if found.type is DomainType.AUTHORITATIVE)


async def _domain(config: Config, backend: CallAheadBackend, name: str, deadline: Deadline) -> Finding:
    what = f"call-ahead {name}"
    server = f"{config.callahead.host}:{config.callahead.port}"
    try:
        if await backend.tells_apart(name, deadline):
            return ok(what, f"{server} refuses an address that nobody has")
    except TemporaryError as error:
        remedy = "recipients that no other source knows get 451 4.4.3: repair it, or take host out of [callahead]"
        return fail(what, str(error), f"{remedy}; docs/callahead.md")
    return warn(what, f"{server} takes any address, so call-ahead says nothing", f"{REMEDY}; docs/callahead.md")
