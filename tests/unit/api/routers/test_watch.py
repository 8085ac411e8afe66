"""What the watch over models has found, over HTTP."""

from __future__ import annotations

import json

from filterd import modelswitch
from filterd.learning.drift import reference
from filterd.storage import settings, shadow
from filterd.storage.shadow import Flip
from filterd.watch.drift import DRIFT, DriftWatch
from tests.support.live import installed
from tests.support.sideservice import Side


def test_before_the_first_look_there_is_no_drift(side: Side) -> None:
    found = side.json("GET", "/v1/drift")
    assert (found["at_ms"], found["psi"], found["alarms"]) == (None, None, [])


def test_alarms_are_shown_with_their_messages(side: Side) -> None:
    alarm = {"kind": "unknown", "text": "9.0 % of the features are unknown", "messages": ["M1"]}
    found = {"model": "one-1", "folder": "one", "at_ms": 5, "psi": 0.3, "now": None, "reference": reference([])}
    settings.set(side.database, DRIFT, json.dumps({**found, "path": "/secret/one", "position": 0, "alarms": [alarm]}))
    answer = side.json("GET", "/v1/drift")
    assert answer["alarms"] == [alarm]
    assert answer["psi"] == 0.3
    assert "path" not in answer


def test_a_new_site(side: Side) -> None:
    assert DriftWatch(side.config, side.database).look() is not None
    answer = side.json("GET", "/v1/drift")
    assert (answer["folder"], answer["now"]) == ("seed", None)
    assert answer["model"].startswith("seed-")


def test_a_shadow_is_shown_with_its_flips(side: Side) -> None:
    side.json("GET", "/v1/models/none/shadow", status=404)
    installed(side.config, side.database, "two")
    side.json("GET", "/v1/models/two/shadow", status=404)
    modelswitch.shadow(side.config, side.database, "two", "test")
    assert side.json("GET", "/v1/models/two/shadow")["messages"] == 0
    begun = json.loads(json.dumps(side.json("GET", "/v1/models/two")["shadow_report"]))
    flip = Flip("M1", 7, "accept", "tag", -1.0, 2.5)
    shadow.save(side.database, "two", begun, {**begun, "messages": 9, "stricter": 1, "text": "so far"}, [flip])
    answer = side.json("GET", "/v1/models/two/shadow?limit=5")
    assert (answer["state"], answer["messages"], answer["stricter"], answer["text"]) == ("shadow", 9, 1, "so far")
    assert [item["message_id"] for item in answer["flips"]] == ["M1"]
