"""Owns the fuzz targets: a function of octets for each reader of what strangers send, with the invariant that it must keep.

The same targets run under hypothesis in CI (test_targets.py) and under atheris by command (python -m tests.fuzz).
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from collections.abc import Callable
from ipaddress import ip_address

from api.addin.identity import IdentityError, user_of
from api.directory_forms import entries_of
from api.problems import ApiError
from filterd.auth.arc import verify_arc
from filterd.auth.author import author_domains
from filterd.auth.body import BodyHash, BodyWant, walk
from filterd.auth.canonical import CanonicalBody, relaxed_field, simple_field
from filterd.auth.dkim import verify_dkim
from filterd.auth.dkim_key import UnusableKeyError, WeakKeyError, parse_key
from filterd.auth.dmarc_record import POLICIES, is_policy_record, parse_record
from filterd.auth.names import ascii_domain
from filterd.auth.seal import load_signer, sign_dkim
from filterd.auth.spf import check_spf
from filterd.auth.tags import TagError, parse_tags
from filterd.checks.base import Check, CheckContext
from filterd.checks.senders import Senders
from filterd.classifier.stream import LIMIT, ConnectionFacts, content_stream
from filterd.content.attachments.finding import Bounds
from filterd.content.attachments.inspect import inspect
from filterd.content.attachments.names import extensions, look
from filterd.content.attachments.passwords import MAX_PASSWORDS, passwords
from filterd.content.css import NOTHING, read_style
from filterd.content.fingerprint import BINS, KEYS, fingerprint, similarity
from filterd.content.host import read_name
from filterd.content.html import MAX_ANCHORS, reduce_html
from filterd.content.links import MAX_LINKS, links_in
from filterd.content.lookalike import Lookalikes, is_disguised
from filterd.content.mime import MAX_PARTS
from filterd.content.mime import walk as walk_parts
from filterd.content.persons import MAX_SHOWN, name_keys, persons_in
from filterd.content.shape import shape_facts
from filterd.content.sheet import read_sheet
from filterd.content.view import MAX_TEXTS, view_of
from filterd.deadline import Deadline
from filterd.directory.attributes import Tally, accepted_domain, recipient
from filterd.directory.safelist import calibrate
from filterd.directory.safelist import entries as safelist_entries
from filterd.directory.values import RecipientAnswer, RecipientStatus, SenderWord
from filterd.engine.scan import with_crlf
from filterd.errors import ModelError
from filterd.exchange.answers import asks_for_less, meaning_of
from filterd.exchange.powershell import UnsafeValueError, literal
from filterd.exchange.probe_address import PREFIX, is_genuine
from filterd.exchange.receipt import MAX_RECIPIENTS, MAX_VALUE, read_receipt
from filterd.mail.address import Mailbox
from filterd.mail.authres import authentication_results, names_authserv_id
from filterd.mail.authres_read import read_results
from filterd.mail.dsn import Refused, Undelivered
from filterd.mail.dsn import compose as compose_notice
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.headers import is_forged, remove_forged
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.modelbundle import BOUNDS, read_bundle
from filterd.reportmail import mapi, tnef
from filterd.reportmail.unpack import MAX_INNER, MAX_MESSAGES, MAX_OCTETS, unpack
from filterd.wire.clamd import BadClamdReplyError, ReplyReader, Said, read_stream_reply
from filterd.wire.dns_answer import read_answer
from filterd.wire.dns_query import DnsMessageError, Match, build_query, encode_name, match
from filterd.wire.ldap_answer import AnswerReader, LdapAnswerError
from filterd.wire.ldap_answer import Entry as LdapEntry
from filterd.wire.replies import BadReplyLineError, ReplyParser
from tests.support.careless import sees_forged
from tests.support.dns import MapResolver
from tests.support.doubles import ScriptedDirectory
from tests.support.exchange_token import exchange
from tests.support.exchange_token import part as token_part
from tests.support.keys import DOMAIN, KEY_NAME, SELECTOR, rsa_key
from tests.support.powershell import read_literal
from tests.support.reportmail import report_mail
from training.dates import message_date
from training.edge import at_the_edge

Target = Callable[[bytes], None]
US = "filter.example.org"
_BUNDLE = io.BytesIO()
with tarfile.open(fileobj=_BUNDLE, mode="w", format=tarfile.USTAR_FORMAT) as _tar:
    _tar.addfile(tarfile.TarInfo("manifest.json"))
_BUNDLE_HEAD = _BUNDLE.getvalue()[:512]
_AUTHENTIC = b"From: joe@example.com\r\nSubject: hello\r\n"
_MAIL = _AUTHENTIC + b"To: anna@example.org\r\n\r\nHello  Anna\r\n\r\nBye \r\n"
_SIGNED = (
    sign_dkim(_MAIL, load_signer(DOMAIN, SELECTOR, rsa_key()[0]), 1_700_000_000, ["from", "to", "subject"]) + _MAIL
)
_ARCHIVES = (
    *(
        b"",
        b"PK\3\4",
        b"PK\5\6",
        b"Rar!\x1a\x07\0",
        b"Rar!\x1a\x07\1\0",
        b"7z\xbc\xaf\x27\x1c\0\4",
        b"\x1f\x8b\x08\0",
        b"MSCF\0\0\0\0",
    ),
    *(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + b">\0\3\0\xfe\xff\x09\0\6\0",
        b"{\\rtf",
        b"<html>",
        b"\x78\x9f\x3e\x22\0\0",
    ),
)
_KEYS = MapResolver({(KEY_NAME, "TXT"): [rsa_key()[1]]})


def header_fields(data: bytes) -> None:
    """The fields are the header section, no octet more or less; without the forged ones none is left, and the body is whole.

    With the line ends that SMTP lets pass: bare CR and LF are refused before (wire/octets).
    """
    data = with_crlf(data)
    message = Message(data)
    assert b"".join(field.raw for field in message.fields) == message.header_section
    rest = b"".join(bytes(chunk) for chunk in remove_forged(message, US).chunks)
    assert not [field for field in Message(rest).fields if is_forged(field, US)]
    assert not sees_forged(rest)
    assert rest.endswith(data[message.header_end :])


def authors(data: bytes) -> None:
    """Author domains are names in the form in which they are compared."""
    for domain in author_domains(Message(b"From: " + data + b"\r\n\r\n")):
        assert ascii_domain(domain) == domain


def undelivered(data: bytes) -> None:
    """A notice about any message is ASCII in lines that mail servers take, and quotes no more than its bound."""
    envid, _, header = data.partition(b"\0")
    text = envid.decode("latin-1")
    refused = Refused(Recipient(Mailbox("c", "example.com"), (f"ORCPT={text}",)), Reply(550, "5.1.1", "User unknown"))
    about = Undelivered("ID", Mailbox("a", "example.org"), (f"ENVID={text}",), (refused,), header)
    octets = compose_notice(about, "filter.example.org", 0)
    assert octets.isascii()
    assert octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert len(octets) < 20_000


def receipt(data: bytes) -> None:
    """A receipt has few ends and short printable values, or is none; and no octets are an address that we have not made."""
    head = b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    for octets in (data, head + data):
        found = read_receipt(octets)
        if found is None:
            continue
        assert 1 <= len(found.fates) <= MAX_RECIPIENTS + 1
        values = (text for fate in found.fates for text in (fate.recipient, fate.status, fate.diagnostic))
        for text in (found.reporter, found.envelope, *values):
            assert text.isascii()
            assert not text or text.isprintable()
            assert len(text) <= MAX_VALUE
    assert not is_genuine(bytes(32), PREFIX + data.decode("latin-1"), US, 1_800_000_000)


def tag_list(data: bytes) -> None:
    """Strict reading raises TagError alone; lenient reading never does, and agrees with a strict one that succeeds."""
    text = data.decode("latin-1")
    lenient = parse_tags(text, lenient=True)
    try:
        strict = parse_tags(text)
    except TagError:
        return
    assert strict == lenient


def key_record(data: bytes) -> None:
    """A record is a key or one of two errors."""
    try:
        parse_key(data.decode("latin-1"))
    except (UnusableKeyError, WeakKeyError):
        return


def policy_record(data: bytes) -> None:
    """Every record leads to a policy."""
    text = data.decode("latin-1")
    is_policy_record(text)
    record = parse_record("v=DMARC1;" + text)
    assert {record.policy(below, exists) for below in (True, False) for exists in (True, False)} <= set(POLICIES)


def spf_record(data: bytes) -> None:
    """Every record has a result."""
    text = "v=spf1 " + data.decode("latin-1")
    records = {
        ("example.com", "TXT"): [text],
        ("example.com", "A"): ["192.0.2.1"],
        ("example.com", "MX"): ["1 a.example"],
    }
    client = ip_address("198.51.100.1")
    outcome = asyncio.run(check_spf(MapResolver(records), client, "x@example.com", "h.example.com", Deadline.after(20)))
    assert outcome.result in Result


def canonical_body(data: bytes) -> None:
    """Where pieces end does not matter; the relaxed form of a relaxed form is itself."""
    for relaxed in (False, True):
        whole = _canonical(relaxed, [data])
        assert _canonical(relaxed, [data[i : i + 1] for i in range(len(data))]) == whole
        if relaxed:
            assert _canonical(relaxed, [whole]) == whole


def _canonical(relaxed: bool, pieces: list[bytes]) -> bytes:
    form = CanonicalBody(relaxed)
    return b"".join([octets for piece in pieces for octets in form.feed(piece)] + list(form.end()))


def body_hash(data: bytes) -> None:
    """All hashes of one walk are those of walks of their own."""
    length = data[0] if data else 0
    wants = [BodyWant(relaxed, "sha256", limit) for relaxed in (False, True) for limit in (None, length, length // 2)]
    together: dict[BodyWant, BodyHash] = {}
    list(walk(data, 0, wants, together))
    for want in wants:
        alone: dict[BodyWant, BodyHash] = {}
        list(walk(data, 0, [want], alone))
        assert alone[want] == together[want]


def canonical_field(data: bytes) -> None:
    """A canonical field is one line; made canonical again it stays."""
    raw = b"Subject:" + data.replace(b"\n", b"") + b"\r\n"
    once = relaxed_field("Subject", raw)
    assert relaxed_field("subject", once) == once
    assert simple_field(raw) == raw


def dkim_signature(data: bytes) -> None:
    """No signature that nobody made verifies, and none raises."""
    message = Message(b"DKIM-Signature: " + data + b"\r\n" + _AUTHENTIC + b"\r\nbody\r\n")
    resolver = MapResolver({(KEY_NAME, "TXT"): [rsa_key()[1]]})
    outcomes = asyncio.run(verify_dkim(resolver, message, 1_800_000_000, Deadline.after(20)))
    assert Result.PASS not in {outcome.result for outcome in outcomes}


def altered_message(data: bytes) -> None:
    """What is put anywhere into a signed message, or in place of its octets, changes nothing that is signed, or it does not pass."""
    at, gone = int.from_bytes(data[:2], "big") % (len(_SIGNED) + 1), data[2] % 4 if data[2:] else 0
    message = Message(with_crlf(_SIGNED[:at] + data[3:] + _SIGNED[at + gone :]))
    (outcome, *_) = asyncio.run(verify_dkim(_KEYS, message, 1_800_000_000, Deadline.after(20))) or [None]
    if outcome is None or outcome.result is not Result.PASS:
        return
    original = Message(_SIGNED)
    assert len(message.all("from")) == 1
    assert not message.ends_early
    for name in ("from", "to", "subject"):
        signed, found = original.all(name)[-1], message.all(name)[-1]
        assert relaxed_field(name, found.raw) == relaxed_field(name, signed.raw)
    bodies = [_canonical(True, [part.octets[part.body_start :]]) for part in (original, message)]
    assert bodies[0] == bodies[1]


def arc_chain(data: bytes) -> None:
    """No chain that nobody sealed passes, and none raises."""
    message = Message(data + b"\r\n" + _AUTHENTIC + b"\r\nbody\r\n")
    resolver = MapResolver({(KEY_NAME, "TXT"): [rsa_key()[1]]})
    outcome = asyncio.run(verify_arc(resolver, message, 1_800_000_000, Deadline.after(20)))
    assert outcome.result is not Result.PASS


def dns_answer(data: bytes) -> None:
    """What a server sends is an answer or one error, and never an answer to another question."""
    name = encode_name("mail.example.com")
    assert name is not None
    for rdtype in (1, 28, 16, 15, 12, 5):
        query = build_query(name, rdtype, bytes(range(64)))
        if match(query, data) is Match.ANSWER:
            assert data[:2] == query.wire[:2]
        header = query.wire[:2] + b"\x81\x80" + query.wire[4:6]  # an answer as far as `match` looks
        for octets in (data, header + data[:6] + query.wire[12 : query.end] + data[6:]):
            try:
                read_answer(query, octets)
            except DnsMessageError:
                continue


def authres_foreign(data: bytes) -> None:
    """Reading a stranger's field never fails; what begins with our name is known as ours."""
    names_authserv_id(data, US)
    read_results(data)
    assert names_authserv_id(b" " + US.encode() + b"; " + data, US)


