"""The clock that never goes backwards."""

from __future__ import annotations

import random
import time
from datetime import datetime, timezone

import pytest

from mlsdk.clock import SystemClock, jitter


def test_it_tells_the_time_in_microseconds() -> None:
    before = datetime.now(timezone.utc).timestamp()
    now = SystemClock().now() / 1e6
    after = datetime.now(timezone.utc).timestamp()

    assert before - 0.001 <= now <= after + 0.001


def test_it_stands_still_until_a_clock_that_was_set_back_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5_000_000, 3_000_000, 4_999_999, 5_000_999, 6_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    clock = SystemClock()

    assert [clock.now() for _ in range(5)] == [5_000, 5_000, 5_000, 5_000, 6_000]


def test_its_monotonic_side_measures_distances() -> None:
    clock = SystemClock()
    first = clock.monotonic()

    assert clock.monotonic() >= first


def test_jitter_leaves_the_applications_own_random_numbers_alone() -> None:
    random.seed(1)
    expected = [random.random() for _ in range(3)]
    random.seed(1)
    drawn = [jitter() for _ in range(100)]
    assert [random.random() for _ in range(3)] == expected
    assert all(0 <= each < 1 for each in drawn)
    assert len(set(drawn)) > 90
