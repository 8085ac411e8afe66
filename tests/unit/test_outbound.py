"""What the next mail server did not take at once is delivered to it later, and its author hears how that ends."""

from __future__ import annotations

import asyncio
import email
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from filterd.adapters.signing_key import OutboundKeys
from filterd.adapters.upstream import SmtpUpstream
from filterd.config import Config, OutboundConfig, UpstreamConfig, parse_config
from filterd.engine.outbound import Outbound, OutboundHandOff
from filterd.errors import StorageError, TemporaryError
from filterd.mail.dsn import Undelivered
from filterd.mail.reply import Reply
from filterd.outbound import KIND, Teller, next_server, next_server_or_none, outbound_upstream, with_keys
from filterd.outbox import GIVE_UP_SECONDS, OutboxRunner
from filterd.ports import OUTBOUND_DEFERRED, UPSTREAM_REFUSED, TerminalState
from filterd.storage import notices, outbox, quarantine
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.outbox import OutboxItem, QueueState
from tests.support.arc import signer
from tests.support.doubles import ScriptedCustody, ScriptedUpstream
from tests.support.outbound import Told
from tests.support.storage import BODY, PREPENDED, evidence, held, make_database, message, outcomes, wall_ms

GONE = Reply(550, "5.1.1", "User unknown")
LATER = Reply(451, "4.7.1", "Greylisted")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


def keep(db: Database, mail_from: str = "anna@example.org", retry: bool = True, reason: str = OUTBOUND_DEFERRED) -> str:
    """The id of a message whose copy for carl waits for the next mail server."""
    record = message("carl@example.com", mail_from=mail_from)
    box = held(record, retry=record.recipients if retry else ())
    box = replace(box, outbound=True, reason=reason, recipients=dict.fromkeys(record.recipients, ()))
    custody = SqlCustody(db)
    asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    custody.close()
    return record.id


def row(db: Database) -> OutboxItem:
    (found,) = outbox.list_outbox(db)
    return found


def run_once(
    db: Database,
    world: ScriptedUpstream | None,
    tell: Told | None = None,
    later: float = 0.0,
    exchange: ScriptedUpstream | None = None,
) -> Told:
    tell = tell or Told()
    runner = OutboxRunner(
        db, exchange or ScriptedUpstream(), outbound=world, tell=tell, clock_ms=lambda: wall_ms() + int(later * 1000)
    )
    assert asyncio.run(runner.run_once())
    return tell


def test_it_is_delivered_to_the_next_mail_server_and_not_to_exchange(db: Database) -> None:
    keep(db)
    world, exchange = ScriptedUpstream(), ScriptedUpstream()
    told = run_once(db, world, exchange=exchange)
    assert world.taken == [(("carl@example.com",), PREPENDED + BODY)]
    assert exchange.taken == []
    assert row(db).state is QueueState.DELIVERED
    assert told.notices == []


def test_inbound_mail_goes_to_exchange_as_ever(db: Database) -> None:
    record = message()
    custody = SqlCustody(db)
    box = held(record, retry=record.recipients)
    asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    custody.close()
    world, exchange = ScriptedUpstream(), ScriptedUpstream(data=GONE)
    told = run_once(db, world, exchange=exchange)
    assert world.taken == []
    assert row(db).state is QueueState.SUSPENDED, "for a person: its sender is a stranger"
    assert told.notices == []


@pytest.mark.parametrize("answer", [LATER, TemporaryError("connection refused", "unreachable")])
def test_a_deferral_is_tried_again_for_two_days_and_then_told(db: Database, answer: Reply | TemporaryError) -> None:
    id = keep(db)
    world = ScriptedUpstream(data=answer) if isinstance(answer, Reply) else ScriptedUpstream(error=answer)
    assert run_once(db, world, later=GIVE_UP_SECONDS - 60).notices == []
    assert row(db).state is QueueState.RETRY
    told = run_once(db, world, later=GIVE_UP_SECONDS + 3600)
    (about,) = told.notices
    assert (about.id, str(about.reverse_path), about.later) == (id, "anna@example.org", True)
    assert about.refused[0].reply.code == 451
    assert BODY.startswith(about.header)
    assert row(db).state is QueueState.REMOVED
    item = quarantine.get(db, id)
    assert item is not None
    assert item.copies[0].state == "held", "kept until it expires"


def test_what_was_given_up_expires(db: Database) -> None:
    id = keep(db)
    run_once(db, ScriptedUpstream(data=LATER))
    assert quarantine.expire(db, 2**60) == 0, "it waits for the next mail server"
    run_once(db, ScriptedUpstream(data=GONE), later=3600)
    assert quarantine.expire(db, 2**60) == 1
    item = quarantine.get(db, id)
    assert item is not None
    assert not item.has_body


def test_a_refusal_is_told_at_once(db: Database) -> None:
    keep(db)
    told = run_once(db, ScriptedUpstream(data=GONE))
    assert [str(item.recipient.mailbox) for item in told.notices[0].refused] == ["carl@example.com"]
    assert told.notices[0].refused[0].reply == GONE
    assert row(db).state is QueueState.REMOVED


def test_a_bounce_that_is_refused_is_told_to_nobody(db: Database) -> None:
    keep(db, mail_from="")
    assert run_once(db, ScriptedUpstream(data=GONE)).notices == []
    assert row(db).state is QueueState.REMOVED


