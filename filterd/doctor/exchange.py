"""Owns the judgement of a receive connector by what it showed.

Must not know how the questions were asked.  Limits and their defaults: docs/exchange.md.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from cryptography import x509

from filterd.adapters.directory import known_domains
from filterd.adapters.exchange_probe import PROBE_SCL, STEP_SECONDS, Answer, Questions, Seen, look_at
from filterd.config import Config, UpstreamConfig
from filterd.deadline import Deadline
from filterd.directory.values import DomainType
from filterd.doctor import certificates
from filterd.doctor.finding import Finding, Level, fail, ok, warn
from filterd.exchange.answers import Kind, meaning_of
from filterd.exchange.setup import CONNECTOR

# An honest refusal takes milliseconds; a network far away takes a second; Exchange's tarpit is 5 s.
SLOW_SECONDS = 2.0
CONNECTIONS = 25  # five more than Exchange allows one source by default (MaxInboundConnectionPerSource)
_MOST_CONNECTIONS = 100  # that one look may open at a server in use
_WANTED = ("PIPELINING", "CHUNKING", "8BITMIME", "ENHANCEDSTATUSCODES")
_RESERVED = ("example.com", "example.net", "example.org")  # RFC 2606: nobody's mail
_NOBODYS = "filterd.example"


def questions(config: Config, domain: str = "", probe: str = "", *, many: bool = False) -> Questions:
    """What to ask a server that has this configuration; `many`: connections too.  Blocks for a look at a few files."""
    known = known_domains(config)
    names = [item.name for item in known.all if item.type is DomainType.AUTHORITATIVE and item.name.isascii()]
    chosen = domain or probe.rpartition("@")[2].lower() or next(iter(names), "")
    foreign = next((name for name in _RESERVED if name != chosen and not known.find(name)), _NOBODYS)
    wanted = min(max(CONNECTIONS, needed_connections(config)), _MOST_CONNECTIONS) if many else 0
    return Questions(config.server.hostname, chosen, foreign, wanted, probe)


def needed_connections(config: Config) -> int:
    """The most that all our processes may have open at once: the workers, and the one that delivers released copies."""
    return (config.server.workers + 1) * config.upstream.connections


async def connector(config: Config, deadline: Deadline) -> list[Finding]:
    """Doctor's short form: relay, tarpit and own senders; nothing that a server in use would feel."""
    asked = await asyncio.to_thread(questions, config)
    seen = await look_at(config.upstream, asked, deadline)
    if seen.unreachable:
        return []  # the examination of upstream says so
    what = name_of(config.upstream)
    found = [*_relay(what, seen, asked), *_tarpit(what, seen), *_own_sender(what, seen, asked)]
    bad = [finding for finding in found if finding.level is not Level.OK]
    return bad or [ok(what, "no open relay, no tarpit towards us; more: filterd exchange verify")]


def judge(config: Config, hop: UpstreamConfig, asked: Questions, seen: Seen) -> list[Finding]:
    """All findings of `filterd exchange verify` about one server."""
    what = name_of(hop)
    if seen.unreachable:
        remedy = "is the server up, is the port open, and is our address in RemoteIPRanges of a connector there?"
        if seen.refusal is not None:
            remedy = _explained(seen.refusal)
        return [fail(what, seen.unreachable, remedy)]
    return [
        *_hello(config, what, seen),
        *_size(config, what, seen),
        *_tls(hop, what, seen),
        *_tarpit(what, seen),
        *_relay(what, seen, asked),
        *_unknown(config, what, seen),
        *_own_sender(what, seen, asked),
        *_connections(config, what, seen, asked),
        *_probe(what, seen, asked),
    ]


def name_of(hop: UpstreamConfig) -> str:
    """The server as findings name it."""
    return f"exchange {f'[{hop.host}]' if ':' in hop.host else hop.host}:{hop.port}"


