"""Owns the side service that the API's tests ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sideservice import Side, side_service


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A side service that delivers nothing by itself."""
    with side_service(tmp_path) as running:
        yield running
