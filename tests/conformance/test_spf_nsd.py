"""The openspf suite for RFC 7208 with its zones served by nsd and asked by DnsResolver: what the wire adds must change nothing.

The time-outs of the suite are SERVFAIL here: a name server cannot be told to be silent, and RFC 7208 section 2.6.6 treats
both alike.  They are time-outs in test_spf (in memory) and in tests/unit/adapters (DnsResolver).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from filterd.adapters.resolver import DnsResolver
from filterd.auth.spf import check_spf
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import DnsAnswer
from tests.support.material import conformance_dir
from tests.support.nsd import nsd, owner, text_rdata

# Where the suite and we differ, and why, with the section of RFC 7208.
DIFFERENCES: dict[str, str] = {}

# The tests that meet SERVFAIL in place of a time-out.  spftimeout has one for type SPF only, which nobody asks for.
WITH_SERVFAIL = frozenset(
    f"rfc7208/{name}"
    for name in ("txttimeout", "nospftxttimeout", "alltimeout", "include-temperror", "exists-dnserr", "exp-dns-error")
)


def scenarios() -> list[dict[str, Any]]:
    try:
        path = conformance_dir() / "spf" / "openspf" / "rfc7208-tests.yml"
    except pytest.skip.Exception:
        return []
    return list(yaml.safe_load_all(path.read_text("utf-8")))


SCENARIOS = scenarios()


def lines_of(name: str, entries: list[Any]) -> list[str]:
    """The records of a name as a zone file has them.  SPF records are doubled as TXT unless the name has TXT of its own."""
    has_txt = any(isinstance(entry, dict) and "TXT" in entry for entry in entries)
    lines = []
    for entry in entries:
        if entry == "TIMEOUT":
            continue
        ((rdtype, value),) = entry.items()
        if rdtype == "SPF" and not has_txt:
            rdtype = "TXT"
        if rdtype == "SPF" or value == "NONE":
            continue
        if rdtype == "MX":
            rdata = f"{value[0]} {owner(value[1]) if value[1] else '.'}"
        elif rdtype == "TXT":
            pieces = (value if isinstance(value, list) else [value]) or [""]  # no string at all: no server has that
            rdata = " ".join(text_rdata(piece.encode().decode("latin-1")) for piece in pieces)
        elif rdtype in ("CNAME", "PTR"):
            rdata = owner(value)
        else:
            rdata = value
        lines.append(f"{owner(name)} {rdtype} {rdata}")
    return lines


def failing_names(zone: dict[str, list[Any]]) -> list[str]:
    """Names that shall not answer.  One with records below it (example.com, which no test asks for) has to."""
    silent = [name for name, entries in zone.items() if "TIMEOUT" in entries and not lines_of(name, entries)]
    return [name for name in silent if not any(other.endswith(f".{name}") for other in zone)]


class Watched:
    """A resolver that remembers the kinds of its failures."""

    def __init__(self, server: str) -> None:
        self.failures: set[str] = set()
        self._resolver = DnsResolver((server,))

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        try:
            return await self._resolver.query(name, rdtype, deadline)
        except TemporaryError as error:
            self.failures.add(error.kind)
            raise


@pytest.fixture(scope="module")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], str]]:
    """Gives the address of an nsd with the zones of a scenario; it runs until another one is asked for."""
    addresses: dict[int, str] = {}
    with ExitStack() as running:

        def start(number: int) -> str:
            if number not in addresses:
                running.close()
                addresses.clear()
                zone = SCENARIOS[number]["zonedata"]
                lines = [line for name, entries in zone.items() for line in lines_of(name, entries)]
                folder = tmp_path_factory.mktemp("nsd")
                server = nsd(folder, {".": "\n".join(lines)}, failing_names(zone))
                addresses[number] = running.enter_context(server)
            return addresses[number]

        yield start


def cases() -> list[Any]:
    found = [
        pytest.param(number, test, id=f"rfc7208/{name}")
        for number, scenario in enumerate(SCENARIOS)
        for name, test in scenario["tests"].items()
    ]
    return found or [pytest.param(None, None, id="suite-absent")]


@pytest.mark.server("nsd")
@pytest.mark.parametrize(("number", "test"), cases())
def test_openspf(
    server_of: Callable[[int], str], number: int, test: dict[str, Any] | None, request: pytest.FixtureRequest
) -> None:
    if test is None:
        conformance_dir()  # skips by name
        return
    name = request.node.callspec.id
    resolver, client = Watched(server_of(number)), ipaddress.ip_address(test["host"])
    outcome = asyncio.run(check_spf(resolver, client, test.get("mailfrom") or "", test["helo"], Deadline.after(20)))
    expected = test["result"] if isinstance(test["result"], list) else [test["result"]]
    agrees = outcome.result.value in expected
    wanted = test.get("explanation")
    if wanted is not None and agrees:
        agrees = outcome.explanation == ("" if wanted == "DEFAULT" else wanted)
    assert resolver.failures == ({"servfail"} if name in WITH_SERVFAIL else set())
    if name in DIFFERENCES:
        assert not agrees, "no longer different: take it out of DIFFERENCES"
    else:
        assert agrees, f"{outcome} instead of {test['result']} {wanted!r}"
