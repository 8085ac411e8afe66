"""The chain: who is asked in which order, what several answers make, and what is built from a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from filterd.adapters import directory, watched_file
from filterd.adapters.directory import ChainDirectory, build_directory, known_domains, may_learn_domains, ours_mark
from filterd.adapters.directory_backend import ABSTAIN, DirectoryBackend, Found
from filterd.adapters.site_key import site_key
from filterd.config import Config, parse_config
from filterd.deadline import Deadline
from filterd.directory.keys import key_name
from filterd.directory.values import (
    AcceptedDomain,
    DomainType,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderList,
    SenderWord,
    Thresholds,
)
from filterd.errors import TemporaryError
from tests.support.directory import entry, put, put_hashed, put_snapshot

KNOWN, UNKNOWN, INTERNAL = RecipientStatus.KNOWN, RecipientStatus.UNKNOWN, RecipientStatus.INTERNAL_ONLY
FOREIGN = RecipientStatus.FOREIGN_DOMAIN
DOWN = TemporaryError("it is down", "timeout")
ORG = AcceptedDomain("example.org")
RELAY = AcceptedDomain("relay.example", DomainType.INTERNAL_RELAY)
PARTNER = AcceptedDomain("partner.example", DomainType.EXTERNAL_RELAY)


class Everybody:
    """Safe senders: all."""

    def says(self, address: str) -> SenderWord | None:
        return SenderWord.SAFE


@dataclass
class Source(DirectoryBackend):
    """Says what it is told to of each local-part; `memory` is what it has at hand."""

    name: str
    said: Mapping[str, Found | TemporaryError] = field(default_factory=dict)
    memory: Mapping[str, RecipientAnswer] = field(default_factory=dict)
    known: tuple[AcceptedDomain, ...] | None = ()
    persons: tuple[ProtectedPerson, ...] = ()
    asked: list[str] = field(default_factory=list)

    async def find(self, local: str, domain: str, deadline: Deadline) -> Found:
        self.asked.append(local)
        said = self.said.get(local)
        if isinstance(said, TemporaryError):
            raise said
        return said

    def at_hand(self, local: str, domain: str) -> RecipientAnswer | None:
        return self.memory.get(local)

    def domains(self) -> tuple[AcceptedDomain, ...] | None:
        return self.known

    def people(self) -> tuple[ProtectedPerson, ...]:
        return self.persons


def answer(
    backend: str,
    status: RecipientStatus = KNOWN,
    junk: int | None = None,
    senders: SenderList | None = None,
) -> RecipientAnswer:
    return RecipientAnswer(status, backend, thresholds=Thresholds(junk=junk), senders=senders)


def ask(chain: ChainDirectory, local: str, domain: str = "example.org") -> RecipientAnswer:
    return asyncio.run(chain.look_up(local, domain, Deadline.after(30)))


def says(*said: Found | TemporaryError, fixed: tuple[AcceptedDomain, ...] = (ORG,)) -> RecipientAnswer | str:
    """What a chain of sources says that say this of anna; kind and text of the failure when it raises."""
    try:
        return ask(ChainDirectory(fixed, [Source(str(n), {"anna": item}) for n, item in enumerate(said)]), "anna")
    except TemporaryError as error:
        return f"{error.kind}: {error}"


@pytest.mark.parametrize("fixed", [(), (ORG,)])
def test_while_no_accepted_domain_is_known_nobody_is_refused(fixed: tuple[AcceptedDomain, ...]) -> None:
    """A directory whose configuration could not be read: all mail would get 550 relaying denied."""
    chain = ChainDirectory(fixed, [Source("ldap ad")])
    if fixed:
        assert ask(chain, "anna", "other.example").status is FOREIGN
        return
    with pytest.raises(TemporaryError, match="no accepted domain is known"):
        ask(chain, "anna")


def test_the_first_that_knows_answers() -> None:
    assert says(None, answer("b"), answer("c", INTERNAL)) == answer("b")
    assert says(answer("a", INTERNAL), answer("b")) == answer("a", INTERNAL)
    assert says(ABSTAIN, answer("b")) == answer("b")


def test_the_others_are_not_asked_then() -> None:
    sources = [Source("a", {"anna": answer("a")}), Source("b")]
    assert ask(ChainDirectory([ORG], sources), "anna").status is KNOWN
    assert sources[1].asked == []


def test_who_cannot_answer_hinders_nobody_who_knows() -> None:
    assert says(DOWN, answer("b")) == answer("b")


def test_while_one_cannot_answer_nobody_is_unknown() -> None:
    assert says(DOWN, None) == "directory: it is down"
    assert says(None, DOWN) == "directory: it is down"
    assert says(ABSTAIN, DOWN) == "directory: it is down"


def test_unknown_is_who_is_unknown_to_all_that_said_something() -> None:
    assert says(None, None) == RecipientAnswer(UNKNOWN, "0, 1")
    assert says(None, ABSTAIN) == RecipientAnswer(UNKNOWN, "0")


def test_where_nobody_has_anything_to_say_everybody_is_known() -> None:
    assert says() == RecipientAnswer(KNOWN, "configuration")
    assert says(ABSTAIN) == RecipientAnswer(KNOWN, "configuration")


def test_thresholds_and_senders_are_those_of_the_first_that_has_any() -> None:
    everybody = Everybody()
    limits, senders = answer("b", junk=3), answer("c", junk=7, senders=everybody)
    sources = [
        Source("a", {"anna": answer("a")}),
        Source("b", memory={"anna": limits}),
        Source("c", {}, {"anna": senders}),
    ]
    chain = ChainDirectory([ORG], sources)
    assert ask(chain, "anna") == answer("a", junk=3, senders=everybody)
    assert chain.sender_list("anna", "example.org") is everybody
    assert chain.sender_list("carl", "example.org") is None


def test_relay_domains_know_everybody_and_nobody_is_asked() -> None:
    source = Source("a", memory={"list": answer("a", INTERNAL), "anna": answer("a", junk=2)})
    chain = ChainDirectory([ORG, RELAY, PARTNER], [source])
    assert ask(chain, "x", "relay.example") == RecipientAnswer(KNOWN, "internal_relay")
    assert ask(chain, "anna", "relay.example") == answer("a", junk=2), "what is known of her anyway counts"
    assert ask(chain, "list", "relay.example").status is INTERNAL
    assert ask(chain, "anna", "partner.example") == RecipientAnswer(KNOWN, "external_relay")
    assert source.asked == []


def test_postmaster_is_known_whatever_the_sources_say() -> None:
    chain = ChainDirectory([ORG], [Source("a", {"postmaster": DOWN, "Postmaster": DOWN})])
    assert ask(chain, "Postmaster").status is KNOWN


def test_quotes_that_are_not_needed_make_no_other_mailbox() -> None:
    """RFC 5321 4.1.2: both are one mailbox, and whoever is refused for them is a known recipient."""
    source = Source("a", {"anna": answer("a")}, memory={"anna": answer("a", senders=Everybody())})
    chain = ChainDirectory([ORG], [source])
    assert ask(chain, '"anna"').status is KNOWN
    assert ask(chain, '"Postmaster"').status is KNOWN
    assert ask(chain, '"an na"').status is UNKNOWN
    assert source.asked == ["anna", '"an na"']
    assert chain.sender_list('"anna"', "example.org") is not None


def test_a_domain_is_foreign_only_when_all_that_know_domains_could_be_read() -> None:
    source = Source("ldap ad", {"anna": answer("ldap ad")}, known=None)
    chain = ChainDirectory([ORG], [source], [Source("push", known=(PARTNER,))])
    assert ask(chain, "anna").status is KNOWN
    assert ask(chain, "x", "partner.example").status is KNOWN
    with pytest.raises(TemporaryError, match="accepted domains of ldap ad are not known yet"):
        ask(chain, "x", "elsewhere.example")
    source.known = (AcceptedDomain("contoso.com", subdomains=True),)
    assert ask(chain, "x", "elsewhere.example").status is FOREIGN
    assert ask(chain, "anna", "sub.contoso.com").status is KNOWN
    assert {item.name for item in chain.domains()} == {"example.org", "partner.example", "contoso.com"}


def test_another_snapshot_with_the_same_domains_costs_no_rcpt_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every five minutes there is one; to put thousands of domains together takes a worker part of a second."""
    built = []
    make = directory.AcceptedDomains
    monkeypatch.setattr(directory, "AcceptedDomains", lambda *all_: built.append(1) or make(*all_))
    source = Source("ldap", known=(AcceptedDomain("learned.example"),))
    chain = ChainDirectory([ORG], [source])
    for names in (("learned.example",), ("learned.example",), ("learned.example", "more.example")):
        source.known = tuple(AcceptedDomain(name) for name in names)
        for _ in range(3):
            assert [one.name for one in chain.domains()] == ["example.org", *names]
    assert len(built) == 3  # at the beginning, then twice