def authres_own(data: bytes) -> None:
    """Whatever a stranger's value is, our field is one field with our result, and no other reader sees more in it."""
    text = data.decode("utf-8", "replace")
    found = Evidence("dkim", Stage.DATA, Result.FAIL, Reason.OK, properties={"header.d": text, "reason": text})
    message = Message(authentication_results(US, [found]) + b"\r\n")
    (field,) = message.fields
    assert is_forged(field, US)
    stated = read_results(field.body)
    assert [(item.method, item.result) for item in stated.results] == [("dkim", "fail")]


def shape(data: bytes) -> None:
    """Words of ours and nothing else, each once; a fault of ours in one look is no fact."""
    found = shape_facts(Message(with_crlf(data)))
    assert len(found) == len(set(found))
    assert all(fact.isascii() and fact == fact.lower() and not fact.startswith("unreadable") for fact in found)


def clamd_reply(data: bytes) -> None:
    """A reply is one error or an answer that stands there word for word; read octet by octet it is the same."""
    read = []
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        reader, reply = ReplyReader(), None
        try:
            for piece in pieces:
                assert reply is None
                reply = reader.feed(piece)
            said = read_stream_reply(reply, 1) if reply is not None else None
        except (BadClamdReplyError, AssertionError):
            read.append(None)
            continue
        read.append(said)
        assert said is None or (said.said is not Said.CLEAN or data == b"1: stream: OK\0")
    assert read[0] == read[1]


