"""A report is valid against the schema of RFC 9990, whatever the senders of the mail made of their domains."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.aggregate.document import Heading, compressed, compressed_within, xml
from filterd.aggregate.rows import OVERRIDES, AggregateRow, Override, Signature
from tests.support.dmarc import DAY, MIDNIGHT, RECORD, element_names, judged, row, texts, unpacked
from tests.support.growth import assert_growth
from tests.support.material import CHECKOUT

HEADING = Heading("Example", "dmarc@example.org", "https://example.org/", "0" * 32, DAY, "example.com", RECORD)

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(max_codepoint=0x9F), max_size=30),
    st.text(st.characters(categories=["Cs", "Cn", "Cc", "Co"]), max_size=10),
    st.sampled_from(
        [
            "</domain><x/>",
            "]]>",
            "<![CDATA[",
            "&lt;",
            "&#0;",
            "<!--",
            '"',
            "a" * 5000,
            "\ud800",
            "\x00",
            "ﬀ",
            "\U0010ffff",
        ]
    ),
)
WORDS = st.sampled_from(["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"])
ALIGNED = st.sampled_from(["pass", "fail"])
ROWS = st.builds(
    AggregateRow,
    source_ip=st.ip_addresses().map(str),
    header_from=HOSTILE,
    envelope_from=HOSTILE,
    envelope_to=HOSTILE,
    disposition=st.sampled_from(["none", "pass", "quarantine", "reject"]),
    dkim=ALIGNED,
    spf=ALIGNED,
    overrides=st.lists(st.builds(Override, st.sampled_from(OVERRIDES), HOSTILE), max_size=3).map(tuple),
    signatures=st.lists(st.builds(Signature, HOSTILE, HOSTILE, WORDS), max_size=4).map(tuple),
    spf_domain=HOSTILE,
    spf_result=WORDS | st.just("softfail"),
)
HEADINGS = st.builds(
    Heading,
    org_name=HOSTILE,
    email=HOSTILE,
    contact=HOSTILE,
    report_id=HOSTILE,
    day=st.integers(0, 50_000),
    policy_domain=HOSTILE,
    record=HOSTILE.map(lambda text: f"v=DMARC1; {text}")
    | st.sampled_from(
        ["v=DMARC1", RECORD, "v=DMARC1; p=x", "v=DMARC1; p=none; sp=reject; np=quarantine; t=y; adkim=s; aspf=s"]
    ),
)


def test_the_judge_knows_the_sample_of_the_rfc() -> None:
    judged((CHECKOUT / "tests" / "data" / "dmarc" / "rfc9990-sample.xml").read_bytes())


@settings(max_examples=300, deadline=None)
@given(HEADINGS, st.lists(st.tuples(ROWS, st.integers(1, 2**62)), min_size=1, max_size=4))
def test_every_report_is_valid_and_has_exactly_its_rows(heading: Heading, rows: list[tuple[AggregateRow, int]]) -> None:
    root = judged("".join(xml(heading, rows)).encode())
    assert texts(root, "record/row/count") == [str(count) for _, count in rows]
    assert texts(root, "record/row/source_ip") == [one.source_ip for one, _ in rows]
    assert len(texts(root, "record/auth_results/dkim/domain")) == sum(len(one.signatures) for one, _ in rows)
    # nothing of what stood in a row became markup
    assert len(root.findall(".//{*}record")) == len(rows)
    assert {element.tag.partition("}")[2] for element in root.iter()} <= element_names()


def test_a_row_says_everything_that_was_counted() -> None:
    one = row(disposition="none", dkim="fail", overrides=(Override("trusted_forwarder", "sealed"), Override("other")))
    root = judged("".join(xml(HEADING, [(one, 3)])).encode())
    expected = {
        "version": ["1.0"],
        "report_metadata/org_name": ["Example"],
        "report_metadata/email": ["dmarc@example.org"],
        "report_metadata/extra_contact_info": ["https://example.org/"],
        "report_metadata/report_id": ["0" * 32],
        "report_metadata/date_range/begin": [str(MIDNIGHT)],
        "report_metadata/date_range/end": [str(MIDNIGHT + 86_399)],
        "policy_published/domain": ["example.com"],
        "policy_published/p": ["reject"],
        "policy_published/sp": ["reject"],
        "policy_published/np": ["reject"],
        "policy_published/adkim": ["r"],
        "policy_published/fo": ["0"],
        "policy_published/testing": ["n"],
        "policy_published/discovery_method": ["treewalk"],
        "record/row/policy_evaluated/disposition": ["none"],
        "record/row/policy_evaluated/dkim": ["fail"],
        "record/row/policy_evaluated/spf": ["fail"],
        "record/row/policy_evaluated/reason/type": ["trusted_forwarder", "other"],
        "record/row/policy_evaluated/reason/comment": ["sealed"],
        "record/identifiers/header_from": ["example.com"],
        "record/identifiers/envelope_from": ["bounce.example.com"],
        "record/identifiers/envelope_to": ["example.org"],
        "record/auth_results/dkim/domain": ["example.com"],
        "record/auth_results/dkim/selector": ["s1"],
        "record/auth_results/dkim/result": ["pass"],
        "record/auth_results/spf/domain": ["bounce.example.com"],
        "record/auth_results/spf/scope": ["mfrom"],
        "record/auth_results/spf/result": ["softfail"],
    }
    assert {path: texts(root, path) for path in expected} == expected


def test_no_text_is_longer_than_its_bound() -> None:
    root = judged("".join(xml(replace(HEADING, contact="x" * 5000), [(row(), 1)])).encode())
    assert texts(root, "report_metadata/extra_contact_info") == ["x" * 1000]


def test_the_null_reverse_path_is_there_and_empty() -> None:
    root = judged("".join(xml(HEADING, [(row(envelope_from="", envelope_to="", spf_domain=""), 1)])).encode())
    assert texts(root, "record/identifiers/envelope_from") == [""]
    assert texts(root, "record/identifiers/envelope_to") == []
    assert texts(root, "record/auth_results/spf/domain") == []


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=DMARC1; p=none; sp=reject", ("none", "reject", "reject", "n")),
        ("v=DMARC1; p=reject; sp=none; np=quarantine; t=y", ("reject", "none", "quarantine", "y")),
    ],
)
def test_the_published_policy_is_the_record_with_its_defaults(record: str, expected: tuple[str, ...]) -> None:
    heading = Heading("E", "d@example.org", "", "0", DAY, "example.com", record)
    root = judged("".join(xml(heading, [(row(), 1)])).encode())
    assert tuple(texts(root, f"policy_published/{name}")[0] for name in ("p", "sp", "np", "testing")) == expected
    assert texts(root, "report_metadata/extra_contact_info") == []


def test_the_file_is_a_gzip_file_and_always_the_same() -> None:
    rows = [(row(source_ip=f"192.0.2.{n}"), n) for n in range(1, 100)]
    file = compressed(HEADING, rows)
    assert unpacked(file) == "".join(xml(HEADING, rows)).encode()
    assert compressed(HEADING, rows) == file
    assert file[:3] == b"\x1f\x8b\x08"
    assert int.from_bytes(file[4:8], "little") == HEADING.end, "whenever it is made: not the time of now"


def test_a_large_report_keeps_its_first_rows() -> None:
    rows = [(row(source_ip=f"2001:db8::{n:x}", header_from=f"{n * 7919:x}.example.com"), 1) for n in range(3000)]
    whole = len(compressed(HEADING, rows))
    file, shown = compressed_within(HEADING, rows, whole // 3)
    assert len(file) <= whole // 3
    assert 100 < shown < 3000
    assert texts(judged(gzip.decompress(file)), "record/row/source_ip") == [one.source_ip for one, _ in rows[:shown]]
    assert compressed_within(HEADING, rows, whole) == (compressed(HEADING, rows), 3000), (
        "the bound itself may be reached"
    )
    assert compressed_within(HEADING, rows, 1)[1] == 1, "a report has one row at least"


def test_making_a_report_costs_linear_time() -> None:
    def prepare(size: int) -> object:
        rows = [(row(source_ip=f"2001:db8::{n:x}"), n) for n in range(size)]
        return lambda: compressed(HEADING, rows)

    assert_growth(prepare, 1000, 10_000, 20)
