"""Who uses the add-in: an address belongs to the user that named it first, until a second one names it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, insert

from filterd.errors import PermanentError
from filterd.storage.addin_users import Binding, bind, forget, list_users
from filterd.storage.database import Database
from filterd.storage.schema import addin_users

ANNA, BOB, MALLORY = "a" * 64, "b" * 64, "c" * 64


def test_the_first_use_binds_and_later_ones_agree(db: Database) -> None:
    assert bind(db, ANNA, "Anna@Example.org") is Binding.OWN
    assert bind(db, ANNA, "anna@example.ORG") is Binding.OWN
    assert bind(db, BOB, "bob@example.org") is Binding.OWN
    (anna, bob) = list_users(db)
    assert (anna.user, anna.address, anna.contested) == (ANNA, "anna@example.org", False)
    assert bob.created_ms >= anna.created_ms > 0


def test_another_address_of_the_same_user(db: Database) -> None:
    bind(db, ANNA, "anna@example.org")
    assert bind(db, ANNA, "boss@example.org") is Binding.OTHER
    assert bind(db, ANNA, "anna@example.org") is Binding.OWN
    assert len(list_users(db)) == 1, "the other address is bound to nobody"
    assert forget(db, ANNA)
    assert bind(db, ANNA, "anna.miller@example.org") is Binding.OWN


def test_an_address_that_two_name_is_neithers(db: Database) -> None:
    bind(db, BOB, "bob@example.org")
    assert bind(db, MALLORY, "anna@example.org") is Binding.OWN, "nobody can know better yet"
    assert bind(db, ANNA, "anna@example.org") is Binding.CONTESTED
    assert bind(db, MALLORY, "anna@example.org") is Binding.CONTESTED
    assert {user.user for user in list_users(db, contested=True)} == {ANNA, MALLORY}
    assert [user.contested for user in list_users(db)] == [True, True, False]
    assert forget(db, MALLORY)
    assert not forget(db, MALLORY)
    assert bind(db, ANNA, "anna@example.org") is Binding.OWN
    assert list_users(db, contested=True) == ()


@pytest.mark.parametrize(
    "spelling", ["anna@example.org.", "\u3000anna@example.org", "anna@example.org\xa0", "ANNA@Example.ORG"]
)
def test_what_is_one_reporter_is_one_address(db: Database, spelling: str) -> None:
    bind(db, MALLORY, spelling)
    assert bind(db, ANNA, "anna@example.org") is Binding.CONTESTED


def test_two_requests_of_one_user_at_once(db: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: bind(db, ANNA, "anna@example.org"), range(24)))
    assert set(found) == {Binding.OWN}
    assert len(list_users(db)) == 1


def test_pages_leave_nobody_out(db: Database) -> None:
    for number in range(5):
        bind(db, f"{number:064x}", f"{'anna' if number < 3 else number}@example.org")
    everybody = list_users(db)
    seen: list[str] = []
    while page := list_users(db, limit=2, after=seen[-1] if seen else None):
        seen += [user.user for user in page]
    assert seen == [user.user for user in everybody]
    assert [user.user for user in list_users(db, True, limit=2, after=f"{0:064x}")] == [f"{1:064x}", f"{2:064x}"]
    with pytest.raises(PermanentError, match="cursor"):
        list_users(db, after=MALLORY)


def test_the_doubts_of_a_large_house_are_found_in_one_pass(sqlite_db: Database) -> None:
    def rows(count: int) -> None:
        with sqlite_db.write() as connection:
            connection.execute(delete(addin_users))
            made = ({"user": f"{n:064x}", "address": f"{n}@example.org", "created_ms": 1} for n in range(count))
            connection.execute(insert(addin_users), list(made))

    def steps() -> int:
        found = 0

        def count() -> int:
            nonlocal found
            found += 1
            return 0

        with sqlite_db.read() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.set_progress_handler(count, 100)
        assert list_users(sqlite_db, contested=True) == ()
        raw.set_progress_handler(None, 0)
        return found

    rows(200)
    few = steps()
    rows(2_000)
    assert steps() < 20 * few, "ten times as many users: ten times the work, not a hundred times"