def near_duplicates(data: bytes) -> None:
    """A fingerprint has its size and says the same of a copy to somebody else; it is like itself."""
    found = fingerprint(Message(data))
    assert found == fingerprint(Message(b"To: anna@example.org\r\nDate: now\r\n" + data))
    if found is not None:
        assert (len(found.keys), len(found.sketch)) in ((KEYS, 2 * BINS), (1, 0))
        assert all(-(2**63) <= key < 2**63 for key in found.keys)
        assert similarity(found.sketch, found.sketch) == 1.0


def attachment(data: bytes) -> None:
    """Whatever an attachment is, what is found about it can be shown, and the bounds hold."""
    bounds = Bounds(members=200, depth=3, unpacked=1 << 20)
    octets = _ARCHIVES[data[0] % len(_ARCHIVES)] + data[1:] if data else b""
    for found in inspect(("bill.zip",), "application/zip", octets, bounds, ("secret",)):
        assert found.path.isprintable()
        assert found.detail.isprintable()
        assert len(found.path) <= 400
        assert len(found.detail) <= 200


def attachment_name(data: bytes) -> None:
    """Every name has an answer, and a program's extension at its end is always seen."""
    name = data.decode("utf-8", "replace")
    list(look(name))
    assert len(extensions(name)) <= 2
    assert any(detail == ".exe" for _, detail in look(name.replace("\0", "") + "x.exe"))
    assert len(passwords([name])) <= MAX_PASSWORDS