def test_domains_and_people_are_those_of_all_sources_each_once() -> None:
    boss = ProtectedPerson("Erika Mustermann", ("erika@example.org",))
    sources = [Source("a", known=(ORG, RELAY), persons=(boss,)), Source("b", known=(RELAY,), persons=(boss,))]
    chain = ChainDirectory([ORG], sources[:1], sources[1:])
    assert chain.domains() == (ORG, RELAY)
    assert chain.domains() is chain.domains(), "not put together for each question"
    assert chain.people() == (boss,)
    sources[1].known = (PARTNER,)
    assert chain.domains() == (ORG, RELAY, PARTNER)


# ---------------------------------------------------------------- from the configuration


def configuration(folder: Path, **tables: Any) -> Config:
    return parse_config({"recipients": {"accepted_domains": ["example.org"]}, **tables}, folder)


def every_source(folder: Path) -> Config:
    """Each knows somebody of its own."""
    config = configuration(
        folder,
        recipients={
            "accepted_domains": ["example.org"],
            "file": "recipients.txt",
            "hashed_file": "recipients.hashed",
            "order": ["push", "file", "ldap", "hashed_file"],
        },
        ldap=[{"name": "ad"}, {"name": "sales", "read_domains": False}],
        push={"enabled": True},
    )
    key, state = site_key(config.state_dir), config.state_dir / "directory"
    put(folder / "recipients.txt", "file@example.org")
    put_hashed(folder / "recipients.hashed", ["hashed@example.org"], key)
    put_snapshot(state / "ldap-ad.snapshot", [entry("ad@example.org", site_key=key)], name="ad", domains=[RELAY])
    put_snapshot(
        state / "ldap-sales.snapshot", [entry("sales@example.org", site_key=key)], name="sales", domains=[PARTNER]
    )
    put_snapshot(state / "push.snapshot", [entry("push@example.org", site_key=key)], domains=[ORG])
    return config


