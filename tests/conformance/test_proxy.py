"""The PROXY protocol vectors of aiosmtpd's own tests (28 valid, 23 invalid headers) through filterd.wire.proxy."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

from filterd.wire.proxy import ProxyError, ProxyHeader, ProxyParser
from tests.support.material import conformance_dir

# Where the suite and we differ, and why.
_LOCAL = (
    "LOCAL: the load balancer speaks for itself, the specification (2.2) has addresses ignored; the suite reads them"
)
DIFFERENCES = {f"v2-inet{family}-p{transport}-0": _LOCAL for family in (4, 6) for transport in (1, 2)} | {
    f"v2-inet{family}-p{transport}-8": _LOCAL for family in (4, 6) for transport in (1, 2)
}


def vectors() -> list[dict[str, Any]]:
    document = json.loads((conformance_dir() / "smtp/proxy-protocol/vectors.json").read_text())
    return [*document["valid"], *document["invalid"]]


def read(octets: bytes, step: int) -> tuple[ProxyHeader | None, bytes]:
    parser = ProxyParser()
    for at in range(0, len(octets), step):
        header = parser.feed(octets[at : at + step])
        if header is not None:
            return header, parser.rest + octets[at + step :]
    return None, b""


@pytest.mark.parametrize("step", [10_000, 1])
def test_every_vector(step: int) -> None:
    seen, different = 0, set[str]()
    for vector in vectors():
        octets = bytes.fromhex(vector["wire_hex"])
        seen += 1
        if not vector["valid"]:
            with pytest.raises(ProxyError):
                read(octets, step)
            continue
        header, rest = read(octets, step)
        assert header is not None, vector["id"]
        assert header.version == vector["version"], vector["id"]
        assert rest == octets[len(octets) - len(rest) :]
        assert bool(rest) == vector["id"].endswith("then-data"), vector["id"]
        expected = tuple(
            (ipaddress.ip_address(vector[key][0]), vector[key][1]) if key in vector else None for key in ("src", "dst")
        )
        if (header.source, header.destination) != expected:
            assert (header.source, header.destination) == (None, None), vector["id"]
            different.add(vector["id"])
    assert seen == 51
    assert different == set(DIFFERENCES)