def links(data: bytes) -> None:
    """Every host of a link is one that reads as itself, its domain is its end, and links of text never are mail addresses."""
    head = b"Content-Type: text/html\r\n\r\n" if data[:1] == b"<" else b"\r\n"
    found = links_in(Message(head + with_crlf(data)))
    assert len(found) <= MAX_LINKS
    for link in found:
        assert link.host == link.domain or link.host.endswith("." + link.domain) or not link.domain
        host = read_name(link.host) if link.domain else None
        assert not link.domain or (host is not None and host.name == link.host)


def lookalike(data: bytes) -> None:
    """What is protected looks like nothing, whatever stands before it; a finding names a protected domain."""
    protected = Lookalikes(["example.com", "m\u00fcller.de"])
    host = read_name(data.decode("utf-8", "replace"))
    if host is None or not host.domain:
        return
    is_disguised(host.name)
    found = protected.find(host.name)
    assert found is None or found.domain in ("example.com", "xn--mller-kva.de")
    below = read_name(f"{host.name}.example.com")
    assert below is None or protected.find(below.name) is None


def author_names(data: bytes) -> None:
    """Any author field has few mailboxes with short names."""
    for person in persons_in(Message(b"From: " + data + b"\r\n\r\n"), "from"):
        assert len(person.shown) <= MAX_SHOWN
        assert len(name_keys(person.shown)) <= 2


def parts(data: bytes) -> None:
    """Parts lie inside of the message and of the part around them, containers before their children."""
    message = Message(b"Content-Type: multipart/mixed; boundary=b\r\n" + with_crlf(data))
    found = walk_parts(message)
    assert 1 <= len(found.parts) <= MAX_PARTS
    around: list[tuple[int, int]] = []
    for part in found.parts:
        assert 0 <= part.begin <= part.end <= len(message)
        del around[part.depth :]
        assert len(around) == part.depth
        assert not around or around[-1][0] <= part.begin <= part.end <= around[-1][1]
        around.append((part.begin, part.end))


def page(data: bytes) -> None:
    """Text is visible or hidden or part of the markup, links have bounds, and hiding all of it hides it."""
    data = data.lower()
    found = reduce_html(data)
    assert len(found.anchors) <= MAX_ANCHORS
    assert all(tag and tag[:1] not in b"!?" for tag in found.tags)
    assert found.seen <= len(found.text)
    if b"<" not in data and b"&" not in data:
        assert found.text == data
        hidden = reduce_html(b"<p>what people see of it</p><div style='display:none'>" + data)
        assert data in hidden.hidden
    read_style(data)
    assert NOTHING not in read_sheet(data).values()


def view(data: bytes) -> None:
    """Every message has a view within its bounds, in lower case, and a fault of ours is none."""
    kind = (b"text/html", b"text/plain", b"multipart/alternative; boundary=b")[data[0] % 3 if data else 0]
    found = view_of(Message(b"Content-Type: " + kind + b"\r\n" + with_crlf(data[1:])))
    assert len(found.texts) <= MAX_TEXTS
    assert not [marker for marker in found.markers if marker.startswith("unreadable")]
    stream = content_stream(Message(b"Content-Type: " + kind + b"\r\n" + with_crlf(data[1:])), ConnectionFacts())
    assert len(stream.data) <= LIMIT
    assert not [marker for marker in stream.markers if marker.startswith("unreadable")]