def test_every_configured_source_is_asked_in_the_declared_order(tmp_path: Path) -> None:
    chain = build_directory(every_source(tmp_path))
    locals_ = {"file": "file", "hashed": "hashed_file", "ad": "ldap ad", "sales": "ldap sales", "push": "push"}
    assert {local: ask(chain, local).backend for local in locals_} == locals_
    assert ask(chain, "carl") == RecipientAnswer(UNKNOWN, "push, file, ldap ad, ldap sales, hashed_file")
    assert [status.name for status in chain.status()] == ["push", "file", "ldap ad", "ldap sales", "hashed_file"]
    assert chain.domains() == (ORG, RELAY), "of [[ldap]] sales no domains are read"


def test_a_source_that_is_not_in_the_order_gives_domains_only(tmp_path: Path) -> None:
    full = every_source(tmp_path)
    config = full.model_copy(update={"recipients": full.recipients.model_copy(update={"order": ("file",)})})
    chain = build_directory(config)
    assert ask(chain, "file").status is KNOWN
    assert ask(chain, "ad").status is UNKNOWN
    assert ask(chain, "x", "relay.example").status is KNOWN


def test_without_any_source_no_key_is_made(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    assert ask(build_directory(config), "anybody").status is KNOWN
    assert not (config.state_dir / "directory").exists()


def test_who_asks_now_and_then_knows_the_domains_too(tmp_path: Path) -> None:
    config = every_source(tmp_path)
    assert known_domains(config).all == (ORG, RELAY)
    before = ours_mark(config)
    assert ours_mark(config) == before
    boss = ProtectedPerson("Erika Mustermann")
    snapshot = config.state_dir / "directory" / "push.snapshot"
    put_snapshot(snapshot, [entry("push@example.org")], domains=[PARTNER], people=[boss])
    assert known_domains(config).all == (ORG, RELAY, PARTNER)
    assert ours_mark(config) != before


def test_a_new_site_key_needs_no_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "LOOK_AGAIN_S", 0.0)
    config = configuration(tmp_path, recipients={"accepted_domains": ["example.org"]}, ldap=[{}])
    chain, key, state = build_directory(config), bytes(range(32)), config.state_dir / "directory"
    (state / "site-key").write_text(key.hex() + "\n")
    people = [entry("anna@example.org", site_key=key)]
    put_snapshot(state / "ldap-ad.snapshot", people, name="ad", key=key_name(key))
    assert [ask(chain, local).status for local in ("anna", "nobody")] == [KNOWN, UNKNOWN]


@pytest.mark.parametrize(
    ("tables", "may"),
    [
        ({}, False),
        ({"push": {"enabled": True}}, True),
        ({"ldap": [{}]}, True),
        ({"ldap": [{"read_domains": False}]}, False),
    ],
)
def test_whether_domains_may_come_from_a_directory(tmp_path: Path, tables: dict[str, Any], may: bool) -> None:
    assert may_learn_domains(configuration(tmp_path, **tables)) is may


def test_the_snapshot_of_a_table_that_was_renamed_or_removed_answers_no_more(tmp_path: Path) -> None:
    server = {"state_dir": tmp_path, "hostname": "filter.example.org"}
    given = Config.model_validate({"server": server, "ldap": [{"name": "new"}]})
    old = entry("anna@example.org", site_key=site_key(tmp_path))
    put_snapshot(tmp_path / "directory" / "ldap-old.snapshot", [old], name="old", domains=[ORG])
    with pytest.raises(TemporaryError, match="ldap new"):
        ask(build_directory(given), "anna")  # not known yet: later, not refused
    none = Config.model_validate({"server": server})
    assert ask(build_directory(none), "anna").status is FOREIGN
    assert known_domains(given).all == ()
