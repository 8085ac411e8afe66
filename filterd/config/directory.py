"""Owns the tables about recipients: accepted domains, files, LDAP, pushed lists, call-ahead.  Must not know how they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from filterd.config.base import Domain, Host, Port, Seconds, Table

Backend = Literal["file", "hashed_file", "ldap", "push", "callahead"]
BACKENDS: tuple[Backend, ...] = ("file", "hashed_file", "ldap", "push", "callahead")


class RecipientsConfig(Table):
    """Who may receive mail: what [[ldap]] and [push] know of accepted domains comes on top of what stands here."""

    accepted_domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Domains we take mail for; for others the answer is 550 5.7.1. Default none."""
    relay_domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Accepted domains whose recipients are not looked up (internal relay). Default none."""
    external_relay_domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Accepted domains of others that Exchange only passes on (external relay): not looked up, and not protected as ours. Default none."""
    file: Path | None = None
    """File with one address a line (# starts a comment); read again when it changes. Default none."""
    hashed_file: Path | None = None
    """File of keyed hashes as `filterd directory hash` writes them; read again when it changes. Default none."""
    order: tuple[Backend, ...] = Field(default=BACKENDS, strict=False, min_length=1)
    """In which order those that are configured are asked; the first that knows the recipient answers, unknown is who is unknown to all. With none configured every recipient of an accepted domain is known. Default file, hashed_file, ldap, push, callahead."""

    max_drop_percent: float = Field(default=10.0, ge=0, le=100)
    """When a changed file lacks more than this share of its recipients nobody is dropped until filterd is reloaded; who is new is taken over. Default 10."""

    @model_validator(mode="after")
    def _once(self) -> RecipientsConfig:
        if len(set(self.order)) != len(self.order):
            raise ValueError("order: expected each backend once")
        names = [*self.accepted_domains, *self.relay_domains, *self.external_relay_domains]
        for domain in self.external_relay_domains:
            if names.count(domain) > 1:
                raise ValueError(
                    f"external_relay_domains: {domain} stands in another list too; expected each domain in one"
                )
        return self


def _ldap_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("ldap", "ldaps") or not rest or any(c in rest for c in "/ ?#@"):
        raise ValueError("expected such as ldaps://dc1.example.org or ldap://dc1.example.org:389 (with StartTLS)")
    return text


class LdapConfig(Table):
    """One Active Directory domain (or other LDAP directory) whose recipients are copied into a snapshot; several for a forest."""

    name: str = Field(default="ad", pattern=r"^[a-z][a-z0-9_-]{0,30}$")
    """Name in logs, in `filterd directory` and of the snapshot's file. Default ad."""
    urls: tuple[Annotated[str, AfterValidator(_ldap_url)], ...] = Field(
        default=("ldaps://dc1.example.org",), strict=False, min_length=1
    )
    """Domain controllers, the first that answers is used; ldap:// uses StartTLS, ports 3268 and 3269 are a global catalog. Default ldaps://dc1.example.org."""
    user: str = ""
    """Who reads: filterd@example.org for Active Directory (an ordinary user without rights suffices), a DN elsewhere; empty for an anonymous bind. Default empty."""
    password_file: Path | None = None
    """File with the password in its first line, readable by the service only. Default none."""
    ca_file: Path | None = None
    """PEM file with the authorities to trust. Default none: those of the system."""
    verify: bool = True
    """Verify the directory's certificate. Default true."""
    allow_clear_text: bool = False
    """Bind without TLS where an ldap:// server offers no StartTLS: everybody on the way can read the password. Default false."""
    bases: tuple[str, ...] = Field(default=(), strict=False)
    """Where recipients are searched. Default none: the server's defaultNamingContext (Active Directory), else its first naming context."""
    address_attributes: tuple[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")], ...] = Field(
        default=("proxyAddresses",), strict=False, min_length=1
    )
    """Attributes that hold addresses; of values such as SMTP:anna@example.org those with smtp: count, others without a prefix too. Default proxyAddresses; mail for other directories."""
    read_domains: bool = True
    """Take accepted domains and their types from Exchange's configuration in the directory. Default true."""
    protected_groups: tuple[str, ...] = Field(default=(), strict=False)
    """DNs of groups whose members are protected people ([impersonation]): board, accounting. Nested groups count. Default none."""
    safelists: bool = False
    """Use safe and blocked senders of mailboxes, once `filterd directory calibrate` has verified their format. Default false."""
    sync_minutes: int = Field(default=5, ge=1, le=1440)
    """How often changes are read (EdgeSync does it every 5 minutes). Default 5."""
    reconcile_hour: int = Field(default=3, ge=0, le=23)
    """Hour of the day, local time, in which everything is read anew, deletions too. Default 3."""
    page_size: int = Field(default=500, ge=1, le=1000)
    """Entries of one page of an answer (Active Directory gives at most 1000). Default 500."""
    timeout_seconds: Seconds = 30.0
    """Longest wait for one answer. Default 30."""
    max_entries: int = Field(default=5_000_000, ge=1)
    """Most objects that are read; beyond it the old snapshot stays. Default 5000000."""
    max_drop_percent: float = Field(default=10.0, ge=0, le=100)
    """A sync that would drop more than this share of the recipients drops nobody until somebody has looked; who is new is taken over. Default 10."""
    warn_hours: int = Field(default=24, ge=1, le=8760)
    """Age of the snapshot from which doctor, status and metrics warn. Default 24."""

    @model_validator(mode="after")
    def _whole(self) -> LdapConfig:
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file must be given together; without both the bind is anonymous")
        return self


class PushConfig(Table):
    """Recipients that a script inside pushes to the API as keyed hashes (deploy/exchange); nothing opens from here inward."""

    enabled: bool = False
    """Take pushed lists, and answer from the last one. Default false."""
    max_drop_percent: float = Field(default=10.0, ge=0, le=100)
    """A push that would drop more than this share of the recipients is refused, the old one stays. Default 10."""
    max_recipients: int = Field(default=2_000_000, ge=1)
    """Most addresses of one push. Default 2000000."""
    warn_hours: int = Field(default=24, ge=1, le=8760)
    """Age of the last push from which doctor, status and metrics warn. Default 24."""


class CallAheadConfig(Table):
    """Ask a mail server at RCPT whether it knows the recipient; Exchange's Front End does not say so, its port 2525 may (docs/callahead.md)."""

    host: Host = ""
    """Name or address of the server to ask. Default empty: none is."""
    port: Port = 2525
    """TCP port. Default 2525 (Exchange's Transport service with the Recipient Filter agent)."""
    tls: Literal["off", "opportunistic", "required"] = "opportunistic"
    """STARTTLS: never, when offered, or always. Default opportunistic."""
    domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Accepted domains to ask about. Default none: all."""
    positive_hours: int = Field(default=24, ge=1, le=720)
    """How long a known recipient is believed without asking. Default 24."""
    negative_minutes: int = Field(default=10, ge=1, le=1440)
    """How long an unknown recipient is believed without asking. Default 10."""
    cache_entries: int = Field(default=100_000, ge=100)
    """Answers kept in each worker. Default 100000."""
    connections: int = Field(default=4, ge=1, le=100)
    """Most connections of one worker. Default 4."""
    timeout_seconds: Seconds = 8.0
    """Longest wait for one answer, below the ten seconds that a RCPT may take. Default 8."""
