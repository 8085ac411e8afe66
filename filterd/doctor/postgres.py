"""Owns the look at a PostgreSQL server: whether it can keep what it is given, and whether it has room for all processes.

Must not know SQL.
"""

from __future__ import annotations

from filterd.config import Config
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.storage.postgres import MOST_CONNECTIONS, Facts

_WHAT = "database server"


def server(config: Config, facts: Facts) -> list[Finding]:
    """What is wrong with it, or that nothing is."""
    found = []
    if not facts.keeps_all_text:
        remedy = "make the database anew with ENCODING 'UTF8' TEMPLATE template0: filterd does not start on this one; docs/postgresql.md"
        found.append(fail(_WHAT, f"the encoding of the database is {facts.encoding}", remedy))
    elif not facts.folds_all:
        text = "lower() knows the letters of ASCII only: searches distinguish Ä from ä"
        found.append(warn(_WHAT, text, "make the database with LOCALE 'C.UTF-8' or another locale of UTF-8"))
    if facts.standby:
        found.append(fail(_WHAT, "it is a standby, which can only be read", "storage.url must name the primary"))
    elif not facts.may_create:
        text = "the role may not make tables, which the next upgrade needs"
        found.append(fail(_WHAT, text, "ALTER DATABASE … OWNER TO the role of storage.url; docs/postgresql.md"))
    if not facts.fsync:
        text = "fsync is off: when its machine dies, mail is lost that was answered with 250"
        found.append(fail(_WHAT, text, "set fsync = on in postgresql.conf"))
    needed = (config.server.workers + config.api.enabled) * MOST_CONNECTIONS
    if facts.connections < needed:
        text = f"it takes {facts.connections} connections, this node alone may need {needed}"
        found.append(warn(_WHAT, text, f"raise max_connections in postgresql.conf: {needed} for each node"))
    return found or [ok(_WHAT, f"PostgreSQL {facts.version}")]