def _hello(config: Config, what: str, seen: Seen) -> list[Finding]:
    found = []
    name = f"{what}, EHLO"
    if seen.name.lower() == config.server.hostname:
        remedy = (
            "give the connector another Fqdn, or server.hostname another name: Exchange takes this for a loop (5.3.5)"
        )
        found.append(fail(name, f"it calls itself {seen.name}, as we do", remedy))
    lacking = [keyword for keyword in _WANTED if keyword not in seen.extensions]
    if lacking:
        remedy = f"Set-ReceiveConnector … -{' -'.join(_SWITCH[keyword] + ' $true' for keyword in lacking)}"
        found.append(warn(name, f"{seen.name} does not offer {', '.join(lacking)}", remedy))
    if "XCLIENT" in seen.extensions:
        remedy = "no Exchange offers it: is upstream.host another mail server or a relay in between?"
        found.append(warn(name, "XCLIENT is offered", remedy))
    usual = "; no SMTPUTF8, as usual: mail with such addresses is refused with 5.6.7"
    note = "" if "SMTPUTF8" in seen.extensions else usual
    return found or [ok(name, f"{seen.name}{note}")]


_SWITCH = {
    "PIPELINING": "PipeliningEnabled",
    "CHUNKING": "ChunkingEnabled",
    "8BITMIME": "EightBitMimeEnabled",
    "ENHANCEDSTATUSCODES": "EnhancedStatusCodesEnabled",
}


def _size(config: Config, what: str, seen: Seen) -> list[Finding]:
    size = seen.extensions.get("SIZE", "").split(" ")[0]
    most = max(config.limits_of(listener).message_bytes for listener in config.listeners)
    if not (size.isascii() and size.isdigit()) or len(size) > 20 or int(size) == 0:  # RFC 1870 section 4: 0 is no limit
        return [ok(f"{what}, SIZE", "no limit is announced")]
    if int(size) < most:
        text = f"it takes {size} octets, limits.message_bytes is {most}: what lies between is refused after it was sent"
        return [
            warn(
                f"{what}, SIZE", text, f"lower limits.message_bytes to {size}, or raise MaxMessageSize of the connector"
            )
        ]
    return [ok(f"{what}, SIZE", f"{size} octets, limits.message_bytes is {most}")]


def _tls(hop: UpstreamConfig, what: str, seen: Seen) -> list[Finding]:
    name = f"{what}, TLS"
    needed = hop.tls == "required" or hop.tls_verify
    tell = fail if needed else warn
    if seen.certificate is None:
        text = seen.tls_problem or "STARTTLS is not offered"
        return [
            tell(
                name, text, "-AuthMechanism Tls and a certificate on the connector: filterd exchange setup --thumbprint"
            )
        ]
    try:
        certificate = x509.load_der_x509_certificate(seen.certificate)
        judged = certificates.judge(name, certificate, datetime.now(UTC))
        self_signed = certificate.issuer == certificate.subject
        named = certificates.names(certificate)
    except ValueError as error:
        return [tell(name, f"its certificate cannot be read: {error}", "give the connector another one")]
    if seen.trust_problem:
        remedy = "no mail can be handed over: upstream.tls_ca_file must hold its authority, and upstream.host be a name in it"
        judged = fail(name, seen.trust_problem, remedy)
    if judged.level is Level.FAIL and not needed:
        judged = warn(judged.what, judged.text, judged.remedy)
    found = [judged]
    if self_signed:
        text = (
            "it is self-signed, as Exchange's own is: mail is encrypted, but anybody in between could pose as Exchange"
        )
        if hop.tls_verify:
            found.append(ok(name, "it is self-signed; upstream.tls_ca_file must hold it"))
        else:
            found.append(ok(name, f"{text}; a certificate of your authority and upstream.tls_verify = true close that"))
    wanted = hop.host.lower()
    if hop.tls_verify and not any(_covers(entry.lower(), wanted) for entry in named):
        found.append(
            fail(name, f"it is not for {hop.host}", "name the server in upstream.host as its certificate does")
        )
    return found


def _covers(entry: str, host: str) -> bool:
    """RFC 9525 6.3: a wildcard is the whole first label."""
    return entry == host or (entry.startswith("*.") and host.partition(".")[2] == entry[2:])


def _tarpit(what: str, seen: Seen) -> list[Finding]:
    name = f"{what}, tarpit"
    timed = [answer for answer in (seen.command, seen.relay, seen.unknown) if answer is not None]
    refused = [answer for answer in timed if not answer.is_success]
    slowest = max((answer.seconds for answer in refused), default=0.0)
    if slowest >= SLOW_SECONDS:
        limit = "or more" if slowest >= STEP_SECONDS else ""
        remedy = f'Set-ReceiveConnector "SERVER\\{CONNECTOR}" -TarpitInterval 00:00:00: filterd has a tarpit towards the Internet'
        return [warn(name, f"a refusal takes {slowest:.1f} s {limit}".rstrip() + ", and holds our connection", remedy)]
    return [ok(name, f"refusals take {slowest:.2f} s at most")]


