"""What stays is out of the collector's sight, in this process and in the brain's."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from otter_runtime.garbage import settle


@pytest.fixture
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_a_full_collection_looks_at_what_came_later_only() -> None:
    before = [[] for _ in range(10_000)]  # type: ignore[var-annotated]
    settle()
    assert gc.get_freeze_count() > len(before)
    assert len(gc.get_objects()) < 1000
    later = [[] for _ in range(100)]  # type: ignore[var-annotated]
    later[0].append(later)
    del later
    assert gc.collect() >= 100
