"""Who uses the add-in: an address belongs to the user that named it first, until a second one names it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from filterd.storage.addin_users import Binding, bind, forget, list_users
from filterd.storage.database import Database

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
