"""Answers as dnspython reads them, hostile octets, and only what the question is entitled to."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.wire.dns_answer import MAX_ALIASES, MAX_RECORDS, MAX_TEXT, NO_LIMIT, Answer, read_answer
from filterd.wire.dns_query import TYPES, DnsMessageError, Match, Query, build_query, encode_name, match
from tests.support.growth import assert_growth

NAME = "www.example.com"


def query_of(name: str = NAME, rdtype: str = "A", entropy: bytes = b"\x12\x34" + b"\xa5" * 300) -> Query:
    wire = encode_name(name)
    assert wire is not None
    return build_query(wire, TYPES[rdtype], entropy)


def response_to(query: Query, *answer: str, authority: tuple[str, ...] = (), rcode: str = "NOERROR") -> bytes:
    """Records as lines "name ttl type rdata"."""
    response = dns.message.make_response(dns.message.from_wire(query.wire))
    response.set_rcode(dns.rcode.from_text(rcode))
    for section, lines in ((response.answer, answer), (response.authority, authority)):
        for line in lines:
            name, ttl, rdtype, rdata = line.split(" ", 3)
            section.append(dns.rrset.from_text(name, int(ttl), "IN", rdtype, rdata))
    return response.to_wire(max_size=65535)


def read(name: str, rdtype: str, *answer: str, authority: tuple[str, ...] = (), rcode: str = "NOERROR") -> Answer:
    query = query_of(name, rdtype)
    return read_answer(query, response_to(query, *answer, authority=authority, rcode=rcode))


SOA = "example.com. 900 SOA ns.example.com. mail.example.com. 1 2 3 4 300"


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("rdtype", "rdata", "text"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:db8::1", "2001:db8::1"),
        ("TXT", '"v=spf1 " "-all"', "v=spf1 -all"),
        ("TXT", '""', ""),
        ("TXT", '"\\255\\000"', "\xff\0"),
        ("MX", "10 MX.example.com.", "10 mx.example.com"),
        ("MX", "0 .", "0 ."),
        ("PTR", "host.example.com.", "host.example.com"),
        ("PTR", "a\\.b\\032\\200.example.com.", "a\\.b\\032\\200.example.com"),
        ("CNAME", "example.com.", "example.com"),
    ],
)
def test_records_have_the_agreed_form(rdtype: str, rdata: str, text: str) -> None:
    assert read(NAME, rdtype, f"{NAME}. 60 {rdtype} {rdata}").records == (text,)


def test_records_are_there_once_and_have_the_smallest_ttl() -> None:
    query = query_of()
    response = dns.message.from_wire(response_to(query, f"{NAME}. 60 A 192.0.2.1"))
    one = response.answer[0]
    two = dns.rrset.from_text(one.name, 30, "IN", "A", "192.0.2.2")
    response.answer += [two, one]
    answer = read_answer(query, response.to_wire())
    assert (answer.records, answer.ttl) == (("192.0.2.1", "192.0.2.2"), 30)


def test_txt_records_split_differently_are_two() -> None:
    query = query_of(rdtype="TXT")
    response = dns.message.from_wire(response_to(query, f'{NAME}. 60 TXT "ab"', f'{NAME}. 60 TXT "a" "b"'))
    assert read_answer(query, response.to_wire()).records == ("ab", "ab")


def test_the_case_of_the_question_does_not_come_back_in_values() -> None:
    query = query_of("example.com", "MX", b"\xff" * 300)
    wire = response_to(query, "example.com. 60 MX 10 mail.example.com.")
    assert b"EXAMPLE" in wire
    assert wire.lower().count(b"example") == 1, "compression points into the question"
    assert read_answer(query, wire).records == ("10 mail.example.com",)


def test_the_ad_bit_is_kept() -> None:
    wire = bytearray(response_to(query_of(), f"{NAME}. 60 A 192.0.2.1"))
    assert not read_answer(query_of(), bytes(wire)).authentic
    wire[3] |= 0x20
    assert read_answer(query_of(), bytes(wire)).authentic


def test_a_ttl_above_31_bits_is_0() -> None:
    wire = response_to(query_of(), f"{NAME}. 60 A 192.0.2.1")
    at = wire.index(struct.pack("!I", 60))
    assert read_answer(query_of(), wire[:at] + b"\x80\0\0\0" + wire[at + 4 :]).ttl == 0


# ---------------------------------------------------------------- chains, and what is on them


def test_aliases_are_followed_in_any_order() -> None:
    answer = read(
        NAME, "A", "b.example. 60 A 192.0.2.1", "a.example. 20 CNAME b.example.", f"{NAME}. 90 CNAME a.example."
    )
    assert (answer.records, answer.ttl, answer.aliases) == (("192.0.2.1",), 20, 2)
    assert answer.end == b"\1b\7example\0"


def test_what_is_not_on_the_chain_is_not_taken() -> None:
    answer = read(
        NAME,
        "A",
        "victim.example. 60 A 192.0.2.66",
        f"{NAME}. 60 CNAME elsewhere.example.",
        f"sub.{NAME}. 60 A 192.0.2.67",
        f"{NAME}. 60 TXT text",
    )
    assert (answer.records, answer.end) == ((), b"\x09elsewhere\7example\0")


@pytest.mark.parametrize("length", [1, 2, MAX_ALIASES + 1])
def test_a_loop_and_a_chain_too_long_are_endless(length: int) -> None:
    chain = [
        f"n{i}.example. 60 CNAME n{(i + 1) % (length + 5 if length > 2 else length)}.example." for i in range(length)
    ]
    assert read("n0.example", "A", *chain).endless


def test_the_longest_chain() -> None:
    chain = [f"n{i}.example. 60 CNAME n{i + 1}.example." for i in range(MAX_ALIASES)]
    assert read("n0.example", "A", *chain, f"n{MAX_ALIASES}.example. 60 A 192.0.2.1").records == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("soa", "negative_ttl"),
    [
        (SOA, 300),
        ("example.com. 100 SOA ns.example.com. mail.example.com. 1 2 3 4 300", 100),
        (". 86400 SOA a. b. 1 2 3 4 86400", 86400),
        (SOA.replace("example.com. 900", f"{NAME}. 900"), 300),
        (SOA.replace("example.com. 900", "other.example. 900"), None),  # of another zone
        (SOA.replace("example.com. 900", f"below.{NAME}. 900"), None),
        (SOA.replace("example.com. 900", "w.example.com. 900"), None),  # ends like the name, but is no parent
        (None, None),
    ],
)
@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_absence_is_kept_as_long_as_its_zone_says(rcode: str, soa: str | None, negative_ttl: int | None) -> None:
    answer = read(NAME, "A", authority=(soa,) if soa else (), rcode=rcode)
    assert (answer.records, answer.negative_ttl, answer.ttl) == ((), negative_ttl, NO_LIMIT)
    assert answer.rcode == dns.rcode.from_text(rcode)


def test_a_zone_name_in_the_middle_of_a_label_is_no_parent() -> None:
    answer = read("a\3com.example", "A", authority=("com.example. 60 SOA a. b. 1 2 3 4 5",))
    assert answer.negative_ttl is None


def test_a_pointer_to_other_servers_is_no_absence() -> None:
    assert read(NAME, "A", authority=("com. 60 NS ns.example.",)).referral
    assert not read(NAME, "A", authority=("com. 60 NS ns.example.", SOA)).referral
    assert not read(NAME, "A", authority=("com. 60 NS ns.example.",), rcode="NXDOMAIN").referral
    # a server that resolves, and leaves the rest of the chain to us
    alias = read(NAME, "A", f"{NAME}. 60 CNAME b.example.com.", authority=("com. 60 NS ns.example.",))
    assert (alias.referral, alias.aliases) == (False, 1)


def test_of_two_aliases_of_a_name_the_first_counts() -> None:
    """RFC 1034 section 3.6.2 allows one; nobody may add another behind it."""
    first, second = record(5, b"\1a\xc0\x10"), record(5, b"\1b\xc0\x10")
    assert read_answer(query_of(), raw(2, first + second)).end == b"\1a" + query_of().name[4:]


def test_records_of_a_name_that_does_not_exist_are_a_contradiction() -> None:
    with pytest.raises(DnsMessageError):
        read(NAME, "A", f"{NAME}. 60 A 192.0.2.1", rcode="NXDOMAIN")


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "BADVERS"])
def test_failures_keep_their_code(rcode: str) -> None:
    assert read(NAME, "A", rcode=rcode).rcode == dns.rcode.from_text(rcode)


def test_a_truncated_answer_says_nothing_else() -> None:
    wire = bytearray(response_to(query_of(), f"{NAME}. 60 A 192.0.2.1"))
    wire[2] |= 0x02
    assert read_answer(query_of(), bytes(wire)) == Answer(0, truncated=True)


# ---------------------------------------------------------------- hostile octets


def raw(answers: int, body: bytes, query: Query | None = None) -> bytes:
    """Header and question, then `body` as it is."""
    query = query or query_of()
    return query.wire[:2] + struct.pack("!HHHHH", 0x8180, 1, answers, 0, 0) + query.wire[12 : query.end] + body


def record(rdtype: int, rdata: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + struct.pack("!HHIH", rdtype, 1, 60, len(rdata)) + rdata


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(raw(1, b""), id="record-missing"),
        pytest.param(raw(1, record(1, b"\1\2\3\4")[:-1]), id="rdata-cut"),
        pytest.param(raw(1, record(1, b"\1\2\3")), id="a-of-3"),
        pytest.param(raw(1, record(1, b"\1\2\3\4\5")), id="a-of-5"),
        pytest.param(raw(1, record(1, b"\1\2\3\4", b"\xc0\x21")), id="pointer-to-itself"),
        pytest.param(raw(1, record(1, b"\1\2\3\4", b"\xc0\xff")), id="pointer-forwards"),
        pytest.param(raw(1, record(1, b"\1\2\3\4", b"\x40")), id="unknown-label-type"),
        pytest.param(raw(1, record(1, b"\1\2\3\4", b"\x3f" + b"a" * 20)), id="label-without-end"),
        pytest.param(raw(1, record(1, b"\1\2\3\4", (b"\x3f" + b"a" * 63) * 4 + b"\0")), id="name-of-257"),
        pytest.param(
            raw(1, record(1, b"\1\2\3\4", (b"\x3f" + b"a" * 63) * 3 + b"\x2f" + b"a" * 47 + b"\xc0\x0c")), id="long"
        ),
        pytest.param(raw(1, record(5, b"\xc0\x0c\0")), id="cname-with-more"),
        pytest.param(raw(MAX_RECORDS + 1, record(1, b"\1\2\3\4") * (MAX_RECORDS + 1)), id="too-many-records"),
        pytest.param(raw(65535, record(1, b"\1\2\3\4")), id="count-lies"),
        pytest.param(raw(1, record(1, b"\1\2\3\4")) + bytes(40_000), id="too-long"),
    ],
)
def test_what_is_no_answer_is_one_kind_of_error(wire: bytes) -> None:
    with pytest.raises(DnsMessageError):
        read_answer(query_of(), wire)


@pytest.mark.parametrize(
    ("rdtype", "rdata"),
    [
        ("TXT", b""),
        ("TXT", b"\5abc"),
        ("AAAA", bytes(4)),
        ("MX", b"\0\1"),
        ("MX", b"\0\1\0\0"),
        ("PTR", b"\3abc"),
        ("PTR", b"\xc0\x0c\0"),
    ],
)
def test_rdata_that_is_none(rdtype: str, rdata: bytes) -> None:
    query = query_of(rdtype=rdtype)
    with pytest.raises(DnsMessageError):
        read_answer(query, raw(1, record(TYPES[rdtype], rdata), query))


def test_a_record_of_another_class_is_another_record() -> None:
    chaos = b"\xc0\x0c" + struct.pack("!HHIH", 1, 3, 60, 4) + b"\1\2\3\4"
    assert read_answer(query_of(), raw(1, chaos)).records == ()


def pointers_to_pointers(count: int) -> bytes:
    """`count` records, each of whose names points to the pointer before it."""
    query = query_of(rdtype="PTR")
    body, before = b"", 12
    for _ in range(count):
        at = query.end + len(body) + 12
        body += record(12, (0xC000 | before).to_bytes(2))
        before = at
    return raw(count, body, query)


def long_names(count: int) -> bytes:
    """`count` records whose owners point into a name of 102 labels."""
    query = query_of("a." * 100 + "example.com", "PTR")
    return raw(count, record(12, b"\0", b"\xc0\x0e") * count, query)


def test_compression_does_not_blow_up() -> None:
    query = query_of("a." * 100 + "example.com", "MX")
    body = b"".join(record(15, number.to_bytes(2) + b"\xc0\x0c") for number in range(MAX_RECORDS))
    with pytest.raises(DnsMessageError, match="characters"):
        read_answer(query, raw(MAX_RECORDS, body, query))


@pytest.mark.parametrize("make", [pointers_to_pointers, long_names])
def test_hostile_pointers_grow_with_their_number(make: Callable[[int], bytes]) -> None:
    def prepare(size: int) -> Callable[[], object]:
        wire = make(size)
        end = wire.index(b"\0\x0c\0\1", 12) + 4
        query = Query(wire[:end], wire[12 : end - 4].lower(), 12, end)

        def work() -> None:
            for _ in range(20):
                read_answer(query, wire)

        return work

    assert_growth(prepare, 60, 480, 16)


def test_a_chain_of_pointers_is_no_longer_than_a_name_has_labels() -> None:
    start = query_of().end + 12  # of the rungs: each points two octets back, the first to a root
    rungs = b"".join((0xC000 | (start + 2 * i)).to_bytes(2) for i in range(300))
    body = record(99, b"\0\0" + rungs) + record(1, b"\1\2\3\4", (0xC000 | (start + 600)).to_bytes(2))
    with pytest.raises(DnsMessageError):
        read_answer(query_of(), raw(2, body))


# ---------------------------------------------------------------- dnspython as the oracle

labels = st.binary(min_size=1, max_size=10)
names = st.lists(labels, min_size=1, max_size=5).map(lambda parts: dns.name.Name([*parts, b""]))
ttls = st.integers(0, NO_LIMIT)
_IN = dns.rdataclass.IN


def rdatas(rdtype: str) -> st.SearchStrategy[dns.rdata.Rdata]:
    if rdtype == "A":
        raw_rdata = st.binary(min_size=4, max_size=4)
    elif rdtype == "AAAA":
        raw_rdata = st.binary(min_size=16, max_size=16)
    elif rdtype == "TXT":
        pieces = st.lists(st.binary(max_size=255), min_size=1, max_size=4)
        raw_rdata = pieces.map(lambda parts: b"".join(bytes((len(part),)) + part for part in parts))
    elif rdtype == "MX":
        raw_rdata = st.tuples(st.binary(min_size=2, max_size=2), names).map(lambda mx: mx[0] + (mx[1].to_wire() or b""))
    else:
        raw_rdata = names.map(lambda name: name.to_wire() or b"")
    return raw_rdata.map(lambda octets: dns.rdata.from_wire(_IN, rdtype, octets, 0, len(octets)))


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Query, bytes]:
    """A question, and an answer with a chain, records, strangers and an SOA, as dnspython writes it."""
    rdtype = draw(st.sampled_from(sorted(TYPES)))
    number = dns.rdatatype.from_text(rdtype)
    name = draw(names)
    asked = (name.to_wire() or b"").lower()
    query = build_query(asked, TYPES[rdtype], draw(st.binary(min_size=2 + len(asked), max_size=2 + len(asked))))
    response = dns.message.make_response(dns.message.from_wire(query.wire))
    answer: list[dns.rrset.RRset] = []
    for target in draw(st.lists(names, max_size=3)) if rdtype != "CNAME" else []:
        if any(rrset.name == name for rrset in answer):
            break  # a loop; a name has one CNAME
        alias = dns.rdata.from_wire(_IN, "CNAME", target.to_wire() or b"", 0, len(target.to_wire() or b""))
        answer.append(dns.rrset.from_rdata(name, draw(ttls), alias))
        name = target
    found = draw(st.lists(rdatas(rdtype), max_size=4, unique=True))
    if found:
        answer.append(dns.rrset.from_rdata_list(name, draw(ttls), found))
    for stranger in draw(st.lists(names, max_size=2)):
        other = dns.rdata.from_text(_IN, "A", "192.0.2.66")
        answer.append(dns.rrset.from_rdata(stranger, draw(ttls), other))
    response.answer = draw(st.permutations(answer))
    if not found:
        parent = dns.name.Name(name.labels[draw(st.integers(0, len(name.labels) - 1)) :])
        numbers = " ".join(["1", "2", "3", "4", str(draw(ttls))])
        response.authority.append(
            dns.rrset.from_text(parent, draw(ttls), "IN", "SOA", f"ns.test. mail.test. {numbers}")
        )
        response.set_rcode(draw(st.sampled_from([dns.rcode.NOERROR, dns.rcode.NXDOMAIN])))
    if draw(st.booleans()):
        response.flags |= dns.flags.AD
    assert number == query.rdtype
    return query, response.to_wire(max_size=65535, want_shuffle=False)


def oracle(data: bytes) -> tuple[set[str], int, int, bool]:
    """What dnspython makes of it: values, TTL (negative: RFC 2308), rcode, AD."""
    message = dns.message.from_wire(data)
    assert isinstance(message, dns.message.QueryMessage)
    chain = message.resolve_chaining()
    texts = set()
    for rdata in chain.answer or ():
        if rdata.rdtype == dns.rdatatype.TXT:
            texts.add(b"".join(rdata.strings).decode("latin-1"))
        elif rdata.rdtype == dns.rdatatype.AAAA:
            texts.add(str(ipaddress.IPv6Address(rdata.address)))
        elif rdata.rdtype == dns.rdatatype.MX:
            texts.add(f"{rdata.preference} {rdata.exchange.to_text(omit_final_dot=True)}".lower())
        elif rdata.rdtype == dns.rdatatype.A:
            texts.add(rdata.address)
        else:
            texts.add(rdata.target.to_text(omit_final_dot=True).lower())
    return texts, chain.minimum_ttl, int(message.rcode()), bool(message.flags & dns.flags.AD)


@given(exchanges())
def test_values_are_those_of_dnspython(exchange: tuple[Query, bytes]) -> None:
    query, data = exchange
    assert match(query, data) is Match.ANSWER
    try:
        texts, ttl, rcode, authentic = oracle(data)
    except dns.message.ChainTooLong:
        assert read_answer(query, data).endless
        return
    except dns.message.AnswerForNXDOMAIN:
        with pytest.raises(DnsMessageError):
            read_answer(query, data)
        return
    answer = read_answer(query, data)
    assert (set(answer.records), answer.rcode, answer.authentic) == (texts, rcode, authentic)
    assert min(answer.ttl, NO_LIMIT if answer.negative_ttl is None else answer.negative_ttl) == ttl


@given(exchanges(), st.data())
def test_changed_octets_raise_the_one_error_or_give_bounded_values(
    exchange: tuple[Query, bytes], data: st.DataObject
) -> None:
    query, wire = exchange
    changed = bytearray(wire)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    match(query, cut)
    try:
        answer = read_answer(query, cut)
    except DnsMessageError:
        return
    assert 0 <= answer.ttl <= NO_LIMIT
    assert sum(map(len, answer.records)) <= MAX_TEXT


@given(st.binary(max_size=200), st.integers(0, 3), st.sampled_from(sorted(TYPES)))
def test_random_octets_raise_the_one_error_or_nothing(body: bytes, answers: int, rdtype: str) -> None:
    query = query_of(rdtype=rdtype)
    try:
        read_answer(query, raw(answers, body, query))
    except DnsMessageError:
        return


@given(st.binary(max_size=100))
def test_messages_of_random_octets(data: bytes) -> None:
    try:
        read_answer(query_of(), data)
    except DnsMessageError:
        return
