"""The grammar of faults, and which request is hit."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.faults import Fault, FaultRule, Faults, InvalidFaultError, parse_fault

QUEUE = "/bc/v1/events/queue"


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("429:0.1", FaultRule(Fault.answer(429), 0.1)),
        ("429:0.1:retry-after=2", FaultRule(Fault.answer(429, headers={"Retry-After": "2"}), 0.1)),
        ("503", FaultRule(Fault.answer(503))),
        ("400:body=no", FaultRule(Fault.answer(400, body="no"))),
        ("503:times=20:skip=100", FaultRule(Fault.answer(503), skip=100, times=20)),
        ("403:path=/bc/v1/live", FaultRule(Fault.answer(403), path="/bc/v1/live")),
        ("hang:0.01", FaultRule(Fault.hang(), 0.01)),
        ("hang=5", FaultRule(Fault.hang(seconds=5))),
        ("reset:0.01", FaultRule(Fault.reset(), 0.01)),
        ("lost:1", FaultRule(Fault.reset(process=True))),
        ("slow=0.05", FaultRule(Fault.slow(delay=0.05))),
        ("drip=0.01:0.5", FaultRule(Fault.slow(drip=0.01), 0.5)),
    ],
)
def test_specs(spec: str, rule: FaultRule) -> None:
    assert parse_fault(spec) == rule


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "'' is not a fault: use a status"),
        ("200", "status is '200': use a number from 400 to 599"),
        ("600", "use a number from 400 to 599"),
        ("429=1", "'429=1' is not a fault"),
        ("slow", "'slow' is not a fault"),
        ("reset=1", "'reset=1' is not a fault"),
        ("explode", "'explode' is not a fault"),
        ("429:often", "probability is 'often': use a number"),
        ("429:1.5", "probability is '1.5': use a number from 0 to 1"),
        ("429:nan", "probability is 'nan'"),
        ("slow=-1", "seconds is '-1'"),
        ("slow=inf", "seconds is 'inf'"),
        ("429:times=0.5", "times is '0.5': use a number"),
        ("429:0.1:soon", "'soon': write an option once, as name=value"),
        ("429:body=", "'body=': write an option once"),
        ("429:times=1:times=2", "'times=2': write an option once"),
        ("429:colour=red", "colour: not an option of '429'"),
        ("reset:retry-after=1", "retry-after: not an option of 'reset'"),
    ],
)
def test_what_is_no_spec(spec: str, message: str) -> None:
    with pytest.raises(InvalidFaultError) as refused:
        parse_fault(spec)

    assert message in str(refused.value)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused(spec: str) -> None:
    with suppress(InvalidFaultError):
        assert 0 <= parse_fault(spec).probability <= 1


def statuses(rules: list[str], *, requests: int, seed: int = 1, path: str = QUEUE) -> list[int | None]:
    faults = Faults([parse_fault(rule) for rule in rules], random=random.Random(seed).random)
    hits = [faults.hit(path) for _ in range(requests)]
    return [hit.status if hit is not None else None for hit in hits]


def test_the_first_rule_that_hits_wins() -> None:
    assert statuses(["429:times=1", "503:times=2"], requests=4) == [429, 503, 503, None]


def test_skip_and_times_bound_an_outage() -> None:
    assert statuses(["503:skip=2:times=3"], requests=7) == [None, None, 503, 503, 503, None, None]


def test_probability_and_seed() -> None:
    first = statuses(["429:0.1"], requests=2000)

    assert first == statuses(["429:0.1"], requests=2000)
    assert first != statuses(["429:0.1"], requests=2000, seed=2)
    assert 150 < first.count(429) < 250
    assert statuses(["429:0"], requests=100) == [None] * 100
    assert statuses(["429:1"], requests=100) == [429] * 100


def test_only_the_services_own_paths_are_hit_unless_told() -> None:
    assert statuses(["503"], requests=1, path="/local/stats") == [None]
    assert statuses(["503"], requests=1, path="/bc/v1/user/alias") == [503]
    assert statuses(["503:path=/local/"], requests=1, path="/local/stats") == [503]
    assert statuses(["503:path=/local/"], requests=1) == [None]


def test_delays_add_up_and_hide_nothing() -> None:
    faults = Faults([parse_fault(rule) for rule in ("slow=1", "slow=2", "drip=3", "429")], random=lambda: 0.0)

    assert faults.hit(QUEUE) == Fault.answer(429, delay=3, drip=3)
