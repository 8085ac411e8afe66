"""Owns the tables about those who connect: listeners, limits, clients, accounts, greylisting, DNS lists, own lists.

Must not know what the values are used for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from filterd.config.base import Domain, Network, Port, Range, Seconds, Table
from filterd.mail.network import parse_network


class ListenerConfig(Table):
    """One address and port on which SMTP is spoken, for some clients: like a receive connector of Exchange."""

    name: str = Field(default="internet", pattern=r"^[a-z][a-z0-9_-]{0,30}$")
    """Name in logs and the ledger. Default internet."""
    address: str = "127.0.0.1"
    """Address to listen on. Default 127.0.0.1."""
    port: Port = 2525
    """TCP port to listen on. Default 2525."""
    sources: tuple[Network, ...] = Field(default=(), strict=False)
    """Clients that are served; several listeners may have one address and port, the smallest network that holds the client wins. Default empty: all."""
    trust: Literal["internet", "internal", "authenticated", "report", "outbound"] = "internet"
    """Who connects here: internet (all checks), internal (no connection checks), authenticated (only after AUTH; content checks and rates), report (our own users' reports), outbound (our own Exchange, with mail for the world: [outbound]). Default internet."""
    tls: Literal["none", "starttls", "required", "implicit"] = "starttls"
    """none; starttls: offered when there is a certificate; required: no mail without it; implicit: from the first octet (port 465). Default starttls."""
    tls_certificate: Path | None = None
    """PEM file with the certificate chain, best of an ECDSA P-256 key: three times less work than RSA. Read again on reload. Default none."""
    tls_key: Path | None = None
    """PEM file with the private key of tls_certificate. Default none."""
    tls_rsa_certificate: Path | None = None
    """PEM file with a second chain, of an RSA key, for clients that know no ECDSA. Default none."""
    tls_rsa_key: Path | None = None
    """PEM file with the private key of tls_rsa_certificate. Default none."""
    proxy_from: tuple[Network, ...] = Field(default=(), strict=False)
    """Load balancers, whose connections must begin with a PROXY header (v1 or v2); from anybody else one is refused. Default none."""
    xclient_from: tuple[Network, ...] = Field(default=(), strict=False)
    """Mail servers that may say for whom they speak with XCLIENT. Default none."""
    auth: bool = False
    """Offer AUTH PLAIN and LOGIN, only under TLS, against the accounts of [auth]. Default false."""
    protocol_log: Literal["off", "failures", "all"] = "failures"
    """Conversations that are written to state_dir/log for `filterd protocol`: none, those with a refusal or a broken end, or all. Default failures."""
    limits: dict[str, int | float] = Field(default={}, strict=False)
    """Keys of [limits] that differ here, such as { recipients = 1000 }; not connections. Default none."""

    @model_validator(mode="after")
    def _agrees(self) -> ListenerConfig:
        for certificate, key in (("tls_certificate", "tls_key"), ("tls_rsa_certificate", "tls_rsa_key")):
            if (getattr(self, certificate) is None) != (getattr(self, key) is None):
                raise ValueError(f"{certificate} and {key} must be given together")
        if self.tls_rsa_certificate is not None and self.tls_certificate is None:
            raise ValueError("tls_rsa_certificate is the second one: give tls_certificate too, or only that")
        if self.tls in ("required", "implicit") and self.tls_certificate is None:
            raise ValueError(f"tls = {self.tls} needs tls_certificate and tls_key")
        if self.auth and (self.tls == "none" or self.tls_certificate is None):
            raise ValueError("auth needs TLS: give tls_certificate and tls_key, and tls = required or implicit")
        if self.trust == "authenticated" and not self.auth:
            raise ValueError("trust = authenticated needs auth = true")
        if self.trust == "outbound":
            self._no_open_relay()
        if self.trust == "outbound" and (self.auth or self.xclient_from):
            raise ValueError("trust = outbound knows its clients by sources alone: expected no auth, no xclient_from")
        unknown = sorted(set(self.limits) - (set(LimitsConfig.model_fields) - _SHARED_LIMITS))
        if unknown:
            raise ValueError(f"limits.{unknown[0]}: expected a key of [limits] that a listener can have of its own")
        return self

    def _no_open_relay(self) -> None:
        """Raises ValueError."""
        sources = [parse_network(source) for source in self.sources]
        if not sources or any(source.prefixlen < _WIDEST[source.version] for source in sources):
            raise ValueError(
                "trust = outbound needs sources, the addresses of your Exchange servers, no network wider than /8 (IPv6: /16):"
                " else it is an open relay"
            )
        # A connection for which it names no client (PROXY LOCAL, UNKNOWN) comes from the load balancer itself.
        for balancer in map(parse_network, self.proxy_from):
            if any(source.version == balancer.version and source.overlaps(balancer) for source in sources):
                raise ValueError(
                    f"trust = outbound: expected no load balancer among sources, found {balancer} of proxy_from:"
                    " what it passes on without a client's name would be relayed"
                )


_WIDEST = {
    4: 8,
    6: 16,
}  # shortest prefixes of a network that may be an organization's own: 10.0.0.0/8, and more than enough of fd00::/8


class LimitsConfig(Table):
    """Bounds on everything that comes from outside."""

    message_bytes: int = Field(default=37_748_736, ge=1024)
    """Largest message, in octets; announced as SIZE. Default 37748736 (Exchange's connector default)."""
    spool_bytes: int = Field(default=1_048_576, ge=4096)
    """Messages above this are kept in a temporary file while in work. Default 1048576."""
    spool_memory_bytes: int = Field(default=67_108_864, ge=65_536)
    """Memory of one worker for messages that are coming in, all together; what exceeds it goes to temporary files. Default 67108864."""
    spool_disk_bytes: int = Field(default=4_294_967_296, ge=1_048_576)
    """Temporary files of one worker, all together; beyond it the answer is 452 4.3.1. Default 4294967296."""
    line_bytes: int = Field(default=65_536, ge=1000)
    """Longest body line, in octets; RFC 5321 says 998, real senders exceed it. Default 65536."""
    header_bytes: int = Field(default=262_144, ge=1024, le=1_048_576)
    """Largest header section, in octets (Exchange's MaxHeaderSize); above it the answer is 552 5.3.4. Default 262144."""
    recipients: int = Field(default=200, ge=1, le=100_000)
    """Most recipients of one transaction (Exchange's connector default); beyond it 452 4.5.3. Default 200."""
    connections: int = Field(default=1000, ge=1)
    """Most simultaneous connections, all workers and listeners together; beyond it the longest idle one makes room, or 421 4.7.0. Default 1000."""
    connections_per_client: int = Field(default=50, ge=1)
    """Most simultaneous connections of one client network ([clients]), all workers together. Default 50."""
    errors: int = Field(default=20, ge=1)
    """Refused commands in one connection before it is closed. Default 20."""
    commands: int = Field(default=100, ge=1)
    """Commands that bring no message nearer (NOOP, RSET, EHLO again and the like) before a connection is closed; counted anew after each message that is taken. Default 100."""
    transactions: int = Field(default=1000, ge=1)
    """Transactions in one connection before it is closed. Default 1000."""
    idle_seconds: Seconds = 300.0
    """Longest wait for the next command (RFC 5321 4.5.3.2.7). Default 300."""
    command_seconds: Seconds = 60.0
    """Longest time from the first octet of a command, or of a PROXY header, to its end. Default 60."""
    tls_seconds: Seconds = 30.0
    """Longest TLS handshake. Default 30."""
    data_idle_seconds: Seconds = 180.0
    """Longest pause between two blocks of a message (RFC 5321 4.5.3.2.5). Default 180."""
    data_seconds: Seconds = 1800.0
    """Longest time for one whole message. Default 1800."""
    data_min_rate: int = Field(default=256, ge=0)
    """Octets a second that a message must come with on average, after its first minute; 0 asks for none. Default 256."""


_SHARED_LIMITS = {"connections", "spool_memory_bytes", "spool_disk_bytes"}  # bounds of a whole worker or of all of them


class ClientsConfig(Table):
    """What clients may do; counted for all workers together.  Connection rates and what follows are for internet listeners."""

    ipv4_prefix: int = Field(default=32, ge=8, le=32)
    """Length of the IPv4 network that counts as one client. Default 32."""
    ipv6_prefix: int = Field(default=64, ge=16, le=128)
    """Length of the IPv6 network that counts as one client. Default 64."""
    connections_per_minute: int = Field(default=300, ge=0)
    """Connections of one client network in a minute; beyond it 421 4.7.0. 0 is no limit. Default 300."""
    messages_per_minute: int = Field(default=300, ge=0)
    """Mail transactions of one client network in a minute; beyond it 450 4.7.1. 0 is no limit. Default 300."""
    sender_messages_per_minute: int = Field(default=300, ge=0)
    """Mail transactions of one reverse-path in a minute (from one client network, where SPF does not pass), null reverse-path aside; beyond it 450 4.7.1. 0 is no limit. Default 300."""
    sender_transactions: int = Field(default=50, ge=0)
    """Mail transactions of one reverse-path open at once from one client network, null reverse-path aside; beyond it 450 4.7.1. 0 is no limit. Default 50."""
    user_messages_per_minute: int = Field(default=60, ge=0)
    """Mail transactions of one authenticated user in a minute; beyond it 450 4.7.1. 0 is no limit. Default 60."""
    auth_failures: int = Field(default=10, ge=1)
    """Failed logins of one client network in ten minutes; beyond it 421 4.7.0, right passwords too. Default 10."""
    harvest_unknown: int = Field(default=20, ge=0)
    """Unknown recipients that one client network may ask for in ten minutes, while they are more than the known ones; beyond it 421 4.7.0. 0 is no limit. Default 20."""
    tarpit_seconds: float = Field(default=5.0, ge=0, le=60)
    """How long the refusal of an unknown recipient is held back after half of harvest_unknown. Default 5 (Exchange's TarpitInterval)."""
    greet_seconds: float = Field(default=2.0, ge=0, le=30)
    """How long the greeting is held back for doubtful clients, to see who talks first. Default 2."""


class GreylistConfig(Table):
    """Selective greylisting: only doubtful mail is told to come again; state is in the database, shared by all nodes."""

    enabled: bool = True
    """Whether doubtful mail is greylisted. Default true."""
    score: float = Field(default=2.0, ge=0.1, le=20)
    """Score of client, HELO and reverse-path together from which mail is doubtful. Default 2."""
    delay_seconds: Seconds = 240.0
    """How long after the first attempt the next one counts. Default 240."""
    retry_hours: int = Field(default=48, ge=1, le=720)
    """How long the first attempt is remembered. Default 48."""
    keep_days: int = Field(default=35, ge=1, le=3650)
    """How long a client that came again, or a sender that was taken, is known. Default 35."""


class AuthConfig(Table):
    """Accounts for AUTH, of a password file or of a directory."""

    file: Path | None = None
    """File with one `user:hash` a line, hashes as `filterd password` prints them (argon2id); read again when it changes. Default none."""
    ldap_url: str = Field(default="", pattern=r"^(ldaps?://[^/\s]+)?$")
    """Directory whose bind decides, such as ldaps://dc1.example.org; ldap:// uses StartTLS. Default empty: none."""
    ldap_user: str = "{user}"
    """Name to bind as, {user} replaced: {user}@example.org for Active Directory, uid={user},ou=people,dc=example,dc=org elsewhere. Default {user}."""
    ldap_ca_file: Path | None = None
    """PEM file with the authorities to trust. Default none: those of the system."""
    ldap_verify: bool = True
    """Verify the directory's certificate. Default true."""
    timeout_seconds: Seconds = 10.0
    """Longest wait for one answer of the directory. Default 10."""


class DnsblConfig(Table):
    """One DNS block or allow list zone (RFC 5782)."""

    zone: Domain
    """Zone, such as zen.spamhaus.org."""
    weight: float = Field(default=3.0, ge=-20, le=20)
    """Natural log-odds of spam when listed; negative for an allow list. 8 or more refuses at once. Default 3."""
    return_codes: tuple[Network, ...] = Field(default=("127.0.0.0/24",), strict=False)
    """Answers that count as listed, as addresses or networks; 127.255.255.x never counts. Default 127.0.0.0/24."""
    bitmask: int = Field(default=0, ge=0, le=255)
    """When not 0: the last octet of the answer must share a bit with it. Default 0."""
    priority: int = Field(default=100, ge=0, le=1000)
    """When several zones refuse, the reply is that of the smallest number. Default 100."""
    reply_text: str = Field(default="", max_length=240)
    """Public text when it refuses; {ip} is replaced. Default: a text that names the zone."""
    families: tuple[Literal["ipv4", "ipv6"], ...] = Field(default=("ipv4", "ipv6"), strict=False, min_length=1)
    """Clients that the zone is asked about. Default ipv4 and ipv6."""
    health: bool = True
    """Believe the zone only while it lists 127.0.0.2 and does not list 127.0.0.1 (RFC 5782 section 5). Default true."""


class ListsConfig(Table):
    """Own IP lists; more entries are managed with `filterd lists` and the API."""

    allow: tuple[Range, ...] = Field(default=(), strict=False)
    """Clients (address, network or first-last) that skip connection checks and are never refused for what they are. Default none."""
    block: tuple[Range, ...] = Field(default=(), strict=False)
    """Clients (address, network or first-last) whose mail is refused. Default none."""
    refresh_seconds: Seconds = 5.0
    """How often workers look for changes made by API or command line. Default 5."""