@pytest.mark.parametrize("later", [0.0, GIVE_UP_SECONDS + 3600])
def test_mail_of_a_stranger_waits_for_a_person_and_is_told_to_nobody(db: Database, later: float) -> None:
    keep(db, mail_from="stranger@example.net", reason=UPSTREAM_REFUSED)
    world = ScriptedUpstream(data=GONE)
    assert run_once(db, world, later=later).notices == []
    assert row(db).state is QueueState.SUSPENDED


def test_nobody_is_said_to_be_told_who_is_not(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    keep(db, mail_from="")
    run_once(db, ScriptedUpstream(data=GONE))
    assert "told" in row(db).last_error
    assert "its author was told" not in row(db).last_error


def test_when_the_author_cannot_be_told_it_stays_in_the_queue(db: Database) -> None:
    keep(db)
    with pytest.raises(StorageError):
        run_once(db, ScriptedUpstream(data=GONE), Told(StorageError("disk I/O error", "broken")))
    assert row(db).state is QueueState.ACTIVE


def test_what_may_have_arrived_is_tried_for_two_days_and_the_author_told_so(db: Database) -> None:
    keep(db)
    world = ScriptedUpstream(error=TemporaryError("lost", "in_doubt"))
    assert run_once(db, world, later=GIVE_UP_SECONDS - 1).notices == []
    assert row(db).state is QueueState.RETRY
    (notice,) = run_once(db, world, later=GIVE_UP_SECONDS + 7200).notices
    assert "may have arrived" in str(notice.refused[0].reply)
    assert row(db).state is QueueState.REMOVED


def test_without_a_next_mail_server_it_waits(db: Database) -> None:
    keep(db)
    exchange = ScriptedUpstream()
    run_once(db, None, exchange=exchange)
    assert exchange.taken == []
    assert row(db).state is QueueState.RETRY
    assert "outbound.host" in row(db).last_error


def test_what_a_person_releases_goes_to_the_world_and_comes_back_to_that_person(db: Database) -> None:
    id = keep(db, retry=False)
    quarantine.release(db, id, None, "admin")
    assert run_once(db, ScriptedUpstream(data=GONE)).notices == []
    assert row(db).state is QueueState.SUSPENDED


def test_a_notice_is_queued_for_exchange(db: Database) -> None:
    keep(db)
    about = run_once(db, ScriptedUpstream(data=GONE)).notices[0]
    asyncio.run(Teller(db, "filter.example.org", lambda: 1_800_000_000_000)(about))
    (notice,) = notices.list_notices(db)
    assert (notice.kind, notice.recipient) == (KIND, "anna@example.org")
    assert email.message_from_bytes(notice.octets).get_content_type() == "multipart/report"
    assert isinstance(about, Undelivered)


def test_the_next_server_is_reached_as_the_table_says() -> None:
    table = {"host": "relay.example.net", "port": 587, "tls": "required", "connections": 3, "data_seconds": 30.0}
    config = Config.model_validate({"outbound": table})
    server = next_server(config.outbound)
    assert server.model_dump(include=set(table)) == table
    assert outbound_upstream(config) is not None
    assert outbound_upstream(Config()) is None


def test_no_setting_of_the_next_server_is_forgotten(tmp_path: Path) -> None:
    given = {
        "host": "relay.example.net",
        "port": 587,
        "tls": "required",
        "tls_verify": True,
        "tls_ca_file": tmp_path / "authorities.pem",
        "connections": 3,
        "data_seconds": 30.0,
    }
    assert set(given) == set(OutboundConfig.model_fields) & set(UpstreamConfig.model_fields)
    server = next_server(OutboundConfig.model_validate(given))
    assert server == UpstreamConfig.model_validate(given)
    for name in given:
        assert getattr(server, name) != getattr(UpstreamConfig(), name), f"{name}: the test must give another value"


@pytest.mark.parametrize(("helo", "name"), [("", "filter.example.org"), ("out.example.org", "out.example.org")])
def test_the_next_server_is_greeted_by_the_name_it_knows_and_is_no_exchange(
    monkeypatch: pytest.MonkeyPatch, helo: str, name: str
) -> None:
    made: list[tuple[str, bool]] = []

    def upstream(config: UpstreamConfig, hostname: str, exchange: bool = True) -> SmtpUpstream:
        made.append((hostname, exchange))
        return SmtpUpstream(config, hostname, exchange)

    monkeypatch.setattr("filterd.outbound.SmtpUpstream", upstream)
    assert outbound_upstream(Config(outbound=OutboundConfig(host="relay.example.net", helo=helo))) is not None
    assert made == [(name, False)], "its answers are not explained as if it were Exchange"


def test_keys_that_cannot_be_used_are_said_once_and_their_mail_waits(caplog: pytest.LogCaptureFixture) -> None:
    handoff = OutboundHandOff(ScriptedUpstream(), ScriptedCustody(), Told(), lambda: {"example.org"})
    keys = OutboundKeys((), ("outbound.dkim[0].key_file: /x cannot be read",), frozenset({"example.org"}))
    broken = with_keys(Outbound(handoff), keys)
    assert broken.unsignable == {"example.org"}
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["problems"]) == ("ERROR", list(keys.problems))
    mended = with_keys(broken, OutboundKeys((signer("example.org"),)))
    assert (set(mended.signers), mended.unsignable) == ({"example.org"}, frozenset())
    assert len(caplog.records) == 1


def test_authorities_that_cannot_be_read_cost_outbound_mail_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = {"host": "relay.example.net", "tls_ca_file": "gone.pem"}
    assert next_server_or_none(parse_config({"outbound": table}, tmp_path)) is None
    (record,) = caplog.records
    assert record.__dict__["problem"].startswith(f"outbound.tls_ca_file: {tmp_path / 'gone.pem'} cannot be used")
