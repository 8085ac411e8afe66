"""Recipients from files: what a plain and a hashed list may hold, and what is said of one that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from filterd.adapters import directory_file
from filterd.adapters.directory_file import (
    FileBackend,
    addresses_in,
    hashed_lines,
    plain_key,
    read_hashed,
    read_recipients,
)
from filterd.deadline import Deadline
from filterd.directory.keys import address_key, key_name
from filterd.errors import ConfigError
from tests.support.directory import SITE_KEY, Steps, put_hashed
from tests.support.growth import assert_growth

OTHER_KEY = bytes(32)


def knows(backend: FileBackend, local: str, domain: str = "example.org") -> bool:
    return asyncio.run(backend.find(local, domain, Deadline.after(30))) is not None


def plain(path: Path) -> FileBackend:
    return FileBackend("file", path, read_recipients, plain_key, Steps())


def hashed(path: Path) -> FileBackend:
    return FileBackend(
        "hashed_file", path, partial(read_hashed, site_key=SITE_KEY), partial(address_key, SITE_KEY), Steps()
    )


def test_comments_empty_lines_and_what_windows_puts_in_front_are_no_addresses(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(b"\xef\xbb\xbf# people\r\n\r\nAnna@Example.org  # boss\r\n\r\nbob@example.org")
    backend = plain(tmp_path / "r")
    assert (knows(backend, "anna"), knows(backend, "BOB"), knows(backend, "carl")) == (True, True, False)
    status = backend.status()
    assert (status.name, status.recipients, status.usable, status.problem) == ("file", 2, True, "")
    asyncio.run(backend.refresh())
    assert REGISTRY.get_sample_value("filterd_directory_recipients", {"backend": "file"}) == 2


def test_the_first_line_may_be_an_address_behind_what_windows_puts_in_front(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(b"\xef\xbb\xbfanna@example.org\r\nbob@example.org\r\n")
    assert list(addresses_in(tmp_path / "r")) == ["anna@example.org", "bob@example.org"]
    put_hashed(tmp_path / "h", ["anna@example.org"])
    (tmp_path / "h").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "h").read_bytes())
    assert knows(hashed(tmp_path / "h"), "anna")


def test_what_windows_puts_in_front_counts_on_the_first_line_only(tmp_path: Path) -> None:
    """Anywhere else it is a letter that somebody wrote, which no address here has."""
    (tmp_path / "r").write_bytes(b"bob@example.org\n\xef\xbb\xbfanna@example.org\n")
    with pytest.raises(ConfigError, match=r"r:2: expected an address"):
        read_recipients(tmp_path / "r")


def test_every_bad_line_is_named_up_to_a_number(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("anna@example.org\nanna example.org\n" + "no\n" * 50)
    with pytest.raises(ConfigError, match=r"r:2: expected an address") as failed:
        read_recipients(tmp_path / "r")
    assert len(failed.value.problems) == 20


@pytest.mark.parametrize("text", ["", "# nobody yet\n"])
def test_a_list_without_anybody_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(ConfigError, match="holds no address"):
        read_recipients(tmp_path / "r")


def test_quotes_in_a_list_make_no_other_mailbox(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('"Anna.B"@example.org\n')
    assert knows(plain(tmp_path / "r"), "anna.b")


def _people(*numbers: int) -> str:
    return "".join(f"u{number}@example.org\n" for number in numbers)


def _renamed(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def test_half_a_list_drops_nobody_and_who_is_new_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An export that ended too early, renamed into place every night by a script that looks at nothing."""
    path = tmp_path / "r"
    path.write_text(_people(*range(20)))
    backend = plain(path)
    for _ in range(2):
        _renamed(path, _people(*range(10), 77))
        asyncio.run(backend.refresh())
        assert [knows(backend, f"u{n}") for n in (0, 19, 77, 78)] == [True, True, True, False]
    (note,) = backend.status().notes
    assert "10 of 21 recipients would be dropped (47.6 %, allowed are 10 %), so nobody is" in note
    assert "reload filterd" in note
    assert backend.status().problem == ""
    assert [record.message for record in caplog.records] == ["a list of recipients has shrunk"] * 2  # 20, then 21
    assert not knows(plain(path), "u19")  # whoever reloads has looked
    _renamed(path, _people(*range(20), 77))
    asyncio.run(backend.refresh())
    assert backend.status().notes == ()
    _renamed(path, _people(*range(2, 20), 77))
    asyncio.run(backend.refresh())
    assert not knows(backend, "u0")  # a few may go


def test_as_much_of_a_list_may_go_as_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text(_people(*range(20)))
    backend = FileBackend("file", path, read_recipients, plain_key, Steps(), max_drop_percent=50)
    _renamed(path, _people(*range(10)))
    asyncio.run(backend.refresh())
    assert not knows(backend, "u19")


