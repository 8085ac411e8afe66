"""Owns what tests of DMARC aggregate reports share: rows, counts, evidence, and the judge of a report.  Not part of the product."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from functools import cache
from typing import Any

from lxml import etree

from filterd.aggregate.collector import Counted
from filterd.aggregate.document import NAMESPACE
from filterd.aggregate.rows import AggregateRow, Signature, to_text
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from tests.support.material import CHECKOUT

RECORD = "v=DMARC1; p=reject; rua=mailto:dmarc@example.com"
DAY = 20_454  # 2026-01-01
MIDNIGHT = DAY * 86_400  # its first second, Unix time

ROW = AggregateRow(
    source_ip="192.0.2.7",
    header_from="example.com",
    envelope_from="bounce.example.com",
    envelope_to="example.org",
    disposition="pass",
    dkim="pass",
    spf="fail",
    signatures=(Signature("example.com", "s1", "pass"),),
    spf_domain="bounce.example.com",
    spf_result="softfail",
)


def row(**changes: Any) -> AggregateRow:
    """ROW with changes."""
    return replace(ROW, **changes)


def counted(day: int = DAY, policy_domain: str = "example.com", record: str = RECORD, **changes: Any) -> Counted:
    """A stored row."""
    return Counted(day, policy_domain, record, to_text(row(**changes)))


def found(
    result: Result = Result.FAIL, policy: str = "reject", record: str = RECORD, **more: str
) -> tuple[Evidence, ...]:
    """What SPF, DKIM and DMARC found of a message by example.com."""
    aligned = "pass" if result is Result.PASS else "fail"
    facts = {
        "header.from": "example.com",
        "policy.dmarc": policy,
        "record": record,
        "record_domain": "example.com",
        "organizational_domain": "example.com",
        "aligned_dkim": aligned,
        "aligned_spf": "fail",
        **more,
    }
    signature = {"header.d": "example.com", "header.s": "s1"}
    return (
        Evidence("spf", Stage.MAIL, Result.SOFTFAIL, Reason.SPF_SOFTFAIL, properties={"smtp.mailfrom": "list.example"}),
        Evidence("dkim", Stage.DATA, Result(aligned), Reason.OK, properties=signature),
        Evidence("dmarc", Stage.DATA, result, Reason.OK, properties=facts),
    )


SCHEMA = CHECKOUT / "tests" / "data" / "dmarc" / "rfc9990.xsd"


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(SCHEMA))


def element_names() -> set[str | None]:
    """The names of all elements that the schema has."""
    return {element.get("name") for element in etree.parse(SCHEMA).iter("{http://www.w3.org/2001/XMLSchema}element")}


def judged(document: bytes) -> etree._Element:
    """The root of a report that is valid against RFC 9990; fails otherwise."""
    root = etree.parse(io.BytesIO(document), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    schema = _schema()
    assert schema.validate(root), schema.error_log
    return root


def unpacked(file: bytes) -> bytes:
    """What is in a gzip file of one member."""
    return gzip.decompress(file)


def texts(root: etree._Element, path: str) -> list[str]:
    """The texts at a path such as record/row/count."""
    steps = "/".join(f"{{{NAMESPACE}}}{step}" for step in path.split("/"))
    return [element.text or "" for element in root.findall(steps)]
