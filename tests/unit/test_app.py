"""The composition: which model is used, how list entries and models arrive while running."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from filterd import modelswitch
from filterd.adapters.site_key import site_key
from filterd.aggregate.rows import Sighting
from filterd.app import ACTIVE_MODEL, App, active_model, build_scanner, content_of
from filterd.checks.greylist import GreylistCheck
from filterd.checks.lists import Lists
from filterd.checks.rate import Rate
from filterd.checks.registry import NAMES
from filterd.config import SEED_MODEL, Config, parse_config
from filterd.deadline import Deadline
from filterd.directory.values import AcceptedDomain, DomainType, ProtectedPerson, RecipientStatus
from filterd.errors import ConfigError
from filterd.mail.envelope import Envelope, parse_ip
from filterd.mail.evidence import Reason
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import EvidenceRecord, MessageRecord, Outcome, TerminalState
from filterd.storage import aggregate, ledger, lists, settings
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.database import open_database
from tests.support.checks import ask, context
from tests.support.daemon import wait_until
from tests.support.directory import entry, put_snapshot
from tests.support.dmarc import RECORD, row
from tests.support.keys import rsa_key
from tests.support.models import damage, installed, make_model, sign
from tests.support.tallies import MemoryTallies

CONTOSO = AcceptedDomain("contoso.com")
PARTNER = AcceptedDomain("partner.example", DomainType.EXTERNAL_RELAY)


def configuration(folder: Path, **tables: object) -> Config:
    return parse_config({"recipients": {"accepted_domains": ["example.org"]}, **tables}, folder)


def test_which_model_scores(tmp_path: Path) -> None:
    database = open_database(configuration(tmp_path))
    assert active_model(configuration(tmp_path), database) == SEED_MODEL
    settings.set(database, ACTIVE_MODEL, "site-2")
    assert active_model(configuration(tmp_path), database) == tmp_path / "state" / "models" / "site-2"
    settings.set(database, ACTIVE_MODEL, "../../elsewhere")
    assert active_model(configuration(tmp_path), database) == SEED_MODEL
    assert active_model(configuration(tmp_path, model={"path": "m"}), database) == tmp_path / "m"


@pytest.mark.parametrize(
    ("url", "said"), [("nonsense", "expected a URL"), ("mysql://x/y", "driver .* is not installed")]
)
def test_a_database_url_that_cannot_be_used_is_named(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"storage\.url: .*{said}"):
        open_database(configuration(tmp_path, storage={"url": url}))


def test_an_unknown_check_in_observe_checks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.observe_checks.*'dnsbll'"):
        App(configuration(tmp_path, policy={"observe_checks": ["dnsbll"]}), "smtp-0")


@pytest.mark.parametrize(
    ("accepted", "postmasters"),
    [
        (["example.org"], {"filter.example.net": "example.org", "reports.example.org": "example.org"}),
        (["example.org", "reports.example.org"], {"filter.example.net": "example.org"}),
        ([], {}),
    ],
)
def test_names_that_take_no_other_mail_share_the_first_domains_postmaster(
    tmp_path: Path, accepted: list[str], postmasters: dict[str, str]
) -> None:
    config = configuration(
        tmp_path,
        server={"hostname": "filter.example.net", "state_dir": "state"},
        recipients={"accepted_domains": accepted},
        reports={"domain": "reports.example.org"},
    )
    app = App(config, "smtp-0")
    assert app.graph.engine.postmasters == postmasters
    asyncio.run(app.close())


def test_list_entries_arrive_and_expire_while_running(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    check = app.graph.check_by_name["lists"]
    assert isinstance(check, Lists)
    address = parse_ip("192.0.2.9")
    lists.add(app.database, "192.0.2.0/24", "block", "", "test")
    asyncio.run(app.refresh())
    assert check.table.look_up(address) is not None
    lists.add(app.database, "192.0.2.0/24", "block", "", "test", expires_ms=1)
    asyncio.run(app.refresh())
    assert check.table.look_up(address) is None
    asyncio.run(app.close())


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    before = app.graph.engine.model_name()
    assert before
    settings.set(app.database, ACTIVE_MODEL, "not-there")
    asyncio.run(app.refresh())
    assert app.graph.engine.model_name() == before
    assert REGISTRY.get_sample_value("filterd_model_loaded") == 1, "a model is in use"
    asyncio.run(app.close())


def test_what_a_scan_could_not_load_is_no_metric_of_the_workers(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    app = App(config, "smtp-0")
    settings.set(app.database, ACTIVE_MODEL, "not-there")
    build_scanner(config, app.database)
    assert REGISTRY.get_sample_value("filterd_model_refused") == 0, "nobody would ever take it back"
    asyncio.run(app.close())


def test_a_promoted_model_of_an_older_program_is_replaced_by_the_seed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = tmp_path / "state" / "models" / "site-1"
    old.mkdir(parents=True)
    manifest = json.loads((SEED_MODEL / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "feature_version": 1}))
    sign(tmp_path / "state", old)
    settings.set(open_database(configuration(tmp_path)), ACTIVE_MODEL, "site-1")
    app = App(configuration(tmp_path), "smtp-0")
    assert app.graph.engine.model_name() == manifest["name"]
    assert REGISTRY.get_sample_value("filterd_model_loaded") == 1
    told = [(record.message, getattr(record, "error", "")) for record in caplog.records if record.levelname == "ERROR"]
    assert "feature version 1" in told[0][1]
    assert "seed model is used instead" in told[1][0]
    asyncio.run(app.close())
    chosen = App(configuration(tmp_path, model={"path": str(old)}), "smtp-0")
    assert chosen.graph.engine.model_name() == "", "what the configuration names, or nothing"
    assert REGISTRY.get_sample_value("filterd_model_loaded") == 0
    asyncio.run(chosen.close())


def test_a_model_in_shadow_arrives_survives_a_reload_and_goes(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    app = App(config, "smtp-0")

    def shadow() -> str:
        found = content_of(app.graph).shadow
        return found.name if found else ""

    async def scene() -> None:
        made = installed(config, app.database, "two")
        await app.refresh()
        assert shadow() == ""
        modelswitch.shadow(config, app.database, "two", "test")
        await app.refresh()
        assert shadow() == made.model
        await app.reload(config)
        assert shadow() == made.model
        modelswitch.promote(config, app.database, "two", "test")
        await app.refresh()
        assert shadow() == ""
        assert app.graph.engine.model_name() == made.model
        await app.close()

    asyncio.run(scene())


def test_a_damaged_model_in_shadow_does_not_score_and_mail_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configuration(tmp_path)
    app = App(config, "smtp-0")
    installed(config, app.database, "two")
    modelswitch.shadow(config, app.database, "two", "test")
    damage(tmp_path / "state" / "models" / "two" / "weights.f32")
    asyncio.run(app.refresh())
    assert content_of(app.graph).shadow is None
    assert app.graph.engine.model_name()
    assert "cannot be loaded" in caplog.text
    asyncio.run(app.close())


def test_a_promoted_model_comes_into_use_whatever_the_lists_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.app.MODEL_SECONDS", 0.01)
    config = configuration(tmp_path, lists={"refresh_seconds": 600})

    async def scene() -> None:
        app = App(config, "smtp-0")
        made = installed(config, app.database, "candidate-1")
        looking = asyncio.create_task(app.refresh_forever())
        await asyncio.to_thread(modelswitch.promote, config, app.database, "candidate-1", "anna")
        await asyncio.to_thread(
            wait_until, lambda: app.graph.engine.model_name() == made.model, 10, "the promoted model to be in use"
        )
        looking.cancel()
        await app.close()

    asyncio.run(scene())


def test_while_the_models_files_are_damaged_the_one_in_memory_stays_in_use_over_looks_and_reloads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configuration(tmp_path)

    async def scene() -> None:
        app = App(config, "smtp-0")
        made = installed(config, app.database, "candidate-1")
        modelswitch.promote(config, app.database, "candidate-1", "anna")
        await app.refresh()
        signature = config.state_dir / "models" / "candidate-1" / "manifest.sig"
        octets = signature.read_bytes()
        signature.unlink()
        for _ in range(3):
            await app.refresh()
        assert REGISTRY.get_sample_value("filterd_model_refused") == 1
        said = [record for record in caplog.records if record.getMessage() == "the old model stays in use"]
        assert len(said) == 1, "said once, not at every look"
        await app.reload(configuration(tmp_path, clients={"messages_per_minute": 1}))
        assert app.graph.engine.model_name() == made.model
        signature.write_bytes(octets)
        await app.refresh()
        assert app.graph.engine.model_name() == made.model
        assert REGISTRY.get_sample_value("filterd_model_refused") == 0
        await app.close()

    asyncio.run(scene())


def test_a_reload_that_names_a_model_which_cannot_be_loaded_takes_it_or_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        app = App(configuration(tmp_path), "smtp-0")
        assert app.graph.engine.model_name()
        await app.reload(configuration(tmp_path, model={"path": "not-there"}))
        assert app.graph.engine.model_name() == "", "what the configuration names, or nothing"
        await app.close()

    asyncio.run(scene())


def test_a_key_that_is_trusted_no_longer_or_again_is_noticed_while_running(tmp_path: Path) -> None:
    async def scene() -> None:
        config = configuration(tmp_path)
        app = App(config, "smtp-0")
        made = installed(config, app.database, "candidate-1")
        modelswitch.promote(config, app.database, "candidate-1", "anna")
        await app.refresh()
        public = config.state_dir / "keys" / "model.pub"
        public.rename(tmp_path / "away")
        await app.refresh()
        assert REGISTRY.get_sample_value("filterd_model_refused") == 1
        (tmp_path / "away").rename(public)
        await app.refresh()
        assert REGISTRY.get_sample_value("filterd_model_refused") == 0
        assert app.graph.engine.model_name() == made.model
        await app.close()

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["weights.f32", "information.f32"])
def test_a_folder_that_arrives_file_by_file_is_taken_up_when_it_is_complete(tmp_path: Path, name: str) -> None:
    async def scene() -> None:
        config = configuration(tmp_path)
        app = App(config, "smtp-0")
        made = installed(config, app.database, "candidate-1")
        modelswitch.promote(config, app.database, "candidate-1", "anna")
        file = config.state_dir / "models" / "candidate-1" / name
        octets = file.read_bytes()
        file.unlink()
        await app.refresh()
        assert app.graph.engine.model_name() != made.model
        file.write_bytes(octets)
        await app.refresh()
        assert app.graph.engine.model_name() == made.model, "manifest and signature were there before"
        await app.close()

    asyncio.run(scene())


def test_a_model_that_the_configuration_names_is_loaded_once_it_is_signed(tmp_path: Path) -> None:
    make_model(tmp_path / "mine")
    config = configuration(tmp_path, model={"path": "mine"})
    app = App(config, "smtp-0")
    assert app.graph.engine.model_name() == "", "what the configuration names, or nothing"
    sign(config.state_dir, tmp_path / "mine")
    asyncio.run(app.refresh())
    assert app.graph.engine.model_name().startswith("local-")
    asyncio.run(app.close())


def test_a_reload_keeps_the_counters_and_takes_the_new_limits(tmp_path: Path) -> None:
    async def scene() -> None:
        app = App(configuration(tmp_path), "smtp-0", tallies)
        assert app.tallies is tallies
        await app.reload(configuration(tmp_path, clients={"messages_per_minute": 1}))
        rate = app.graph.check_by_name["rate"]
        assert isinstance(rate, Rate)
        assert rate.tallies is tallies
        assert rate.clients.messages_per_minute == 1
        assert app.graph.engine.clients.messages_per_minute == 1
        await app.close()

    tallies = MemoryTallies()
    asyncio.run(scene())


def test_without_shared_counters_a_process_counts_for_itself(tmp_path: Path) -> None:
    app = App(configuration(tmp_path), "smtp-0")
    assert [app.tallies.enter("client", "a") for _ in range(2)] == [1, 2]
    asyncio.run(app.close())


def test_every_check_runs_for_mail_in_the_order_of_the_registry(tmp_path: Path) -> None:
    app = App(configuration(tmp_path, outbound={"host": "relay.example.net"}), "smtp-0")
    assert tuple(check.name for check in app.graph.checks) == NAMES
    asyncio.run(app.close())


def test_a_reload_keeps_what_the_greylist_knows_until_its_own_table_changes(tmp_path: Path) -> None:
    async def scene() -> list[bool]:
        app = App(configuration(tmp_path), "smtp-0")
        kept = []
        for tables in ({"clients": {"messages_per_minute": 1}}, {"greylist": {"keep_days": 3}}):
            before = memory(app)
            await app.reload(configuration(tmp_path, **tables))
            kept.append(memory(app) is before)
        await app.close()
        return kept

    def memory(app: App) -> object:
        check = app.graph.check_by_name["greylist"]
        assert isinstance(check, GreylistCheck)
        return check.greylist

    assert asyncio.run(scene()) == [True, False]


def test_senders_noted_just_before_the_end_are_written_those_of_earlier_configurations_too(tmp_path: Path) -> None:
    async def first() -> None:
        app = App(configuration(tmp_path), "smtp-0")
        earlier = app.graph.engine.senders
        await app.reload(configuration(tmp_path, clients={"messages_per_minute": 1}))
        for senders, domain in ((earlier, "old.example"), (app.graph.engine.senders, "new.example")):
            assert senders is not None
            senders.note(domain)
        await app.close()

    async def second() -> list[bool]:
        app = App(configuration(tmp_path), "smtp-0")
        check = app.graph.check_by_name["greylist"]
        assert isinstance(check, GreylistCheck)
        now_ms = int(time.time() * 1000)
        known = [
            await check.greylist.knows_sender(domain, now_ms, Deadline.after(10))
            for domain in ("old.example", "new.example", "never.example")
        ]
        await app.close()
        return known

    asyncio.run(first())
    assert asyncio.run(second()) == [True, True, False]


def test_what_an_earlier_configurations_hand_over_could_not_record_is_tried_once_more_at_the_end(
    tmp_path: Path,
) -> None:
    async def scene() -> str:
        app = App(configuration(tmp_path), "smtp-0")
        earlier = app.graph.engine.handoff
        record = MessageRecord(
            "06H0000000000001", 1, f"smtp-0:{app.boot_id}", "internet", "192.0.2.1", "h", "", ("a@example.org",)
        )
        outcome = Outcome("a@example.org", TerminalState.FORWARDED, "250 2.0.0 OK")
        await app.custody.begin(record)
        earlier._again(record, [outcome], EvidenceRecord("accept", 1, 0.0, 0.5, [], []))
        await app.reload(configuration(tmp_path, clients={"messages_per_minute": 1}))
        await app.close()
        return record.id

    reference = asyncio.run(scene())
    database = open_database(configuration(tmp_path))
    found = ledger.trace(database, reference)
    assert found is not None
    assert [outcome.state for outcome in found.message.outcomes] == ["forwarded"]
    database.close()


@pytest.mark.parametrize(("enabled", "noted"), [(True, True), (False, False)])
def test_senders_are_noted_only_where_somebody_is_greylisted(tmp_path: Path, enabled: bool, noted: bool) -> None:
    app = App(configuration(tmp_path, greylist={"enabled": enabled}), "smtp-0")
    assert (app.graph.engine.senders is not None) == noted
    asyncio.run(app.close())


def test_a_message_that_is_only_looked_at_is_not_counted_and_not_asked_to_wait(tmp_path: Path) -> None:
    scanner = build_scanner(
        configuration(
            tmp_path,
            clients={"sender_messages_per_minute": 1, "harvest_unknown": 1},
            greylist={"score": 0.1},
            dns={"servers": ["127.0.0.1:9"], "timeout_seconds": 0.05},  # nobody answers there
        ),
        None,
    )

    async def scene() -> list[dict[str, Any]]:
        return [
            await scanner.scan(
                b"Subject: a\r\n\r\n",
                client_ip="192.0.2.7",
                helo="localhost",
                mail_from="a@b.example",
                rcpt_to=["x@example.org"],
            )
            for _ in range(3)
        ]

    for answer in asyncio.run(scene()):
        assert not {"rate", "harvest", "greylist"} & {item["check"] for item in answer["evidence"]}
        assert answer["row"] not in ("rate_limit", "harvest", "greylisted")


def test_look_ups_at_dns_lists_are_counted_for_each_list(tmp_path: Path) -> None:
    App(configuration(tmp_path, dnsbl=[{"zone": "bl.app-test.example"}]), "smtp-0")
    assert REGISTRY.get_sample_value("filterd_dns_lookups_total", {"zone": "bl.app-test.example"}) == 0


def test_a_reload_switches_campaigns_off_and_on_and_loses_no_counts(tmp_path: Path) -> None:
    on, off = configuration(tmp_path), configuration(tmp_path, campaigns={"enabled": False})
    octets = (
        b"Subject: parcel\r\n\r\n" + b"your parcel is waiting at our depot because the customs fee was not paid " * 3
    )

    async def scene() -> None:
        app = App(on, "smtp-0")
        notes = app.graph.engine.campaign_notes
        assert notes is not None
        notes.note(Message(octets), "FIRST", 1, Reply(250, "2.0.0", "ok"), [])
        del notes
        await app.reload(off)
        assert app.graph.engine.campaign_notes is None
        await app.reload(on)
        assert app.graph.engine.campaign_notes is not None
        gc.collect()
        await app.close()

    asyncio.run(scene())
    found = SqlCampaigns(open_database(on), on.campaigns).of_message("FIRST")
    assert found is not None
    assert found.campaign == "FIRST"


def test_a_reload_switches_dmarc_reports_on_and_off_and_loses_no_counts(tmp_path: Path) -> None:
    off = configuration(tmp_path)
    table = {"enabled": True, "email": "DMARC@Example.org", "host": "127.0.0.1", "rows_per_report": 7}
    on = configuration(tmp_path, dmarc_reports=table)

    async def scene() -> None:
        app = App(off, "smtp-0")
        assert app.graph.engine.dmarc_notes is None
        await app.reload(on)
        notes = app.graph.engine.dmarc_notes
        assert notes is not None
        assert notes.own_address == "dmarc@example.org"
        for number in range(9):
            notes.note_sighting(Sighting("example.com", RECORD, row(source_ip=f"192.0.2.{number}")))
        del notes
        await app.reload(off)
        assert app.graph.engine.dmarc_notes is None
        gc.collect()
        await app.close()

    asyncio.run(scene())
    (found,) = aggregate.domains(open_database(off))
    assert (found.policy_domain, found.rows, found.dropped) == ("example.com", 7, 2)


def test_recipients_domains_and_people_of_a_push_are_taken_over_while_running(tmp_path: Path) -> None:
    config = configuration(
        tmp_path,
        server={"hostname": "filter.example.net", "state_dir": "state"},
        recipients={"accepted_domains": [], "external_relay_domains": ["partner.example"]},
        push={"enabled": True},
    )
    key, snapshot = site_key(config.state_dir), config.state_dir / "directory" / "push.snapshot"
    boss = ProtectedPerson("Erika Mustermann", ("erika@contoso.com",))
    app = App(config, "smtp-0")
    engine, checks = app.graph.engine, app.graph.check_by_name
    forged = Message(b"From: Erika Mustermann <x@evil.example>\r\nSubject: x\r\n\r\nsee http://contoso-login.com/\r\n")
    own = Message(b"From: erika@contoso.com\r\nSubject: x\r\n\r\nhello\r\n")

    def reasons(name: str, message: Message) -> set[Reason]:
        return {item.reason for item in ask(checks[name], context(message=message, envelope=Envelope("ID", None)))}

    async def scene() -> None:
        assert (engine.postmasters, app.graph.directory.domains()) == ({}, (PARTNER,))
        put_snapshot(snapshot, [entry("anna@contoso.com", site_key=key)], domains=[CONTOSO], people=[boss])
        app.graph.directory._all[0]._file._next_look = 0.0  # type: ignore[attr-defined]  # the two seconds are over
        await app.refresh()
        answer = await app.graph.directory.look_up("anna", "contoso.com", Deadline.after(30))
        assert answer.status is RecipientStatus.KNOWN
        assert engine.postmasters == {"filter.example.net": "contoso.com"}

    assert (reasons("spoof", own), reasons("impersonation", forged), reasons("links", forged)) == (set(), set(), set())
    asyncio.run(scene())
    assert reasons("spoof", own) == {Reason.OWN_DOMAIN}
    assert reasons("impersonation", forged) == {Reason.IMPERSONATED_NAME}
    assert reasons("links", forged) == {Reason.LINK_LOOKALIKE}
    asyncio.run(app.close())


def test_outbound_mail_has_a_server_and_a_memory_of_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        app = App(configuration(tmp_path), "smtp-0")
        assert app.graph.engine.outbound is None
        assert app.graph.engine.correspondents is None
        await app.reload(configuration(tmp_path, outbound={"host": "relay.example.net"}))
        first = app.graph.outbound
        assert first is not None
        assert app.graph.engine.outbound is not None
        assert app.graph.engine.correspondents is not None
        first.extensions = {"DSN": ""}
        await app.reload(configuration(tmp_path, outbound={"host": "relay.example.net", "correspondent_days": 0}))
        assert app.outbound_extensions == {"DSN": ""}, "until the new connection says otherwise"
        assert app.graph.engine.correspondents is None
        assert "correspondent" not in app.graph.check_by_name
        await app.close()

    asyncio.run(scene())


def test_a_signing_key_that_is_mended_is_taken_at_the_next_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        keys = [{"domain": "example.org", "key_file": "dkim.pem"}]
        app = App(configuration(tmp_path, outbound={"host": "relay.example.net", "dkim": keys}), "smtp-0")
        outbound = app.graph.engine.outbound
        assert outbound is not None
        assert outbound.unsignable == {"example.org"}
        await app.refresh()
        assert app.graph.engine.outbound is outbound, "nothing has changed"
        (tmp_path / "dkim.pem").write_bytes(rsa_key()[0])
        await app.refresh()
        mended = app.graph.engine.outbound
        assert mended is not None
        assert (set(mended.signers), mended.unsignable) == ({"example.org"}, frozenset())
        (tmp_path / "dkim.pem").unlink()
        await app.refresh()
        assert app.graph.engine.outbound is mended, "what is in memory goes on signing"
        await app.close()

    asyncio.run(scene())
    assert [r.levelname for r in caplog.records if "DKIM key" in r.message] == ["ERROR"]
