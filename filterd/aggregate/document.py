"""Owns the XML of a report, compressed.  RFC 9990 3.1.1 and appendix A; a test holds it against the schema.

Whatever stands in a row comes out as text: characters that XML cannot carry are replaced, and nothing becomes markup.
Must not know mail, DNS or storage.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from filterd import __version__
from filterd.aggregate.published import published
from filterd.aggregate.rows import AggregateRow

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
DAY_SECONDS = 86_400
MAX_TEXT = 1000  # characters of one element
# XML 1.0, 2.2: what is no Char.  Lone surrogates have no UTF-8.
_NO_CHAR = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INSTEAD = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above the rows of a report.

    Attributes:
        report_id: the same for every copy of the same report, letters and digits only (RFC 9990 3.1.4).
        day: days since 1970-01-01, UTC.
        record: the policy record that was seen last.
    """

    org_name: str
    email: str
    contact: str
    report_id: str
    day: int
    policy_domain: str
    record: str

    @property
    def begin(self) -> int:
        """First second of the day, Unix time."""
        return self.day * DAY_SECONDS

    @property
    def end(self) -> int:
        """Last second of the day: periods do not overlap (RFC 9990 3.1.1.4)."""
        return self.begin + DAY_SECONDS - 1


Rows = Sequence[tuple[AggregateRow, int]]


def xml(heading: Heading, rows: Rows) -> Iterator[str]:
    """The document, piece by piece."""
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<feedback xmlns="{NAMESPACE}">\n<version>1.0</version>\n'
    yield _metadata(heading)
    yield _policy(heading)
    for row, count in rows:
        yield _record(row, count)
    yield "</feedback>\n"


def compressed(heading: Heading, rows: Rows) -> bytes:
    """The document as a gzip file; the same rows give the same octets."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=heading.end) as file:
        for piece in xml(heading, rows):
            file.write(piece.encode())
    return buffer.getvalue()


def compressed_within(heading: Heading, rows: Rows, limit: int) -> tuple[bytes, int]:
    """The gzip file, at most `limit` octets, and how many rows it has: the first ones, half of them again and again."""
    count = len(rows)
    while True:
        file = compressed(heading, rows[:count])
        if len(file) <= limit or count <= 1:
            return file, count
        count //= 2


def _metadata(heading: Heading) -> str:
    contact = _element("extra_contact_info", heading.contact) if heading.contact else ""
    period = f"<begin>{heading.begin}</begin><end>{heading.end}</end>"
    return (
        "<report_metadata>\n"
        + _element("org_name", heading.org_name)
        + _element("email", heading.email)
        + contact
        + _element("report_id", heading.report_id)
        + f"<date_range>{period}</date_range>\n"
        + _element("generator", f"filterd {__version__}")
        + "</report_metadata>\n"
    )


def _policy(heading: Heading) -> str:
    """RFC 9990 3.1.1.5: what is not published stands there with its default."""
    found = published(heading.record)
    policy = found.policy
    sp = policy.sp or policy.p
    return (
        "<policy_published>\n"
        + _element("domain", heading.policy_domain)
        + f"<p>{policy.p}</p><sp>{sp}</sp><np>{policy.np or sp}</np>\n"
        + f"<adkim>{'s' if policy.strict_dkim else 'r'}</adkim><aspf>{'s' if policy.strict_spf else 'r'}</aspf>\n"
        + "<discovery_method>treewalk</discovery_method>\n"
        + _element("fo", found.fo)
        + f"<testing>{'y' if policy.testing else 'n'}</testing>\n</policy_published>\n"
    )


def _record(row: AggregateRow, count: int) -> str:
    reasons = "".join(
        f"<reason>{_element('type', item.kind)}{_element('comment', item.comment) if item.comment else ''}</reason>\n"
        for item in row.overrides
    )
    signatures = "".join(
        f"<dkim>{_element('domain', item.domain)}{_element('selector', item.selector)}"
        f"{_element('result', item.result)}</dkim>\n"
        for item in row.signatures
    )
    spf = ""
    if row.spf_domain:
        spf = (
            f"<spf>{_element('domain', row.spf_domain)}<scope>mfrom</scope>{_element('result', row.spf_result)}</spf>\n"
        )
    return (
        "<record>\n<row>\n"
        + _element("source_ip", row.source_ip)
        + f"<count>{count}</count>\n<policy_evaluated>\n"
        + _element("disposition", row.disposition)
        + _element("dkim", row.dkim)
        + _element("spf", row.spf)
        + reasons
        + "</policy_evaluated>\n</row>\n<identifiers>\n"
        + _element("header_from", row.header_from)
        + _element("envelope_from", row.envelope_from)
        + (_element("envelope_to", row.envelope_to) if row.envelope_to else "")
        + f"</identifiers>\n<auth_results>\n{signatures}{spf}</auth_results>\n</record>\n"
    )


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_NO_CHAR.sub(_INSTEAD, text[:MAX_TEXT]))}</{name}>\n"
