"""Owns what all configuration tables share: their base, and the types of their values.  Must not know any table."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from filterd.mail.address import is_domain
from filterd.mail.network import EXPECTED_RANGE, normal_range, parse_endpoint, parse_network


def _domain(text: str) -> str:
    name = text.lower().rstrip(".")
    if not is_domain(name):
        raise ValueError("expected a domain name such as mail.example.org")
    return name


def _host_name(text: str) -> str:
    name = _domain(text)
    if not name.isascii():
        raise ValueError("expected a name in ASCII, labels of other letters as xn--…")
    return name


def _host(text: str) -> str:
    """A server to connect to; whatever the resolver may know, but no URL, and no port, which has a key of its own."""
    if text and (not text.isprintable() or any(c in text for c in " /@[]") or text.count(":") == 1):
        raise ValueError("expected a name or an address such as ex01.example.org, without a port (it has its own key)")
    return text


def _network(text: str) -> str:
    try:
        return str(parse_network(text))
    except ValueError:
        raise ValueError("expected an address or a network such as 192.0.2.0/24") from None


def _range(text: str) -> str:
    try:
        return normal_range(text)
    except ValueError:
        raise ValueError(EXPECTED_RANGE) from None  # what was found is said by whoever prints it


def _endpoint(text: str) -> str:
    parse_endpoint(text, 1)
    return text


Domain = Annotated[str, AfterValidator(_domain)]
HostName = Annotated[str, AfterValidator(_host_name)]  # what we write into header fields and must know again there
OptionalHostName = Annotated[str, AfterValidator(lambda text: text and _host_name(text))]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
Range = Annotated[str, AfterValidator(_range)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Table(BaseModel):
    """Base of all tables: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