def collected_mail(data: bytes) -> None:
    """A collected file has a date of the years in which there was mail, or none; what stands before its header section is taken off."""
    found = message_date(data)
    assert not found or ("1980-" <= found < "2100-" and len(found) == 20)
    message, facts = at_the_edge(data)
    assert len(message.octets) <= 2 * len(data)
    assert not facts.client_ip or ip_address(facts.client_ip).is_global


def model_bundle(data: bytes) -> None:
    """A tar file of a model is refused, or gives files with our names, each within its bound, that stood in it."""
    for octets in (data, _BUNDLE_HEAD + data, data + _BUNDLE_HEAD):
        try:
            found = read_bundle(octets)
        except ModelError:
            continue
        assert all(len(content) <= BOUNDS[name] and content in octets for name, content in found.items())


_FILES = (
    ("message/rfc822", ""),
    ("application/octet-stream", "a.eml"),
    ("a/b", "a.msg"),
    ("application/ms-tnef", "winmail.dat"),
)


def reported(data: bytes) -> None:
    """What a report mail holds is bounded, in whatever file it comes."""
    content_type, name = _FILES[data[0] % len(_FILES)] if data else _FILES[0]
    for mail in (report_mail((content_type, name, data[1:])), data):
        found = unpack(mail)
        assert len(found.messages) <= MAX_MESSAGES
        for item in found.messages:
            assert len(item.octets) <= MAX_OCTETS
            assert b"\n" not in item.octets.replace(b"\r\n", b"")
            assert len(item.inner) <= MAX_INNER


def winmail(data: bytes) -> None:
    """winmail.dat is read as far as it goes; what comes out of it is octets of it, and one message with CRLF line ends."""
    found = tnef.read(tnef.SIGNATURE + b"\1\0" + data)
    assert sum(len(octets) for _, octets in found.files) <= len(data) * mapi.MAX_FILES
    octets = found.mime()
    assert len(Message(octets).all("content-type")) == 1
    assert b"\n" not in octets.replace(b"\r\n", b"")


def identity_token(data: bytes) -> None:
    """No text of a stranger's is a user; what Exchange signs is a user with a plain name, or refused."""
    page, keys = "https://filter.example.org/addin/report.html", exchange().keys
    header = token_part({"alg": "RS256", "typ": "JWT", "x5t": exchange().thumbprint})
    for text in (data.decode("latin-1"), f"{token_part(data)}.e30.e30", f"{header}.{token_part(data)}.e30"):
        try:
            user_of(text, page, keys, 0.0)
        except IdentityError:
            continue
        raise AssertionError("a user without a signature")
    context = data.decode("latin-1")
    claims = {"aud": page, "nbf": "0", "exp": "9", "appctx": f'{{"version":"ExIdTok.V1","msexchuid":{context}}}'}
    try:
        user = user_of(exchange().sign(claims), page, keys, 5.0)
    except IdentityError:
        return
    assert user == user.lower()
    assert user.isprintable()


def ldap_answer(data: bytes) -> None:
    """What a directory answers is refused, or read the same in two pieces; every object in it is a recipient or none."""

    def read(*pieces: bytes) -> list[object] | None:
        reader, seen = AnswerReader(7), []
        try:
            for piece in pieces:
                seen += list(reader.feed(piece))
        except LdapAnswerError:
            return None
        return seen

    whole, middle = read(data), len(data) // 2
    assert whole == read(data[:middle], data[middle:])
    for answer in whole or ():
        if isinstance(answer, LdapEntry):
            found = recipient(
                answer.dn, answer.attributes, bytes(32), ("proxyAddresses", "mail"), safelists=True, tally=Tally()
            )
            assert found is None or (found.keys and len(found.id) == 16)
            accepted_domain(answer.attributes)


def safelist(data: bytes) -> None:
    """Any octets are a list or none; whatever is on it is found by the way that put it there."""
    text, _, attribute = data.partition(b"\n")
    known = text.decode("utf-8", "replace")
    found = calibrate(attribute, known)
    assert all(variant.hash(known) in safelist_entries(attribute) for variant in found)
    assert not found or len(attribute) % 4 == 0


class _Trusting:
    """A mailbox to which every sender is safe."""

    def says(self, address: str) -> SenderWord | None:
        return SenderWord.SAFE


_TRUSTING = ScriptedDirectory(answers={"anna": RecipientAnswer(RecipientStatus.KNOWN, senders=_Trusting())})


def safe_author(data: bytes) -> None:
    """Whatever stands in From, a safe sender is the only author, and the one whom DMARC passes."""
    proof = Evidence("dmarc", Stage.DATA, Result.PASS, Reason.OK, properties={"header.from": "good.example"})
    ctx = CheckContext(
        Connection(ip_address("192.0.2.1")),
        Deadline.after(20),
        (proof,),
        Envelope("ID", None, (), (Recipient(Mailbox("anna", "example.org")),)),
        message=Message(b"From: " + data + b"\r\n\r\n"),
    )
    for item in asyncio.run(_found(Senders(_TRUSTING), ctx)):
        assert item.detail.endswith("@good.example")
        assert ctx.message is not None
        assert author_domains(ctx.message) == ["good.example"]


