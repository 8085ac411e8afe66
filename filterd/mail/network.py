"""Owns IP addresses as people write them: one with a port, a network, or first-last.  Must not know what they are for."""

from __future__ import annotations

import ipaddress

from filterd.mail.envelope import IPAddress, parse_ip

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

EXPECTED_RANGE = "expected an address, a network such as 192.0.2.0/24, or a range such as 192.0.2.10-192.0.2.40"

EXPECTED_ENDPOINT = "expected an address, address:port or [v6]:port"


def is_ip(text: str) -> bool:
    """Whether `text` is an IP address and nothing else."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """Whether `text` is an address that only this machine reaches; a name is none."""
    try:
        return parse_ip(text).is_loopback
    except ValueError:
        return False


def parse_network(text: str) -> IPNetwork:
    """One network; bits behind the prefix are cleared, IPv4-mapped IPv6 becomes IPv4.  Raises ValueError."""
    network = ipaddress.ip_network(text.strip(), strict=False)
    mapped = network.network_address.ipv4_mapped if network.version == 6 else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.IPv4Network((mapped, network.prefixlen - 96), strict=False)
    return network


def parse_range(text: str) -> tuple[IPNetwork, ...]:
    """The fewest networks that hold exactly what `text` names, at most 62 or 254.  Raises ValueError that says what is expected."""
    first, dash, last = text.strip().partition("-")
    try:
        if not dash:
            return (parse_network(first),)
        low, high = parse_ip(first.strip()), parse_ip(last.strip())
        if low.version != high.version or int(low) > int(high):
            raise ValueError
        return tuple(ipaddress.summarize_address_range(low, high))
    except (ValueError, TypeError):
        raise ValueError(f"{EXPECTED_RANGE}, found {text[:80]!r}") from None


def normal_range(text: str) -> str:
    """`text` as it is kept: a network in CIDR form, or first-last where no single network says the same.  Raises ValueError."""
    networks = parse_range(text)
    if len(networks) == 1:
        return str(networks[0])
    return f"{networks[0].network_address}-{networks[-1].broadcast_address}"


def parse_endpoint(text: str, port: int) -> tuple[str, int]:
    """(address, port) of address, address:port, [v6] or [v6]:port; `port` where none is given.  Raises ValueError."""
    host, colon, given = text, "", ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, given = rest[:1], rest[1:]
        if not bracket or colon not in ("", ":"):
            raise ValueError(EXPECTED_ENDPOINT)
    elif text.count(":") == 1:
        host, colon, given = text.partition(":")
    try:
        ipaddress.ip_address(host)
        number = int(given) if colon else port
    except ValueError:
        raise ValueError(EXPECTED_ENDPOINT) from None
    if colon and not (given.isascii() and given.isdigit() and 0 < number < 65536):
        raise ValueError(EXPECTED_ENDPOINT)
    return host, number


def client_network(address: IPAddress, ipv4_prefix: int, ipv6_prefix: int) -> str:
    """The network that counts as one client, in CIDR form."""
    length = ipv4_prefix if address.version == 4 else ipv6_prefix
    bits = 32 if address.version == 4 else 128
    shift = bits - length
    first = int(address) >> shift << shift
    kind = ipaddress.IPv4Address if address.version == 4 else ipaddress.IPv6Address
    return f"{kind(first)}/{length}"
