"""The daily look: the mail before is the reference, other mail is an alarm, the same is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from filterd import metrics, modelstore, modelswitch
from filterd.classifier.features import BUCKETS, to_octets
from filterd.config import Config
from filterd.learning.drift import reference
from filterd.storage import models, reports, settings
from filterd.storage.database import Database
from filterd.watch import drift
from filterd.watch.drift import DriftWatch, state
from tests.support.live import came, content, record_of
from training.publish import publish

DAY_MS = 86_400_000
BEGIN = 1_900_000_000_000
KNOWN = 1_000  # buckets that the model has learned: the first half is spam


class Site:
    """A site whose mail comes day by day."""

    def __init__(self, config: Config, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.db = config, db
        self.now = BEGIN
        self.rng = np.random.default_rng(1)
        monkeypatch.setattr(drift, "now_ms", lambda: self.now)

    def model(self, name: str = "one", **more: object) -> None:
        weights = np.zeros(BUCKETS, np.float32)
        weights[:KNOWN] = np.where(np.arange(KNOWN) < KNOWN // 2, 1.0, -1.0)
        folder = self.config.state_dir / "models" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        publish(weights, weights * 0 + 1, folder, prefix=name, **more)  # type: ignore[arg-type]  # test shorthand
        modelstore.install(self.config, self.db, name, position=0, gate={"verdict": "passed"}, actor="test")
        modelswitch.promote(self.config, self.db, name, "test")

    def mail(self, count: int, spam: float = 0.3, unknown: float = 0.1) -> list[str]:
        """Messages of 40 features each, in the day before now."""
        records = []
        for number in range(count):
            side = 0 if number < spam * count else KNOWN // 2
            strange = int(40 * unknown)
            known = self.rng.choice(KNOWN // 2, 40 - strange, replace=False) + side
            row = np.concatenate([known, self.rng.choice(KNOWN, strange, replace=False) + KNOWN]).astype(np.uint32)
            records.append(replace(record_of(content(1.0)), features=to_octets(row)))
        return came(self.db, *records, at_ms=self.now - DAY_MS // 2)

    def look(self) -> Sequence[str]:
        found = DriftWatch(self.config, self.db).look()
        assert found is not None
        return [alarm["kind"] for alarm in found["alarms"]]


@pytest.fixture
def site(config: Config, db: Database, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(config, db, monkeypatch)


def test_a_day_like_those_before_is_quiet_and_other_mail_is_an_alarm(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.model()
    site.mail(300)
    assert site.look() == []
    found = state(site.db)
    assert found is not None
    assert found["reference"]["messages"] == 300
    site.now += DAY_MS
    site.mail(300)
    assert site.look() == []
    assert models.events(site.db, kinds=("drift",)) == ()
    site.now += DAY_MS
    strange = site.mail(300, spam=0.8, unknown=0.4)
    assert site.look() == ["scores", "unknown"]
    (event,) = models.events(site.db, kinds=("drift",))
    assert event.name == "one"
    assert set(event.detail["alarms"][1]["messages"]) <= set(strange)
    assert "no longer what the model was made for" in caplog.text
    kept = state(site.db)
    assert kept is not None
    assert kept["psi"] > 0.25


def test_it_looks_once_a_day(site: Site) -> None:
    site.mail(300)
    assert site.look() == []
    site.now += DAY_MS - 1
    assert DriftWatch(site.config, site.db).look() is None
    site.now += 1
    assert DriftWatch(site.config, site.db).look() is not None


def test_a_clock_that_was_ahead_once_does_not_end_the_looks(site: Site) -> None:
    site.model()
    site.mail(300)
    site.now += 3_650 * DAY_MS
    assert DriftWatch(site.config, site.db).look() is not None
    site.now -= 3_650 * DAY_MS
    assert DriftWatch(site.config, site.db).look() is not None
    assert DriftWatch(site.config, site.db).look() is None


def test_an_alarm_stays_after_a_restart(site: Site) -> None:
    site.model()
    site.mail(300)
    site.look()
    site.now += DAY_MS
    site.mail(300, spam=0.8, unknown=0.4)
    assert site.look() == ["scores", "unknown"]
    for kind in drift.KINDS:  # another process begins with zeros
        metrics.DRIFT_ALARM.labels(kind).set(0)
    assert DriftWatch(site.config, site.db).look() is None
    assert [metrics.DRIFT_ALARM.labels(kind)._value.get() for kind in drift.KINDS] == [1, 1, 0]


def test_another_model_gets_a_reference_of_its_own(site: Site) -> None:
    site.mail(300)
    site.look()
    site.model("two")
    site.look()
    found = state(site.db)
    assert found is not None
    assert found["folder"] == "two"
    assert found["reference"]["messages"] == 300


def test_the_reference_of_the_manifest_goes_first(site: Site) -> None:
    made = reference([])
    site.model("one", metrics={"reference": {**made, "messages": 4_321, "histogram": [100] * 12}})
    site.look()
    found = state(site.db)
    assert found is not None
    assert found["reference"]["messages"] == 4_321


def test_a_site_that_just_began_takes_its_reference_when_there_is_mail(site: Site) -> None:
    site.mail(10)
    site.look()
    site.now += DAY_MS
    site.mail(300)
    site.look()
    found = state(site.db)
    assert found is not None
    assert found["reference"]["messages"] == 310


def test_reports_tell_when_the_model_is_wrong(site: Site) -> None:
    site.model()
    ids = site.mail(300, spam=0.3)
    for id in ids[:60]:
        reports.add(site.db, id, "spam", "anna", "api")
    with site.db.write() as connection:
        connection.exec_driver_sql(f"UPDATE reports SET created_ms = {site.now - 1}")
    assert site.look() == []
    site.now += DAY_MS
    ids = site.mail(300, spam=0.3)
    last = max(report.id for report in reports.list_reports(site.db))
    for id in ids[200:260]:  # they look like ham
        reports.add(site.db, id, "spam", "anna", "api")
    with site.db.write() as connection:
        connection.exec_driver_sql(f"UPDATE reports SET created_ms = {site.now - 1} WHERE id > {last}")
    assert site.look() == ["calibration"]


def test_a_setting_that_is_broken_is_made_anew(site: Site) -> None:
    settings.set(site.db, drift.DRIFT, "{}")
    assert state(site.db) is None
    assert site.look() == []
