"""Compound files: streams come whole, damage ends in an error or in less, never in a loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError
from filterd.content.attachments.ole import Ole
from tests.support.documents import ole_of
from tests.support.growth import assert_growth


def test_streams_come_whole() -> None:
    streams = {"small": b"x" * 10, "large": bytes(range(256)) * 300, "empty": b""}
    ole = Ole(ole_of(streams))
    assert {entry.name: ole.read(entry, 1 << 20) for entry in ole.entries if entry.kind == 2} == streams
    large = next(entry for entry in ole.entries if entry.name == "large")
    assert ole.read(large, 700) == streams["large"][:700]


def test_a_chain_in_a_circle_ends() -> None:
    octets = bytearray(ole_of({"large": bytes(5_000)}))
    table = int.from_bytes(octets[76:80], "little")
    at = (table + 1) * 512
    octets[at : at + 40] = b"".join(number.to_bytes(4, "little") for number in [1, 0, 1, 0, 1, 0, 1, 0, 1, 0])
    ole = Ole(bytes(octets))
    large = next(entry for entry in ole.entries if entry.name == "large")
    assert len(ole.read(large, 1 << 30)) <= len(octets)


@pytest.mark.parametrize(
    "octets", [b"", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)]
)
def test_no_file_at_all(octets: bytes) -> None:
    with pytest.raises(BadArchiveError):
        Ole(octets)


@given(st.data())
def test_any_damage_is_streams_or_an_error(data: st.DataObject) -> None:
    whole = bytearray(ole_of({"one": b"x" * 700, "two": b"y" * 30}))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        ole = Ole(bytes(whole))
        for entry in ole.entries:
            assert len(ole.read(entry, 5_000)) <= 5_000
    except BadArchiveError:
        pass


def test_linear_in_the_file() -> None:
    def prepare(size: int):  # type: ignore[no-untyped-def]
        octets = ole_of({f"s{n}": b"x" * 600 for n in range(size)})

        def work() -> None:
            ole = Ole(octets)
            for entry in ole.entries:
                ole.read(entry, 600)

        return work

    assert_growth(prepare, 100, 1_000, 20)


def test_a_table_of_tables_in_a_circle_ends() -> None:
    """DIFAT sectors name the next one at their end; the last of these names itself."""
    octets = bytearray(ole_of({"small": b"x" * 10}))
    sector = len(octets) // 512 - 1
    octets += b"\xff" * 508 + sector.to_bytes(4, "little")
    octets[68:76] = sector.to_bytes(4, "little") + (1).to_bytes(4, "little")
    ole = Ole(bytes(octets))
    assert [entry.name for entry in ole.entries] == ["Root Entry", "small"]