async def _found(check: Check, ctx: CheckContext) -> list[Evidence]:
    return list(await check(ctx))


def upstream_answer(data: bytes) -> None:
    """Every reply has one meaning, and no final refusal ever slows us down."""
    try:
        replies = ReplyParser().feed(data)
    except BadReplyLineError:
        return
    for raw in replies:
        assert meaning_of(raw.reply).meaning
        assert not (raw.code >= 500 and asks_for_less(raw.reply))


def powershell_literal(data: bytes) -> None:
    """A value in a script is exactly that value, or is refused."""
    text = data.decode("utf-8", "replace")
    try:
        written = literal(text)
    except UnsafeValueError:
        return
    assert read_literal(written) == text


def push_part(data: bytes) -> None:
    """A part of a pushed list: entries with keys alone, or a refusal that names the field."""
    refused = None
    try:
        found = entries_of(data, bytes(32))
    except ApiError as error:
        refused, found = error, []
    assert refused is None or (refused.status_code == 422 and refused.body.error.field)
    senders = [sender for entry in found for sender in (*entry.keys, *entry.safe, *entry.blocked)]
    assert all(len(sender) == 16 for sender in senders)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        header_fields, authors, undelivered, receipt, tag_list, key_record, policy_record, spf_record, canonical_body, body_hash, canonical_field,
        dkim_signature, altered_message, arc_chain, dns_answer, authres_foreign, authres_own, clamd_reply, shape, attachment, attachment_name,
        near_duplicates, parts, page, view, links, lookalike, author_names, model_bundle,
        collected_mail, reported, winmail, identity_token, ldap_answer, upstream_answer, powershell_literal, safelist, safe_author, push_part,
    )
}  # fmt: skip