def test_what_is_no_recipient_file_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").write_text("a" * 3_000)
    with pytest.raises(ConfigError, match=r"r:1: longer than 2000 octets"):
        read_recipients(tmp_path / "r")
    monkeypatch.setattr(directory_file, "MAX_FILE_BYTES", 1_000)
    (tmp_path / "r").write_text("anna@example.org\n" * 100)
    with pytest.raises(ConfigError, match="larger than 1000 octets"):
        read_recipients(tmp_path / "r")


def test_a_domain_in_other_letters_is_found_in_all_its_forms(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("anna@m\u00fcller.example\n")
    for build in (plain, hashed):
        path = tmp_path / "r" if build is plain else tmp_path / "h"
        if build is hashed:
            put_hashed(path, addresses_in(tmp_path / "r"))
        assert knows(build(path), "anna", "m\u00fcller.example")
        assert knows(build(path), "anna", "xn--mller-kva.example")


def test_a_hashed_list_holds_no_address_and_its_order_tells_nothing() -> None:
    addresses = [f"user{number}@example.org" for number in range(100)]
    head, *lines = hashed_lines(addresses, SITE_KEY)
    assert head == f"# filterd recipients 1 key {key_name(SITE_KEY)}"
    assert lines == sorted(lines)
    assert lines == list(hashed_lines(reversed(addresses), SITE_KEY))[1:]
    assert "user" not in "".join(lines)
    assert SITE_KEY.hex()[:8] not in head


def test_a_hashed_list_of_another_site_is_told_apart(tmp_path: Path) -> None:
    put_hashed(tmp_path / "h", ["anna@example.org"], OTHER_KEY)
    with pytest.raises(ConfigError, match=rf"site key {key_name(OTHER_KEY)}.*{key_name(SITE_KEY)}.*directory hash"):
        read_hashed(tmp_path / "h", SITE_KEY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("anna@example.org\n", "h:1: expected a list as `filterd directory hash`"),
        (f"# filterd recipients 1 key {key_name(SITE_KEY)}\nabc\n", "h:2: expected 32 hexadecimal digits, found 'abc'"),
        ("# a comment\n", "its first line is missing"),
        (f"# filterd recipients 1 key {key_name(SITE_KEY)}\n", "holds no address"),
    ],
)
def test_what_is_no_hashed_list_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "h").write_text(text)
    with pytest.raises(ConfigError) as failed:
        read_hashed(tmp_path / "h", SITE_KEY)
    assert said in str(failed.value)


def test_keys_that_end_in_zeros_are_found(tmp_path: Path) -> None:
    """A column of numpy forgets zeros at the end of an element."""
    keys = [bytes(15 - number) + b"\x01" + bytes(number) for number in range(16)]
    (tmp_path / "h").write_text(
        f"# filterd recipients 1 key {key_name(SITE_KEY)}\n" + "".join(f"{key.hex()}\n" for key in keys)
    )
    of = dict(zip("abcdefghijklmnop", keys, strict=True))
    backend = FileBackend(
        "hashed_file",
        tmp_path / "h",
        partial(read_hashed, site_key=SITE_KEY),
        lambda address: of.get(address[0], b"\xff" * 16),
        Steps(),
    )
    assert all(knows(backend, local) for local in of)
    assert not knows(backend, "q")


@pytest.mark.parametrize("read", [read_recipients, partial(read_hashed, site_key=SITE_KEY)])
@given(octets=st.binary(max_size=300))
def test_any_octets_are_read_or_refused(
    read: Callable[[Path], object], octets: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-octets"
    path.write_bytes(octets)
    with contextlib.suppress(ConfigError):
        read(path)


def test_reading_grows_with_the_list(tmp_path: Path) -> None:
    def prepare(size: int) -> Callable[[], object]:
        path = tmp_path / str(size)
        path.write_text("".join(f"user{number}@example.org\n" for number in range(size)))
        return lambda: read_recipients(path)

    assert_growth(prepare, 5_000, 20_000, 7)


@given(
    st.lists(st.from_regex(r"[A-Za-z0-9_.\-+'\u00e4]{1,12}@[a-z.\-A-Z]{1,12}", fullmatch=True), min_size=1, max_size=8)
)
def test_an_address_is_read_the_same_whether_its_domain_was_seen_before_or_not(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "same"
    alone: list[str] = []
    for line in lines:
        path.write_text(line)
        with contextlib.suppress(ConfigError):
            alone += addresses_in(path)
    path.write_text("\n".join(lines * 2))
    together: list[str] = []
    with contextlib.suppress(ConfigError):  # at the end: what can be read was given before
        for address in addresses_in(path):
            together.append(address)
    assert together == alone * 2