def _relay(what: str, seen: Seen, asked: Questions) -> list[Finding]:
    name, answer = f"{what}, relay", seen.relay
    if answer is None or answer.reply is None:
        return [
            warn(
                name, f"not known: {answer or 'not asked'}", "try again; the protocol log of the connector may say more"
            )
        ]
    if answer.is_success:
        remedy = (
            "take ms-Exch-SMTP-Accept-Any-Recipient away from anonymous clients, and every setting that calls us externally secured: "
            "filterd exchange setup makes a connector without"
        )
        return [fail(name, f"a stranger's mail for {asked.foreign} is taken: it is an open relay towards us", remedy)]
    if answer.reply.is_temporary:
        return [warn(name, f"not known: {answer}", _explained(answer))]
    return [ok(name, f"denied: {answer}")]


def _unknown(config: Config, what: str, seen: Seen) -> list[Finding]:
    name, answer = f"{what}, unknown recipient", seen.unknown
    if answer is None:
        return [warn(name, "not asked: no accepted domain is known", "filterd exchange verify --domain example.org")]
    if answer.reply is None or answer.reply.is_temporary:
        return [warn(name, f"not known: {answer}", _explained(answer))]
    if answer.reply.is_permanent:
        if meaning_of(answer.reply).kind is Kind.RELAY:
            return [warn(name, str(answer), meaning_of(answer.reply).remedy)]
        return [ok(name, f"refused at RCPT: {answer}")]
    if has_directory(config):
        return [
            ok(
                name,
                "taken at RCPT, refused only after the message, as Exchange's Front End does; our directory answers before",
            )
        ]
    text = "taken at RCPT: Exchange's Front End refuses only after the message, for all recipients of it at once"
    return [warn(name, text, "give filterd a directory: [[ldap]], [push] or recipients.file (docs/directory.md)")]


def has_directory(config: Config) -> bool:
    """Whether anything tells recipients apart."""
    recipients = config.recipients
    return bool(
        recipients.file or recipients.hashed_file or config.ldap or config.push.enabled or config.callahead.host
    )


def _own_sender(what: str, seen: Seen, asked: Questions) -> list[Finding]:
    name, answer = f"{what}, own sender", seen.own_sender
    if answer is None:
        return []
    if answer.is_success:
        return [ok(name, f"mail with a sender of {asked.domain} is taken; filterd judges it (policy.own_domain)")]
    return [warn(name, f"with a sender of {asked.domain}: {answer}", _explained(answer))]


def _connections(config: Config, what: str, seen: Seen, asked: Questions) -> list[Finding]:
    if not asked.connections:
        return []
    name, needed = f"{what}, connections", needed_connections(config)
    formula = f"(workers + 1) x upstream.connections = {needed}"
    if seen.refusal is None:
        untried = ", more were not tried" if seen.connections < needed else ""
        return [ok(name, f"{seen.connections} at once are taken{untried}; we need {formula} at most")]
    text = f"{seen.connections} at once are taken, then {seen.refusal}; we need {formula} at most"
    if seen.connections >= needed:
        return [ok(name, text)]
    remedy = "-MaxInboundConnectionPerSource unlimited -MaxInboundConnectionPercentagePerSource 100 on the connector, or lower upstream.connections"
    return [warn(name, text, remedy)]


def _probe(what: str, seen: Seen, asked: Questions) -> list[Finding]:
    name, answer = f"{what}, probe message", seen.probe
    if answer is None:
        return []
    if not answer.is_success:
        return [fail(name, f"{asked.probe}: {answer}", _explained(answer))]
    track = (
        f"Get-TransportService | Get-MessageTrackingLog -MessageId '{seen.message_id}' | "
        "Format-Table Timestamp,EventId,Source,ConnectorId,RecipientStatus"
    )
    text = f"{asked.probe}: {answer}; look for Message-ID {seen.message_id} in the mailbox, and for SCL {PROBE_SCL} in its header"
    return [Finding(Level.OK, name, text, f"in the Exchange Management Shell: {track}")]


def _explained(answer: Answer) -> str:
    if answer.reply is None:
        return "look at the network in between, and at the protocol log of the connector"
    means = meaning_of(answer.reply)
    return f"{means.meaning}: {means.remedy}"
