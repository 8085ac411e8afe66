"""Rows of models and their history: each change with its event, nothing of it lost."""

from __future__ import annotations

import threading

import pytest

from filterd.errors import PermanentError
from filterd.storage import models, reports
from filterd.storage.database import Database
from filterd.storage.models import ModelState


def add(db: Database, name: str, position: int = 3, state: ModelState = ModelState.PASSED) -> models.ModelRow:
    return models.register(db, name, f"local-{name}", "seed", position, "anna", state, {"verdict": "passed"})


def test_a_model_is_written_down_with_the_event_of_its_making(db: Database) -> None:
    row = add(db, "candidate-1")
    assert models.get(db, "candidate-1") == row
    assert (row.model, row.parent, row.position, row.created_by) == ("local-candidate-1", "seed", 3, "anna")
    assert (row.state, row.gate, row.shadow) == (ModelState.PASSED, {"verdict": "passed"}, {})
    (event,) = models.events(db, "candidate-1")
    assert (event.kind, event.actor, event.detail) == ("trained", "anna", {"state": "passed", "position": 3})
    with pytest.raises(PermanentError, match="name: there is already a model candidate-1"):
        add(db, "candidate-1")
    assert models.get(db, "none") is None
    assert len(models.events(db)) == 1


def test_states_change_with_an_event_and_only_of_models_that_are_there(db: Database) -> None:
    add(db, "a")
    models.set_state(db, "a", ModelState.REFUSED, "berta", "shadow_ended", {"reason": "stricter"})
    row = models.get(db, "a")
    assert row is not None
    assert row.state is ModelState.REFUSED
    assert [event.kind for event in models.events(db)] == ["shadow_ended", "trained"]
    with pytest.raises(PermanentError, match="there is no model b"):
        models.set_state(db, "b", ModelState.REFUSED, "berta", "x")
    assert len(models.events(db)) == 2, "no event of what did not happen"


def test_newest_first_and_by_state(db: Database) -> None:
    for name in ("a", "b", "c"):
        add(db, name, state=ModelState.SHADOW if name == "b" else ModelState.PASSED)
    assert {row.name for row in models.list_models(db)} == {"a", "b", "c"}
    assert [row.name for row in models.in_state(db, ModelState.SHADOW)] == ["b"]
    assert len(models.list_models(db, 2)) == 2


def test_events_page_by_page_and_by_kind(db: Database) -> None:
    for number in range(5):
        models.add_event(db, "drift" if number % 2 else "scheduled", "", "filterd", {"number": number})
    first = models.events(db, limit=2)
    assert [event.detail["number"] for event in first] == [4, 3]
    assert [event.detail["number"] for event in models.events(db, before=first[-1].id)] == [2, 1, 0]
    assert [event.detail["number"] for event in models.events(db, kinds=("drift",))] == [3, 1]


def test_the_comparison_is_written_only_while_the_model_is_in_shadow(db: Database) -> None:
    add(db, "a")
    assert not models.set_shadow(db, "a", {"messages": 3})
    models.set_state(db, "a", ModelState.SHADOW, "anna", "shadow")
    assert models.set_shadow(db, "a", {"messages": 3})
    row = models.get(db, "a")
    assert row is not None
    assert row.shadow == {"messages": 3}


def test_how_much_is_new_since_the_newest_model(db: Database) -> None:
    assert models.last_position(db) == 0
    for _ in range(4):
        last = reports.add(db, None, reports.Label.SPAM, "anna@example.org", "api", b"")
    assert models.reports_since(db, 0) == 4
    add(db, "a", position=last - 1)
    assert models.last_position(db) == last - 1
    assert models.reports_since(db, models.last_position(db)) == 1
    assert reports.unlearn(db, last, "anna")
    assert models.reports_since(db, models.last_position(db)) == 0


@pytest.mark.parametrize("gate", [{"x": float("nan")}, {"x": "y" * 1_100_000}])
def test_what_is_no_report_of_a_gate_is_refused(db: Database, gate: dict[str, object]) -> None:
    with pytest.raises(PermanentError, match="gate: "):
        models.register(db, "a", "local-a", "seed", 0, "anna", ModelState.CANDIDATE, gate)
    assert models.get(db, "a") is None


def test_changes_wait_for_each_other(db: Database) -> None:
    """Each reads the count of the one before: nobody reads while another one writes."""
    models.add_event(db, "count", "", "x", {"n": 0})

    def raise_by_one() -> None:
        for _ in range(5):
            with models.changing(db) as connection:
                number = models.events_in(connection, kinds=("count",), limit=1)[0].detail["n"]
                models.add_event_in(connection, "count", "", "x", {"n": number + 1})

    threads = [threading.Thread(target=raise_by_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert models.events(db, kinds=("count",), limit=1)[0].detail["n"] == 20
