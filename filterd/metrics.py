"""Owns the counters of this process.  Names begin with filterd_.  Must not know who reads them.

With FILTERD_METRICS_DIR set (the supervisor does), every process writes into files named by its slot, so that the API
process can add them up and a restarted worker goes on counting in the file of its slot: no file per dead process
(prometheus_client issues 275 and 568 describe what happens otherwise).
"""

from __future__ import annotations

import os
from pathlib import Path

_SLOT = os.environ.get("FILTERD_SLOT", "main")
if os.environ.get("FILTERD_METRICS_DIR"):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["FILTERD_METRICS_DIR"]

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values  # noqa: E402 (the variable must stand first)
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

if os.environ.get("FILTERD_METRICS_DIR"):
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _SLOT)  # type: ignore[no-untyped-call]  # untyped there

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

MESSAGES = Counter("filterd_messages_total", "Copies (message and recipient) by terminal state", ["state"])
VERDICTS = Counter("filterd_verdicts_total", "Verdicts at end-of-data by action", ["action"])
CHECK_FAILURES = Counter("filterd_check_failures_total", "Checks that gave no answer", ["check", "kind"])
STORAGE_FAILURES = Counter("filterd_storage_failures_total", "Writes of ledger or quarantine that failed", ["kind"])
UPSTREAM_FAILURES = Counter("filterd_upstream_failures_total", "Hand-overs without an answer", ["kind"])
UPSTREAM_REPLIES = Counter("filterd_upstream_replies_total", "Upstream's end-of-data replies", ["code"])
UPSTREAM_ANSWERS = Counter(
    "filterd_upstream_answers_total",
    "Refusals and deferrals of Exchange by what they mean (docs/exchange.md)",
    ["kind"],
)
UPSTREAM_BACK_PRESSURE = Gauge(
    "filterd_upstream_back_pressure",
    "1 while a process sends less to Exchange because it said that it has too much to do",
    multiprocess_mode="max",
)
CONNECTIONS = Counter("filterd_connections_total", "SMTP connections accepted")
REFUSED_RECIPIENTS = Counter("filterd_refused_recipients_total", "RCPT commands refused", ["code"])
HYBRID_MAIL = Counter(
    "filterd_hybrid_messages_total",
    "Messages of the own Exchange Online that came through the filter instead of directly: refused, passed",
    ["result"],
)
FORGED_FIELDS = Counter(
    "filterd_forged_fields_total", "Header fields removed because they claimed to be ours or Exchange's"
)
UPSTREAM_REFUSED_COPIES = Counter(
    "filterd_upstream_refused_copies_total", "Copies held because upstream refused them beside accepted ones"
)
OUTBOUND_REFUSED_COPIES = Counter(
    "filterd_outbound_refused_copies_total",
    "Copies that the next mail server refused for good beside accepted ones: their authors were told",
)
OUTBOUND_OVER_RATE = Counter(
    "filterd_outbound_over_rate_total", "Recipients deferred because their sender wrote to too many in an hour"
)
OUTBOUND_SIGNED = Counter(
    "filterd_outbound_signed_total",
    "Outbound messages: signed, no_key, key_unusable (deferred, or unsigned while observing)",
    ["result"],
)
SIGNING_KEYS_UNUSABLE = Gauge(
    "filterd_signing_keys_unusable",
    "Private keys of the configuration that a process could not read or use: outbound (DKIM), arc",
    ["use"],
    multiprocess_mode="max",
)
CORRESPONDENTS = Counter(
    "filterd_correspondents_total", "Outbound messages whose recipients were noted, dropped, failed", ["result"]
)
TALLIES_FULL = Counter("filterd_tallies_full_total", "Events of clients that could not be counted: too many at once")
REFUSED_CONNECTIONS = Counter("filterd_refused_connections_total", "Connections refused before a greeting", ["limit"])
PROTOCOL_LOG_DROPPED = Counter(
    "filterd_protocol_log_dropped_total", "Conversations that the protocol log could not keep"
)
EXCHANGE_LOG_DROPPED = Counter(
    "filterd_exchange_log_dropped_total",
    "Messages and conversations that the logs in Exchange's formats could not keep",
)
OUTBOX = Counter("filterd_outbox_total", "Deliveries of the outbox", ["result"])
REPORT_MAILS = Counter(
    "filterd_report_mails_total",
    "Report mails: read, retry, given_up, left (for a person), ignored (bounces and automatic replies)",
    ["result"],
)
NOTICES = Counter(
    "filterd_notices_total",
    "Deliveries of mail of our own, such as answers to reports: delivered, retry, suspended",
    ["result"],
)
DMARC_ROWS = Counter(
    "filterd_dmarc_counted_total",
    "Messages counted for DMARC reports: kept, dropped (a bound was reached), lost (they could not be written)",
    ["result"],
)
DMARC_REPORTS = Counter(
    "filterd_dmarc_reports_total",
    "Deliveries of DMARC reports: delivered, retry, given_up, unwanted (the destination does not confirm)",
    ["result"],
)
CAMPAIGN_MESSAGES = Counter(
    "filterd_campaign_messages_total",
    "Messages by campaign: kept, retried (the database failed), dropped (too many waited), lost (a fault, or the end)",
    ["result"],
)
ATTACHMENT_JOBS = Counter(
    "filterd_attachment_jobs_total",
    "Messages whose attachments were looked into: done, broken (an attachment ended the process or took too long)",
    ["result"],
)
ATTACHMENT_PROCESSES = Counter(
    "filterd_attachment_processes_total",
    "Processes that look inside attachments: started, retired (their time was up), died, killed (took too long)",
    ["event"],
)
DIRECTORY_SYNCS = Counter(
    "filterd_directory_sync_total",
    "Syncs of an [[ldap]] table: full, incremental, failed, refused (the guard kept the old list), busy",
    ["name", "result"],
)
DIRECTORY_SYNC_SECONDS = Histogram(
    "filterd_directory_sync_seconds",
    "Wall time of syncs of an [[ldap]] table",
    ["name"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600),
)
MODEL_LOADED = Gauge("filterd_model_loaded", "1 when a content model is in use", multiprocess_mode="min")
MODEL_REFUSED = Gauge(
    "filterd_model_refused",
    "1 while the model that should be in use cannot be: wrong signature, damaged files; another one, or none, scores",
    multiprocess_mode="max",
)
SHADOW_MESSAGES = Counter(
    "filterd_shadow_messages_total",
    "Messages decided again with the score of the model in shadow: same, stricter, milder",
    ["result"],
)
MODEL_ROLLBACKS = Counter("filterd_model_rollbacks_total", "Promoted models that filterd has taken back by itself")
DRIFT_ALARM = Gauge(
    "filterd_drift_alarm",
    "1 while the last day's mail is not what the model was made for: scores, unknown, calibration",
    ["kind"],
    multiprocess_mode="mostrecent",
)
MALWARE_SCANS = Counter(
    "filterd_malware_scans_total",
    "Messages by what the malware scan said: ok, malware_found, malware_suspected, malware_not_scanned (too large), failed",
    ["result"],
)
MALWARE_SECONDS = Histogram("filterd_malware_seconds", "Wall time of malware scans with an answer", buckets=_LATENCY)
DNSBL_ANSWERS = Counter(
    "filterd_dnsbl_answers_total",
    "What DNS lists said: listed, not_listed, error, refused, suspended",
    ["zone", "result"],
)
DNSBL_SUSPENDED = Gauge(
    "filterd_dnsbl_suspended", "1 while a process does not ask this DNS list", ["zone"], multiprocess_mode="max"
)
DNS_LOOKUPS = Counter("filterd_dns_lookups_total", "Questions to DNS, answered from the cache or not", ["zone"])
DNS_CACHE_HITS = Counter("filterd_dns_cache_hits_total", "Questions to DNS answered from the cache", ["zone"])
DNS_FAILURES = Counter("filterd_dns_failures_total", "Questions to DNS without a usable answer", ["zone", "kind"])
DNS_SECONDS = Histogram(
    "filterd_dns_seconds", "Wall time of questions that name servers were asked", ["zone"], buckets=_LATENCY[:10]
)
DNS_STRANGERS = Counter(
    "filterd_dns_strangers_total", "Datagrams that came instead of an answer: many are attempts at forgery"
)
DNS_OVER_TCP = Counter("filterd_dns_over_tcp_total", "Questions to DNS that were asked over TCP")
CALLAHEAD = Counter(
    "filterd_callahead_questions_total",
    "Questions of call-ahead: known, unknown, failed (no usable answer), everybody (the server takes any address)",
    ["result"],
)
DIRECTORY_AGE = Gauge(
    "filterd_directory_age_seconds",
    "Age of the snapshot that recipients are answered from, by its backend",
    ["backend"],
    multiprocess_mode="mostrecent",
)
DIRECTORY_RECIPIENTS = Gauge(
    "filterd_directory_recipients",
    "Addresses that a backend of the recipient directory has",
    ["backend"],
    multiprocess_mode="mostrecent",
)
STAGE_SECONDS = Histogram("filterd_stage_seconds", "Wall time of the checks of a stage", ["stage"], buckets=_LATENCY)
HANDOVER_SECONDS = Histogram("filterd_handover_seconds", "Wall time of hand-overs to upstream", buckets=_LATENCY)


def exposition() -> bytes:
    """All metrics in Prometheus' text format: of all processes when they share a folder, else of this one."""
    folder = os.environ.get("FILTERD_METRICS_DIR")
    if not folder:
        return generate_latest()
    return generate_latest(_shared(Path(folder)))


def samples(folder: Path) -> list[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of all processes that write, or wrote, into `folder`."""
    found = [sample for family in _shared(folder).collect() for sample in family.samples]
    return [(sample.name, sample.labels, sample.value) for sample in found]


def _shared(folder: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return registry