# What grammars are made of, so that random octets get past the first character.
WORDS: dict[str, list[bytes]] = {
    "push_part": [b'{"recipients":[', b'{"id":"' + b"0" * 32 + b'",', b'"keys":["' + b"f" * 32 + b'"],', b'"safe":["', b"a@b.example", b"b.example",
                  b'"],', b'"blocked":["', b'"internal_only":true', b'"thresholds":{"junk":4}', b"}", b"]}", b",", b"\\ud800", b"\xff", b"[" * 300, b"9" * 50],
    "upstream_answer": [b"452 4.3.1 ", b"550-5.7.1 ", b"421 ", b"Insufficient system resources", b"PRX", b"7", b"\r\n", b"spam"],
    "powershell_literal": ["'\u2018\u2019\u201a\u201b".encode(), b"'", b"\"$(x)", b"`", b"\n", b"; Remove-Mailbox", "\u2028".encode()],
    "safelist": [b"\n", b"Anna@example.net", hashlib.sha256(b"Anna@example.net").digest(), hashlib.sha256(b"ANNA@EXAMPLE.NET").digest(), b"\0\0\0\0"],
    "safe_author": [b"@good.example", b"@evil.example", b"a", b"<", b">", b'"', b"(", b")", b",", b";", b":", b"\\", b" ", b"\r\n ", b"\r\nFrom: ", b"\0", b"\xc3\xa9", b"=?utf-8?q?", b"?="],
    "ldap_answer": [b"\x30\x2b\x02\x01\x07\x64\x26\x04\x01a\x30\x21\x30\x1f\x04\x0eproxyAddresses\x31\x0d\x04\x0bsmtp:a@b.de", b"\x30\x0c\x02\x01\x07\x65\x07\x0a\x01\0\x04\0\x04\0",
                    b"\x30", b"\x04", b"\x31", b"\x02\x01\x07", b"\x64", b"\x65", b"\x73", b"\x78", b"\xa0", b"\xa3", b"\x82\x01\0", b"\x84", b"\x80", b"\0", b"mail", b"1.2.840.113556.1.4.319"],
    "identity_token": [b'"', b"{", b"}", b"[", b":", b",", b"\\u0000", b'"a@b"', b"null", b'"version"', b'"ExIdTok.V1"', b"eyJhbGciOiJub25lIn0", b".", b"1e999"],
    "reported": [b"\0", b"\1", b"\2", b"\3", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16) + b">\0\3\0\xfe\xff\x09\0\6\0", bytes(100), b"\xff" * 436,
                 b"\xfe\xff\xff\xff", b"R\0o\0o\0t\0", b"From: ", b"Message-ID: <1@x>", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Type: message/rfc822\r\n",
                 b"\x78\x9f\x3e\x22\1\0", b"\2\2\x90\6\0\0\0\0\0\0\0"],
    "winmail": [b"\1", b"\2", b"\3\x90\6\0", b"\5\x90\6\0", b"\2\x90\6\0", b"\x0f\x80\6\0", b"\x10\x80\1\0", b"\7\x90\6\0", b"\4\0\0\0", b"\x10\0\0\0",
                b"\1\0\0\0", b"\x0d\0\1\x37", b"\x1f\0\x7d\0", b"\x1e\0\0\x10", b"\2\1\x13\x10", b"\3\0\xde\x3f", b"\x1f\x10", b"\0\x80", bytes(16),
                b"\x78\x9f\x3e\x22\1\0", b"a\0", b"\xff\xff\xff\xff", b"\0\0"],
    "collected_mail": [b"From a@b.example ", b"Mon Mar  2 10:11:12 2026", b"\n", b"\r\n", b"Received: from ", b"a ([192.0.2.1]) ", b"by b; ", b"Date: ",
                       b"Mon, 02 Mar 2026 10:11:12 +0100", b"02 Mar 26 ", b"10:11", b" ", b"(HELO x)", b"[8.8.8.8]", b"Return-Path: <", b"\n\n", b"9999"],
    "model_bundle": [_BUNDLE_HEAD[:100], _BUNDLE_HEAD[100:], _BUNDLE_HEAD, bytes(512), b"ustar\x0000", b"manifest.sig", b"weights.f32", b"../", b"0000644\0",
                     b"00000000001\0", b"77777777777\0", b"{}", bytes(100), b"1", b"\xff"],
    "parts": [b"\r\n--b\r\n", b"--b--", b"\r\n\r\n", b"Content-Type: multipart/mixed; boundary=", b"b", b"c", b"\r\n--c\r\n", b"\r\n",
              b"Content-Type: message/rfc822\r\n\r\n", b"Content-Transfer-Encoding: (a) base64\r\n", b"; ", b"--", b"text/html", b"\r\n "],
    "page": [b"<p>", b"</p>", b"<div style='", b"display:none", b"'>", b"<style>", b".a", b"{", b"}", b"</style>", b"<b class=a>", b"<!--", b"--!>",
             b"@media screen{", b"<a href='", b'"', b"=", b"<bdo dir=rtl>", b"</bdo>", b"&#8203;", b"&lt;", b"color:#fff", b"/*", b"*/", b"\\69", b"<img>",
             b"calc(1px", b"rgba(0,0,0,", b"<template>", b"[title=a]", b">", b"/", b"bgcolor=navy", b";", b"!important"],
    "view": [b"\0", b"\1", b"\2", b"\r\n\r\n", b"--b\r\n", b"--b--", b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: text/html; charset=", b"utf-16",
             b"utf-7", b"hz", b"PGI+", b"=\r\n", b"=41", b"\xff\xfe", b"data:text/html;base64,", b"srcdoc='", b"v i a g r a ", b"\xcc\xa3", b"\xe2\x80\x8b", b"'"],
    "header_fields": [b"\r\n", b"\r\n\r\n", b": ", b" :", b"\r\n ", b"Authentication-Results", b"X-Filterd-Report",
                      b"X-MS-Exchange-Organization-SCL", b"Received-SPF", US.encode(), b"\n", b"\r", b"\x00", b"\t"],
    "authors": [b"@", b"<", b">", b",", b";", b":", b'"', b"\\", b"(", b")", b"a@example.com", b"\xc3\xa9.example", b"."],
    "undelivered": [b"\0", b"+2B", b"rfc822;", b"Subject: ", b"=?utf-8?q?=C3=BC?=", b"\r\n", b"\r\n ", b"From: ", b"\xc3\xbc", b"x" * 400],
    "receipt": [b"Reporting-MTA: dns;", b"Original-Envelope-Id: ", b"Final-Recipient: rfc822;", b"Action: ", b"failed", b"delivered", b"Status: ", b"5.1.1",
                b"Diagnostic-Code: smtp;", b"\r\n", b"\r\n\r\n", b"\r\n ", b"--b", b"--", b"\x1b[31m", b"(", b";", b"\xe2\x80\xae", b"a" * 400, b"mvj7cabr"],
    "tag_list": [b";", b"=", b"v", b"p", b"\r\n ", b" ", b"a_1"],
    "key_record": [b"v=DKIM1;", b"k=rsa;", b"k=ed25519;", b"p=", b"h=sha256;", b"t=s;", b"MIGf", b"s=email;", b"="],
    "policy_record": [b"p=reject;", b"sp=", b"np=none;", b"t=y;", b"psd=y;", b"rua=mailto:x@y", b"adkim=s", b",", b"!10m"],
    "spf_record": [b" a", b" mx", b" ptr", b" all", b" -", b" include:", b" exists:", b" redirect=", b" exp=", b"%{i}",
                   b"%{l1r-}", b"%%", b"example.com", b"/24", b"//64", b" ip4:192.0.2.1", b" ip6:::1"],
    "canonical_body": [b" ", b"\t", b"\r\n", b"\r", b"\n", b"a"],
    "body_hash": [b" ", b"\t", b"\r\n", b"\r", b"\n", b"a"],
    "canonical_field": [b" ", b"\t", b"\r\n ", b"\r", b":"],
    "dkim_signature": [b"v=1;", b"a=rsa-sha256;", b"a=ed25519-sha256;", b"d=example.com;", b"s=test;", b"h=from:subject;",
                       b"c=relaxed/simple;", b"l=3;", b"x=1;", b"t=1;", b"i=@example.com;", b"bh=", b"b=", b"AAAA", b";"],
    "altered_message": [b"\x01", b"\x02\x00", b"From: ceo@example.com\r\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"Subject: x\r\n", b":",
                        b"l=0;", b"h=from;", b"b=", b";", b"pay"],
    "arc_chain": [b"ARC-Seal: ", b"ARC-Message-Signature: ", b"ARC-Authentication-Results: ", b"i=1;", b"i=2;", b"cv=none;",
                  b"cv=pass;", b"a=rsa-sha256;", b"d=example.com;", b"s=test;", b"h=from;", b"bh=AAAA;", b"b=AAAA", b"\r\n"],
    "dns_answer": [b"\xc0\x0c", b"\xc0", b"\x00\x01\x00\x01", b"\x00\x05\x00\x01", b"\x00\x10\x00\x01", b"\x00\x00\x01\x2c",
                   b"\x00\x04\x7f\x00\x00\x02", b"\x04mail\x07example\x03com\x00", b"\x00\x01\x00\x00\x00\x00"],
    "authres_foreign": [b";", b"=", b'"', b"(", b")", b"\\", US.encode(), b"spf=pass", b"header.from=", b" 1", b"\r\n\t"],
    "shape": [b"\r\n", b"From: ", b"To: ", b"Subject: ", b"Date: ", b"Message-ID: ", b"Received: ", b"X-Mailer: Microsoft Outlook", b"<",
              b">", b"@", b"a@b.example", b"Mon, ", b"31 Feb 2020 ", b"25:61:61", b" -2500", b";", b"=?utf-8?q?", b"?=", b"Re: ", b" "],
    "clamd_reply": [b"1: ", b"stream: ", b"OK", b" FOUND", b" ERROR", b"\0", b"\n", b"2: ", b"Win.Test.EICAR_HDB-1",
                    b"INSTREAM size limit exceeded.", b" "],
    "near_duplicates": [b"Subject: your parcel is waiting at the depot\r\n", b"Content-Type: text/html; charset=utf-8\r\n", b"\r\n\r\n",
                        b"your parcel is waiting at our depot because the customs fee was not paid " * 2, b"<p hidden>", b"</p>",
                        b"Content-Type: multipart/mixed; boundary=b\r\n", b"\r\n--b\r\n", b"\r\n> ", b"dear ", b"\xe6\x82\xa8" * 9,
                        b"https://h.example/1 ", b"\xe2\x80\x8b", b"\xff", b"1", b"Content-Type: image/png\r\n", b"<a href=//h.example>"],
    "attachment": [*(bytes([number]) for number in range(14)), b"PK\3\4", b"PK\1\2", b"PK\5\6" + bytes(8), bytes(30), bytes(200), b"\x14\0\0\0\x08\0", b"\5\0\0\0a.exe",
                   b"\x74\0\x80", b"\x7b\0\0\7\0", b"\1\4\6\0\1\x09", b"\7\x0b\1\0\1\x23\3\1\1\5\x5d\0\0\1\0", b"\x0c\x14\0\0", b"\5\1\x11",
                   b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\\objdata ", b"d0cf11e0", b"package\0", b"\x10\x80\1\0", b"\0Attribut",
                   b"<script>", b"atob(", b"createObjectURL", b".exe"],
    "attachment_name": [b".exe", b".pdf", b".", b" ", b"\0", b":", b"\xe2\x80\xae", b"/", b"\\", b"\xef\xbc\x8e", b"password: ", b"a"],
    "links": [b"<a href='", b"'>", b"</a>", b"http://", b"https://", b"//", b"www.", b".com", b".", b"@", b"%2f", b"%2e", b"?u=", b"/",
              b"\xe3\x80\x82", b"\xc3\xbc", b"xn--", b"0x7f", b"1", b"\r\n", b" ", b"&#46;", b"[::1]", b"<img src=", b"\xff"],
    "lookalike": [b"example", b"examp1e", b".", b".com", b"-", b"login", b"xn--", b"\xd0\xb0", b"m\xc3\xbcller", b".de", b"rn", b"co.uk"],
    "author_names": [b'"', b"(", b")", b"<", b">", b",", b";", b":", b"@", b"\\", b"=?utf-8?q?=C3=BC?=", b"Erika ", b"\xe2\x80\x8b", b" "],
    "authres_own": [b'"', b"\\", b";", b"=", b"(", b")", b"\r\n", b"dmarc=pass", b" ", b"\x00"],
}  # fmt: skip
