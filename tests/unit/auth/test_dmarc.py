"""DMARC after RFC 9989 where its appendix has no example: np, sp, t, psd, bad records, DNS failures, uncertainty."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.auth.dmarc import DmarcOutcome, evaluate_dmarc, walk_names
from filterd.auth.dmarc_record import POLICIES, is_policy_record, parse_record
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from tests.support.dns import MapResolver
from tests.support.growth import assert_growth


def evaluate(
    records: dict[str, str | list[str]],
    author: str = "example.com",
    spf: str | None = None,
    dkim: Sequence[str] = (),
    *,
    exists: Sequence[str] = (),
    failing: Sequence[str] = (),
    uncertain_spf: str | None = None,
    uncertain_dkim: Sequence[str] = (),
) -> DmarcOutcome:
    table = {(f"_dmarc.{n}", "TXT"): [v] if isinstance(v, str) else v for n, v in records.items()}
    table.update({(name, "A"): ["192.0.2.1"] for name in exists})
    resolver = MapResolver(table, set(failing))
    return asyncio.run(evaluate_dmarc(resolver, author, spf, dkim, Deadline.after(20), uncertain_spf, uncertain_dkim))


@pytest.mark.parametrize(
    ("record", "author", "exists", "policy"),
    [
        ("p=reject; sp=quarantine; np=none", "example.com", [], "reject"),
        ("p=reject; sp=quarantine; np=none", "sub.example.com", ["sub.example.com"], "quarantine"),
        ("p=reject; sp=quarantine; np=none", "sub.example.com", ["below.sub.example.com"], "quarantine"),
        ("p=reject; sp=quarantine; np=none", "sub.example.com", [], "none"),
        ("p=none; np=reject", "sub.example.com", [], "reject"),
        ("p=none; np=reject", "sub.example.com", ["sub.example.com"], "none"),
        ("p=quarantine; sp=none", "sub.example.com", [], "none"),
        ("p=reject; t=y", "example.com", [], "quarantine"),
        ("p=quarantine; t=y", "example.com", [], "none"),
        ("p=none; t=y", "example.com", [], "none"),
        ("p=none; sp=reject; t=y", "sub.example.com", ["sub.example.com"], "quarantine"),
        ("p=reject; t=n; pct=0; rf=x; ri=5; unknown=1", "example.com", [], "reject"),
        ("P=REJECT", "example.com", [], "reject"),
        ("p=reject; P=none", "example.com", [], "reject"),
        ("p=reject; fo; =; adkim=x; p=none", "example.com", [], "reject"),
    ],
)
def test_the_policy(record: str, author: str, exists: list[str], policy: str) -> None:
    outcome = evaluate({"example.com": "v=DMARC1; " + record}, author, exists=exists)
    assert (outcome.result, outcome.policy) == (Result.FAIL, policy)
    assert outcome.record_domain == outcome.organizational_domain == "example.com"


@pytest.mark.parametrize("tags", ["", "p=all", "p=reject; sp=all", "p=reject; np=", "sp=reject"])
def test_a_record_without_a_valid_policy_counts_only_when_reports_are_wanted(tags: str) -> None:
    outcome = evaluate({"example.com": f"v=DMARC1; {tags}"})
    assert outcome.result == Result.PERMERROR
    outcome = evaluate({"example.com": f"v=DMARC1; {tags}; rua=nonsense , mailto:x@example.com!10m , x"})
    assert (outcome.result, outcome.policy) == (Result.FAIL, "none")
    outcome = evaluate({"example.com": f"v=DMARC1; {tags}; rua=nonsense"})
    assert outcome.result == Result.PERMERROR


@pytest.mark.parametrize(
    "text", ["v=DMARC1", "v=DMARC1;", "v = DMARC1 ; p=none", "V=DMARC1; p=none", "v\t=\tDMARC1\t;p=none"]
)
def test_records(text: str) -> None:
    assert is_policy_record(text)


@pytest.mark.parametrize(
    "text", ["v=DMARC1x; p=none", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=DMARC2", "", "v=spf1 -all", " v=DMARC1"]
)
def test_no_records(text: str) -> None:
    assert not is_policy_record(text)


def test_several_records_at_one_name_are_all_discarded_and_the_walk_goes_on() -> None:
    outcome = evaluate(
        {"sub.example.com": ["v=DMARC1; p=none", "v=DMARC1; p=none"], "example.com": "v=DMARC1; p=reject"},
        "sub.example.com",
    )
    assert (outcome.policy, outcome.record_domain) == ("reject", "example.com")
    assert evaluate({"example.com": ["v=spf1 -all", "v=DMARC1; p=reject"]}).policy == "reject"


def test_no_record_is_none() -> None:
    nothing = evaluate({}, "sub.example.com")
    assert (nothing.result, nothing.organizational_domain) == (Result.NONE, "sub.example.com")
    assert evaluate({"example.net": "v=DMARC1; p=reject"}).result == Result.NONE


@pytest.mark.parametrize("author", ["", "192.0.2.1", "[192.0.2.1]", "a..b", "a b", "x" * 300])
def test_what_is_no_domain_has_no_policy(author: str) -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject", "192.0.2.1": "v=DMARC1; p=reject"}
    assert evaluate(zone, author).result == Result.NONE


def test_a_public_suffix_policy_applies_where_the_organization_has_none() -> None:
    zone: dict[str, str | list[str]] = {"bank.example": "v=DMARC1; p=none; sp=quarantine; np=reject; psd=y"}
    outcome = evaluate(zone, "giant.bank.example", exists=["giant.bank.example"])
    assert (outcome.policy, outcome.organizational_domain) == ("quarantine", "giant.bank.example")
    assert evaluate(zone, "fake.bank.example").policy == "reject"
    itself = evaluate(zone, "bank.example")
    assert (itself.policy, itself.organizational_domain) == ("none", "bank.example")
    assert evaluate(zone, "a.giant.bank.example", "b.giant.bank.example").result == Result.PASS
    assert evaluate(zone, "giant.bank.example", "mega.bank.example").result == Result.FAIL


def test_strict_alignment_is_equality() -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject; adkim=s; aspf=s"}
    assert evaluate(zone, "example.com", "EXAMPLE.com").aligned == {"spf"}
    assert evaluate(zone, "example.com", None, ["example.com"]).aligned == {"dkim"}
    assert evaluate(zone, "example.com", "mail.example.com", ["example.com"]).aligned == {"dkim"}
    assert evaluate(zone, "example.com", "example.com", ["example.com"]).aligned == {"dkim", "spf"}
    assert evaluate(zone, "example.com", "mail.example.com", ["mail.example.com"]).result == Result.FAIL


def test_a_name_that_only_ends_alike_is_not_aligned() -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject"}
    assert evaluate(zone, "example.com", "notexample.com", ["example.com.evil.example"]).result == Result.FAIL


def test_a_subdomain_that_is_its_own_organization_is_not_aligned_with_its_parent() -> None:
    zone: dict[str, str | list[str]] = {
        "example.com": "v=DMARC1; p=reject",
        "own.example.com": "v=DMARC1; p=reject; psd=n",
    }
    assert evaluate(zone, "example.com", None, ["own.example.com"]).result == Result.FAIL
    assert evaluate(zone, "example.com", None, ["other.example.com"]).result == Result.PASS


def test_dns_failures_are_neither_pass_nor_fail() -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject; np=reject"}
    assert evaluate(zone, failing=["_dmarc.example.com"]).result == Result.TEMPERROR
    assert evaluate(zone, "sub.example.com", failing=["_dmarc.sub.example.com"]).result == Result.TEMPERROR
    assert evaluate({}, failing=["_dmarc.com"]).result == Result.TEMPERROR  # it might publish a policy for all below it
    assert evaluate(zone, "sub.example.com", failing=["sub.example.com"]).result == Result.TEMPERROR
    assert evaluate(zone, dkim=["a.example.com"], failing=["_dmarc.a.example.com"]).result == Result.TEMPERROR


def test_dns_failures_that_cannot_matter_do_not() -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject"}
    assert evaluate(zone, dkim=["example.com"], failing=["_dmarc.com"]).result == Result.PASS
    assert evaluate(zone, dkim=["a.example.com", "example.com"], failing=["_dmarc.a.example.com"]).result == Result.PASS
    assert evaluate(zone, dkim=["evil.example.net"], failing=["_dmarc.evil.example.net"]).result == Result.FAIL
    assert evaluate(zone, failing=["_dmarc.com"]).result == Result.FAIL


@pytest.mark.parametrize("author", ["example.com", "sub.example.com"])
def test_a_silent_top_level_domain_takes_no_policy_from_who_has_published_one_right_below_it(author: str) -> None:
    """With psd=y (RFC 9989 5.2) or without a record, it makes the same name the organizational domain."""
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject"}
    for forger in ("evil.com", "mail.evil.example", "com"):
        outcome = evaluate(zone, author, forger, [forger], failing=["_dmarc.com"])
        assert (outcome.result, outcome.policy, outcome.organizational_domain) == (Result.FAIL, "reject", "example.com")
    assert evaluate(zone, author, dkim=["x.example.com"], failing=["_dmarc.com"]).result == Result.PASS
    assert evaluate(zone, author, uncertain_spf="x.example.com", failing=["_dmarc.com"]).result == Result.TEMPERROR


def test_a_silent_name_in_the_middle_matters_to_those_who_might_share_it() -> None:
    zone: dict[str, str | list[str]] = {"a.b.example.com": "v=DMARC1; p=reject", "example.com": "v=DMARC1; p=none"}
    silent = ["_dmarc.b.example.com"]
    # b.example.com may say psd=n, or nothing: then example.com is the organizational domain
    for kin in ("x.b.example.com", "mail.example.com"):
        assert evaluate(zone, "a.b.example.com", kin, failing=silent).result == Result.TEMPERROR
    assert evaluate(zone, "a.b.example.com", "evil.com", ["evil.example"], failing=silent).result == Result.FAIL
    assert evaluate(zone, "a.b.example.com", "a.b.example.com", failing=silent).result == Result.PASS
    # a public suffix of two labels
    zone = {"shop.co.uk": "v=DMARC1; p=reject"}
    assert evaluate(zone, "shop.co.uk", "evil.co.uk", failing=["_dmarc.co.uk"]).result == Result.TEMPERROR
    assert evaluate(zone, "shop.co.uk", "evil.uk", ["evil.com"], failing=["_dmarc.co.uk"]).result == Result.FAIL
    # a record of its own two levels below a silent top-level domain does not make it the organizational domain
    zone = {"a.example.com": "v=DMARC1; p=reject"}
    assert evaluate(zone, "a.example.com", "mail.example.com", failing=["_dmarc.com"]).result == Result.TEMPERROR


def test_what_passes_does_not_need_to_exist_for_certain() -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=none; np=reject"}
    outcome = evaluate(zone, "sub.example.com", "sub.example.com", failing=["sub.example.com"])
    assert outcome.result == Result.PASS
    # nor what fails where one policy holds for all names
    outcome = evaluate({"example.com": "v=DMARC1; p=reject"}, "sub.example.com", failing=["sub.example.com"])
    assert (outcome.result, outcome.policy) == (Result.FAIL, "reject")


def test_what_could_have_aligned_but_had_a_temporary_error_is_not_held_against_the_message() -> None:
    zone: dict[str, str | list[str]] = {"example.com": "v=DMARC1; p=reject"}
    assert evaluate(zone, uncertain_dkim=["mail.example.com"]).result == Result.TEMPERROR
    assert evaluate(zone, uncertain_spf="example.com").result == Result.TEMPERROR
    assert evaluate(zone, uncertain_spf="evil.example.net", uncertain_dkim=["x.example.net"]).result == Result.FAIL
    assert evaluate(zone, dkim=["example.com"], uncertain_spf="example.com").result == Result.PASS


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_no_walk_has_more_than_eight_names(labels: list[str]) -> None:
    name = ".".join(labels)
    names = walk_names(name)
    assert names[0] == name
    assert len(names) <= 8
    assert names[-1] == labels[-1]
    assert all(name.endswith(other) for other in names)


def test_the_walk_of_the_rfc() -> None:
    assert walk_names("a.b.c.d.e.f.g.h.i.j.mail.example.com")[1:] == [
        "g.h.i.j.mail.example.com", "h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com",
        "mail.example.com", "example.com", "com",
    ]  # fmt: skip


def test_many_signatures_cost_a_bounded_number_of_questions() -> None:
    # each in a part of the house that is an organization of its own, so that none aligns and each has to be asked about
    records = {(f"_dmarc.d{i}.example.com", "TXT"): ["v=DMARC1; p=none; psd=n"] for i in range(1000)}
    resolver = MapResolver({**records, ("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject"]})
    dkim = [f"a.b.c.d.e.f.d{i}.example.com" for i in range(1000)]
    outcome = asyncio.run(evaluate_dmarc(resolver, "x.y.example.com", None, dkim, Deadline.after(20)))
    assert outcome.result is Result.FAIL
    assert 50 < len(resolver.asked) < 100


@given(st.text(alphabet=st.sampled_from("vpspnt=DMARC1;: \tnonerjcyu,mailto:x@!"), max_size=80))
def test_any_record_has_a_policy(text: str) -> None:
    record = parse_record("v=DMARC1;" + text)
    assert record.policy(below=True, exists=False) in POLICIES


@pytest.mark.parametrize("unit", [";", "p=none;", "=", " ", "rua=mailto:x,", ","])
def test_growth(unit: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        text = "v=DMARC1;rua=" + unit * (length // len(unit))
        return lambda: [parse_record(text) for _ in range(20)]

    assert_growth(prepare, 500, 4_000, 8 * 3)
    assert_growth(prepare, 4_000, 400_000, 3)  # what is longer than a record may be is not read


def test_growth_of_the_version() -> None:
    def prepare(length: int) -> Callable[[], object]:
        text = "v" + " " * length
        return lambda: [is_policy_record(text) for _ in range(20)]

    assert_growth(prepare, 4_000, 32_000, 8 * 3)


_NAMES = ["com", "example.com", "b.example.com", "a.b.example.com", "x.b.example.com", "mail.example.com", "evil.com"]
_SAYS = [None, "v=DMARC1; p=none", "v=DMARC1; p=quarantine; psd=n", "v=DMARC1; p=reject; psd=y"]


@given(
    st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_SAYS)),
    st.sets(st.sampled_from(_NAMES), max_size=3),
    st.sampled_from(_NAMES[1:]),
    st.sampled_from([*_NAMES, "elsewhere.example"]),
)
def test_what_is_definite_in_spite_of_silence_holds_whatever_the_silent_would_have_said(
    says: dict[str, str | None], silent: set[str], author: str, spf: str
) -> None:
    zone: dict[str, str | list[str]] = {name: text for name, text in says.items() if text}
    outcome = evaluate(zone, author, spf, failing=[f"_dmarc.{name}" for name in silent])
    if outcome.result is Result.TEMPERROR:
        return
    # a top-level domain says nothing, or psd=y (RFC 9989 5.2)
    for answers in itertools.product(*(_SAYS if "." in name else [None, _SAYS[3]] for name in silent)):
        told = dict(zip(silent, answers, strict=True))
        whole: dict[str, str | list[str]] = {name: text for name, text in {**says, **told}.items() if text}
        known = evaluate(whole, author, spf)
        assert (known.result, known.policy, known.aligned) == (outcome.result, outcome.policy, outcome.aligned)
