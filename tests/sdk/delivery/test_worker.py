"""The worker, minute by minute, on a loop whose time is virtual."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import virtual_time
from support.delivery import LOST, NOBODY, OK, ScriptedTransport, Sent, Shelf, status, working

from mlsdk.delivery.outcome import Outcome, Verdict
from mlsdk.delivery.worker import EXIT_WAIT, MAX_LANES, MAX_SENDING, PATIENCE, PROBE_EVERY

Test = Callable[..., Coroutine[Any, Any, None]]


def virtual(test: Test) -> Callable[..., None]:
    """Run a coroutine test on a virtual-time loop."""

    def run() -> None:
        virtual_time.run(test)

    run.__doc__ = test.__doc__
    return run


async def hours(count: float) -> None:
    await asyncio.sleep(count * 3600)


# -- when requests begin ----------------------------------------------------------------------------------------------


@virtual
async def test_the_first_event_goes_at_once() -> None:
    async with working(transport := ScriptedTransport()) as shelf:
        await hours(1)
        began = virtual_time.now()
        shelf.put("a")
        await shelf.until_settled()
        assert [sent.at for sent in transport.sent] == [began]


@virtual
async def test_what_arrives_while_a_request_is_in_flight_gathers_for_the_next() -> None:
    async with working(transport := ScriptedTransport(latency=0.05)) as shelf:
        shelf.put("a")
        for session_id in "abcabc":
            await asyncio.sleep(0.005)
            shelf.put(session_id)
        await shelf.until_settled()
        assert transport.batches == [["a1"], ["b1", "b2", "c1", "c2", "a2", "a3"]]
        _, second = transport.starts()
        assert PATIENCE <= second <= PATIENCE * 1.1


@virtual
async def test_a_program_that_records_now_and_then_does_not_make_a_request_an_event() -> None:
    async with working(transport := ScriptedTransport(latency=0.001)) as shelf:
        for _ in range(200):
            shelf.put("a")
            await asyncio.sleep(0.005)
        await shelf.until_settled()
        assert len(transport.sent) <= 1 + 1.0 / PATIENCE


@virtual
async def test_a_process_that_ends_does_not_gather() -> None:
    async with working(transport := ScriptedTransport(latency=0.001)) as shelf:
        shelf.worker.hurry()
        for _ in range(3):
            shelf.put("a")
            await asyncio.sleep(0.01)
        await shelf.until_settled()
        assert transport.starts() == [0.0, 0.01, 0.02]


@virtual
async def test_a_full_batch_does_not_wait_for_the_one_in_flight() -> None:
    async with working(transport := ScriptedTransport(latency=0.05)) as shelf:
        shelf.put("a")
        await asyncio.sleep(0.01)
        shelf.put(*["b"] * 499)
        await asyncio.sleep(0.01)
        assert len(transport.sent) == 1
        shelf.put("c")
        await shelf.until_settled()
        assert [(len(sent.names), round(sent.at, 6)) for sent in transport.sent] == [(1, 0.0), (500, 0.02)]


@virtual
async def test_a_batch_full_of_bytes_does_not_wait_either() -> None:
    async with working(transport := ScriptedTransport(latency=0.05)) as shelf:
        shelf.put("a")
        await asyncio.sleep(0.01)
        shelf.put("b", size=600_000)
        await shelf.until_settled()
        assert transport.starts() == [0.0, 0.01]


@virtual
async def test_somebody_who_waits_is_not_kept_waiting() -> None:
    async with working(transport := ScriptedTransport(latency=0.05)) as shelf:
        shelf.put("a")
        await asyncio.sleep(0.01)
        shelf.put("b")
        await asyncio.sleep(0.01)
        shelf.hurry()
        await shelf.until_settled()
        assert transport.starts() == [0.0, 0.02]


@virtual
async def test_a_request_that_stays_silent_makes_others_gather_for_a_tenth_of_a_second_only() -> None:
    async with working(transport := ScriptedTransport(latency=20.0)) as shelf:
        shelf.put("a")
        await asyncio.sleep(0.01)
        shelf.put("b", "c")
        await asyncio.sleep(0.2)
        shelf.put("d")
        await shelf.until_settled()
        assert transport.batches == [["a1"], ["b1", "c1"], ["d1"]]
        _, second, third = transport.starts()
        assert PATIENCE <= second <= PATIENCE * 1.1
        assert third == 0.21


@virtual
async def test_several_requests_fly_but_never_two_with_a_session() -> None:
    """The transport asserts the latter for every request."""
    async with working(transport := ScriptedTransport(latency=1.0)) as shelf:
        for session_id in "abcdefghijklmnopqrst" * 3:
            shelf.put(session_id)
            shelf.hurry()
            await asyncio.sleep(0.001)
        await shelf.until_settled()
        assert transport.most_in_flight == MAX_SENDING
        assert len(shelf.delivered) == 60


@virtual
async def test_a_session_in_order_even_when_its_events_fill_many_batches() -> None:
    async with working(transport := ScriptedTransport()) as shelf:
        shelf.put(*["a"] * 1700)
        await shelf.until_settled()
        assert [len(batch) for batch in transport.batches] == [500, 500, 500, 200]
        assert shelf.delivered == [f"a{number}" for number in range(1, 1701)]


@virtual
async def test_batches_in_back_off_leave_the_connections_to_others() -> None:
    stuck = set("abcdefgh")
    transport = ScriptedTransport(lambda sent: status(503) if sent.sessions & stuck else OK)
    async with working(transport) as shelf:
        for session_id in sorted(stuck):
            shelf.put(session_id)
            shelf.hurry()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)
        shelf.put("x")
        began = virtual_time.now()
        await shelf.until_settled("x1", seconds=1)
        assert virtual_time.now() - began < PATIENCE * 1.1 + 0.1


@virtual
async def test_no_more_than_16_batches_are_on_their_way() -> None:
    async with working(transport := ScriptedTransport(lambda _: status(503))) as shelf:
        for number in range(40):
            shelf.put(chr(ord("A") + number))
            shelf.hurry()
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert len({tuple(sent.names) for sent in transport.sent}) == MAX_LANES


@virtual
async def test_waiting_costs_nothing() -> None:
    """Neither a refused key nor lanes that are all taken make the loop run round and round."""
    for answer in (status(503), status(403)):
        async with working(ScriptedTransport(lambda _, answer=answer: answer)) as shelf:  # type: ignore[misc]
            for number in range(40):
                shelf.put(chr(ord("A") + number))
                shelf.hurry()
            await hours(1)
            looks = shelf.looks
            await hours(1)
            assert shelf.looks - looks < 3600


# -- trying again -----------------------------------------------------------------------------------------------------


@virtual
async def test_a_frozen_batch_keeps_its_body_and_its_key_from_try_to_try() -> None:
    answers = [LOST, status(503), NOBODY, status(429), status(500), status(408), status(425), OK]
    async with working(transport := ScriptedTransport(answers)) as shelf:
        shelf.put("a", "a", "b")
        await asyncio.sleep(0.001)
        shelf.put("a", "b")  # what comes later does not join it
        await shelf.until_settled()
        assert len({(sent.body, sent.key) for sent in transport.sent[:8]}) == 1
        assert transport.sent[0].names == ["a1", "a2", "b1"]
        assert transport.sent[8].key != transport.sent[0].key
        assert transport.batches[8:] == [["a3", "b2"]]


@virtual
async def test_the_back_off_doubles_to_10_seconds_and_is_tried_for_ever() -> None:
    async with working(transport := ScriptedTransport(lambda _: NOBODY, latency=0)) as shelf:
        shelf.put("a")
        await hours(10)
        starts = transport.starts()
        waits = [round(after - before, 6) for before, after in pairwise(starts)]
        assert waits[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
        assert set(waits[8:]) == {10.0}
        assert len(starts) > 3500
        transport._answer = lambda _: OK
        await shelf.until_settled(seconds=11)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=30)
def test_the_jitter_is_full(numbers: list[float]) -> None:
    async def main() -> None:
        script = iter(numbers)
        transport = ScriptedTransport([status(503)] * len(numbers), latency=0)
        async with working(transport, jitter=lambda: next(script)) as shelf:
            shelf.put("a")
            await shelf.until_settled()
            waits = [after - before for before, after in pairwise(sent.at for sent in transport.sent)]
            bounds = [min(10.0, 0.5 * 2**failures) for failures in range(len(numbers))]
            expected = [bound * number for bound, number in zip(bounds, numbers, strict=True)]
            assert waits == pytest.approx(expected, abs=1e-6)

    virtual_time.run(main)


@virtual
async def test_the_back_off_begins_anew_with_each_batch() -> None:
    answers = [status(503)] * 6 + [OK, status(503), OK]
    async with working(transport := ScriptedTransport(answers, latency=0)) as shelf:
        shelf.put("a")
        await shelf.until_settled()
        shelf.put("a")
        await shelf.until_settled()
        assert transport.sent[-1].at - transport.sent[-2].at == pytest.approx(0.5)


@virtual
async def test_retry_after_is_obeyed_by_every_lane() -> None:
    def answer(sent: Sent) -> Outcome:
        return status(429, after=40) if sent.names == ["a1"] and virtual_time.now() < 40 else OK

    async with working(transport := ScriptedTransport(answer)) as shelf:
        shelf.put("a")
        await asyncio.sleep(1)
        for session_id in "bcdefghijk":
            shelf.put(session_id)
            shelf.hurry()
            await asyncio.sleep(0.2)
        await shelf.until_settled()
        assert transport.sent[0].at == 0
        assert all(sent.at >= 40.0 for sent in transport.sent[1:])
        assert shelf.settled_at["k1"] < 42


@virtual
async def test_retry_after_of_any_refusal_counts_and_the_longest_wins() -> None:
    def answer(sent: Sent) -> Outcome:
        if virtual_time.now() < 100:
            return status(503, after=100) if sent.names == ["a1"] else status(503, after=5)
        return OK

    async with working(transport := ScriptedTransport(answer, latency=1)) as shelf:
        shelf.put("a")
        await asyncio.sleep(0.5)
        shelf.put("b")
        shelf.hurry()
        await shelf.until_settled()
        assert transport.starts()[:2] == [0.0, 0.5]
        assert all(sent.at >= 101 for sent in transport.sent[2:])
        assert shelf.worker.last_answer() >= 1101


@virtual
async def test_retry_after_with_a_2xx_delays_nobody() -> None:
    async with working(transport := ScriptedTransport([status(202, after=100)])) as shelf:
        shelf.put("a")
        await shelf.until_settled()
        shelf.put("a")
        await shelf.until_settled(seconds=1)
        assert len(transport.sent) == 2


@virtual
async def test_a_process_that_ends_waits_no_longer_than_a_moment_between_tries() -> None:
    async with working(transport := ScriptedTransport(lambda _: LOST, latency=0)) as shelf:
        shelf.put("a")
        await asyncio.sleep(100)
        tries = len(transport.sent)
        shelf.worker.hurry()
        await asyncio.sleep(0.001 + EXIT_WAIT)
        assert len(transport.sent) == tries + 1
        await asyncio.sleep(1.0)
        assert len(transport.sent) == tries + 1 + round(1.0 / EXIT_WAIT)


# -- too large --------------------------------------------------------------------------------------------------------


@virtual
async def test_413_halves_and_teaches_a_smaller_bound_for_good() -> None:
    def answer(sent: Sent) -> Outcome:
        return status(413) if len(sent.body) > 50_000 else OK

    async with working(transport := ScriptedTransport(answer)) as shelf:
        shelf.put(*["a"] * 100, size=4_000)
        await shelf.until_settled()
        assert shelf.delivered == [f"a{number}" for number in range(1, 101)]
        keys = [sent.key for sent in transport.sent]
        assert len(set(keys)) == len(keys)  # a half is another body, so it has another key
        tries = len(transport.sent)
        shelf.put(*["a"] * 100, size=4_000)
        await shelf.until_settled()
        assert all(sent.outcome is OK for sent in transport.sent[tries:])
        assert shelf.refused == {}


@virtual
async def test_one_event_that_is_too_large_is_refused_and_teaches_nothing() -> None:
    transport = ScriptedTransport(lambda sent: status(413, "too big") if len(sent.body) > 2_000 else OK)
    async with working(transport) as shelf:
        shelf.put("a")
        shelf.put("a", size=5_000)
        shelf.put("a", "b")
        await shelf.until_settled()
        assert sorted(shelf.delivered) == ["a1", "a3", "b1"]
        assert [(name, outcome.status) for name, outcome in shelf.refused.items()] == [("a2", 413)]
        bound = shelf.buffer.batch_bytes
        shelf.put("c", size=5_000)
        await shelf.until_settled()
        assert shelf.buffer.batch_bytes == bound


# -- refused ----------------------------------------------------------------------------------------------------------


def dislikes(*names: str, code: int = 400) -> Callable[[Sent], Outcome]:
    return lambda sent: status(code, "Bad Request") if set(names) & set(sent.names) else OK


@pytest.mark.parametrize("code", [400, 422])
def test_only_the_bad_event_is_refused_and_only_after_it_was_sent_bare(code: int) -> None:
    async def main() -> None:
        async with working(transport := ScriptedTransport(dislikes("a7", "b3", code=code))) as shelf:
            names = shelf.put(*"ab" * 16)
            await shelf.until_settled(seconds=5)  # no waits between the halves
            assert {name: outcome.status for name, outcome in shelf.refused.items()} == {"a7": code, "b3": code}
            assert sorted(shelf.delivered) == sorted(set(names) - {"a7", "b3"})
            for session_id in "ab":
                own = [name for name in shelf.delivered if name[0] == session_id]
                assert own == sorted(own, key=lambda name: int(name[1:]))
            for bad in ("a7", "b3"):
                assert [sent.is_bare for sent in transport.of(bad)[-2:]] == [False, True]
            keys = [sent.key for sent in transport.sent]
            assert len(set(keys)) == len(keys)
            assert sum(sent.is_bare for sent in transport.sent) == 2

    virtual_time.run(main)


@virtual
async def test_a_service_that_takes_only_bare_objects_gets_everything_and_is_remembered() -> None:
    async with working(transport := ScriptedTransport(lambda sent: OK if sent.is_bare else status(400))) as shelf:
        names = shelf.put(*"abc" * 100)
        await shelf.until_settled(seconds=60)
        assert sorted(shelf.delivered) == sorted(names)
        arrays = [sent for sent in transport.sent if not sent.is_bare]
        assert len(arrays) < 12  # down to the first event; then it was known
        shelf.put(*"abc" * 100)
        await shelf.until_settled(seconds=60)
        assert [sent for sent in transport.sent if not sent.is_bare] == arrays
        assert len(shelf.delivered) == 600
        assert shelf.refused == {}


@virtual
async def test_one_event_that_goes_only_bare_teaches_nothing_where_arrays_work() -> None:
    def answer(sent: Sent) -> Outcome:
        return status(400) if "a2" in sent.names and not sent.is_bare else OK

    async with working(transport := ScriptedTransport(answer)) as shelf:
        shelf.put("a", "a", "a")
        await shelf.until_settled()
        shelf.put("a", "a", "a")
        await shelf.until_settled()
        assert len(shelf.delivered) == 6
        assert transport.batches[-1] == ["a4", "a5", "a6"]


# -- server errors ----------------------------------------------------------------------------------------------------


@virtual
async def test_500_is_tried_5_times_and_then_halved_down_to_the_poison() -> None:
    async with working(transport := ScriptedTransport(dislikes("b1", code=500))) as shelf:
        shelf.put(*"abcdefgh")
        await shelf.until_settled()
        assert {name: outcome.status for name, outcome in shelf.refused.items()} == {"b1": 500}
        assert sorted(shelf.delivered) == ["a1", "c1", "d1", "e1", "f1", "g1", "h1"]
        sizes = [len(sent.names) for sent in transport.of("b1")]
        assert sizes == [8] * 5 + [4, 2] + [1] * 10
        assert len({sent.key for sent in transport.of("b1") if len(sent.names) == 8}) == 1


@virtual
async def test_poison_does_not_delay_other_sessions_of_its_batch() -> None:
    async with working(transport := ScriptedTransport(dislikes("b1", code=500))) as shelf:
        shelf.put(*"abcdefgh", "b", "c")
        await shelf.until_settled(*[f"{session_id}1" for session_id in "acdefgh"], "c2", seconds=10)
        assert shelf.refused == {}
        began = virtual_time.now()
        shelf.put("c", "h")
        await shelf.until_settled("c3", "h2", seconds=1)
        assert virtual_time.now() - began < 0.1
        await shelf.until_settled()
        # Order is kept within the session of the poison.
        assert shelf.settled_at["b2"] > shelf.settled_at["b1"] > 30
        assert shelf.refused.keys() == {"b1"}
        assert transport.most_in_flight <= 2


@virtual
async def test_one_event_alone_is_not_refused_while_nothing_else_gets_through() -> None:
    async with working(transport := ScriptedTransport(dislikes("a1", code=500))) as shelf:
        shelf.put("a")
        await hours(1)
        assert len(transport.of("a1")) > 300
        assert shelf.refused == {}
        shelf.put("b")
        await shelf.until_settled(seconds=11)
        assert shelf.refused.keys() == {"a1"}


@virtual
async def test_no_event_is_taken_for_poison_for_what_a_broken_machine_says() -> None:
    """A kept-alive connection may end at the one machine of a service that is broken, while others get through."""
    broken_until = 30.0

    def answer(sent: Sent) -> Outcome:
        is_broken = sent.sessions & set("abcd") and virtual_time.now() < broken_until
        return status(500) if is_broken else OK

    transport = ScriptedTransport(answer)
    async with working(transport, jitter=lambda: 0.5) as shelf:
        shelf.put(*"abcd" * 8)
        while virtual_time.now() < 40:
            shelf.put("x")
            await asyncio.sleep(0.5)
        await shelf.until_settled()
        assert shelf.refused == {}


@virtual
async def test_an_outage_before_a_server_error_does_not_count_against_an_event() -> None:
    script = iter([*[NOBODY] * 50, *[status(500)] * 9, OK])
    transport = ScriptedTransport(lambda sent: next(script) if "a1" in sent.names else OK)
    async with working(transport) as shelf:
        shelf.put("a")
        while "a1" not in shelf.settled_at:
            shelf.put("b")
            await asyncio.sleep(3)
        assert "a1" in shelf.delivered
        assert len(transport.of("a1")) == 60


@virtual
async def test_a_success_while_the_last_try_was_on_its_way_does_not_condemn() -> None:
    """When a service recovers, an answer from before may be the last to arrive."""
    is_well = False

    async def answer(sent: Sent) -> Outcome:
        was_well = is_well
        if sent.sessions == {"a"}:
            await asyncio.sleep(3)
        return OK if was_well else status(500)

    async with working(transport := ScriptedTransport(answer)) as shelf:
        shelf.put("a")
        await transport.until(lambda: len(transport.of("a1")) == 12)
        is_well = True
        shelf.put("b")
        await shelf.until_settled()
        assert sorted(shelf.delivered) == ["a1", "b1"]


@virtual
async def test_500_for_everything_is_not_answered_by_a_storm() -> None:
    async with working(transport := ScriptedTransport([OK, *[status(500)] * 10_000])) as shelf:
        shelf.put("z")
        await shelf.until_settled()
        for number in range(500):
            shelf.put(chr(ord("A") + number % 60), chr(0x400 + number))
        await hours(0.1)
        # Each lane looks once for one bad event, and then tries at most as often as its back-off has it.
        in_a_second = Counter(int(sent.at) for sent in transport.sent)
        assert max(in_a_second.values()) <= MAX_LANES * 12
        assert max(count for second, count in in_a_second.items() if second > 60) <= MAX_LANES
        assert len(transport.sent) < 360 / 10 * MAX_LANES * 1.2
        assert shelf.refused == {}


# -- a key that is refused --------------------------------------------------------------------------------------------


@virtual
async def test_a_refused_key_is_told_once_and_asked_about_once_a_minute_with_no_events() -> None:
    def answer(_: Sent) -> Outcome:
        return status(403, "no organization") if virtual_time.now() < 600 else OK

    async with working(transport := ScriptedTransport(answer, latency=0)) as shelf:
        shelf.put("a", "b")
        await asyncio.sleep(30)
        shelf.put("a", "c", "c")
        shelf.hurry()
        await asyncio.sleep(500)
        assert shelf.allowed == [(0.0, False, 403)]
        assert len(transport.batches) == 1  # what came first; from then on nothing
        assert [sent.at for sent in transport.probes] == [PROBE_EVERY * number for number in range(9)]
        assert {sent.body for sent in transport.probes} == {b"[]"}
        await shelf.until_settled()
        assert shelf.allowed == [(0.0, False, 403), (600.0, True, 403)]
        assert virtual_time.now() < 601
        assert sorted(shelf.delivered) == ["a1", "a2", "b1", "c1", "c2"]
        assert shelf.refused == {}
        frozen = transport.of("a1")
        assert len({(sent.key, sent.body) for sent in frozen}) == 1


@pytest.mark.parametrize("code", [301, 302, 308, 401, 402, 404, 405, 407, 410])
def test_what_says_nothing_against_an_event_holds_as_a_refused_key_does(code: int) -> None:
    async def main() -> None:
        transport = ScriptedTransport(lambda _: status(code) if virtual_time.now() < 100 else OK)
        async with working(transport) as shelf:
            shelf.put("a", "b")
            await asyncio.sleep(90)
            assert [(is_allowed, seen) for _, is_allowed, seen in shelf.allowed] == [(False, code)]
            await shelf.until_settled(seconds=60)
            assert shelf.refused == {}

    virtual_time.run(main)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_firewall_that_dislikes_one_text_does_not_stop_the_rest(code: int) -> None:
    """Right after a 2xx, and while an array of no events is taken, it is as a 400."""

    async def main() -> None:
        for is_first in (True, False):
            transport = ScriptedTransport(dislikes("a3", code=code))
            async with working(transport) as shelf:
                if not is_first:
                    shelf.put("z")
                    await shelf.until_settled()
                shelf.put(*"ab" * 8)
                await shelf.until_settled(seconds=5)
                assert {name: outcome.status for name, outcome in shelf.refused.items()} == {"a3": code}
                assert shelf.allowed == []
                assert len(shelf.delivered) == 15 + (not is_first)
                # It was given up only after the key was seen to be good.
                assert transport.sent[transport.sent.index(transport.of("a3")[-1]) + 1] in transport.probes

    virtual_time.run(main)


@virtual
async def test_a_probe_that_is_refused_for_being_empty_has_passed() -> None:
    def answer(sent: Sent) -> Outcome:
        return status(403) if "a1" in sent.names else OK if sent.names else status(400, "empty")

    async with working(ScriptedTransport(answer)) as shelf:
        shelf.put("a", "b")
        await shelf.until_settled(seconds=5)
        assert (shelf.delivered, list(shelf.refused), shelf.allowed) == (["b1"], ["a1"], [])


@virtual
async def test_no_event_is_lost_for_a_key_that_is_revoked_midway() -> None:
    revoked = range(5, 400)

    def answer(sent: Sent) -> Outcome:
        return status(401) if int(virtual_time.now()) in revoked else OK

    async with working(ScriptedTransport(answer, latency=0.3)) as shelf:
        names = []
        while virtual_time.now() < 20:
            names += shelf.put(*"abcdefghij")
            if int(virtual_time.now()) % 3 == 0:
                shelf.hurry()
            await asyncio.sleep(0.07)
        await shelf.until_settled()
        assert shelf.refused == {}
        assert Counter(shelf.delivered) == Counter(names)
        assert [is_allowed for _, is_allowed, _ in shelf.allowed] == [False, True]


@virtual
async def test_a_hold_that_begins_while_others_wait_their_turn_keeps_them_too() -> None:
    def answer(sent: Sent) -> Outcome:
        return status(403, after=30) if virtual_time.now() < 200 else OK

    async with working(transport := ScriptedTransport(answer)) as shelf:
        for session_id in "abcdefghijkl":
            shelf.put(session_id)
            shelf.hurry()
            await asyncio.sleep(0.001)
        await asyncio.sleep(150)
        assert len(transport.batches) <= MAX_SENDING
        # A probe leaves the service alone for as long as it asked, too.
        assert all(sent.at >= 30 for sent in transport.probes)
        await shelf.until_settled()
        assert len(shelf.delivered) == 12


@virtual
async def test_a_service_that_goes_away_during_a_hold_is_found_again() -> None:
    def answer(_: Sent) -> Outcome:
        now = virtual_time.now()
        return status(403) if now < 50 else NOBODY if now < 300 else status(403) if now < 400 else OK

    async with working(ScriptedTransport(answer)) as shelf:
        shelf.put("a")
        await shelf.until_settled()
        assert [is_allowed for _, is_allowed, _ in shelf.allowed] == [False, True]
        assert [is_reachable for _, is_reachable in shelf.reachable] == [False, True]
        assert virtual_time.now() < 300 + 10 + 2 * PROBE_EVERY


# -- outages ----------------------------------------------------------------------------------------------------------


@virtual
async def test_an_outage_begins_and_ends_once_however_many_lanes_see_it() -> None:
    def answer(_: Sent) -> Outcome:
        return NOBODY if 10 <= virtual_time.now() < 300 else OK

    async with working(ScriptedTransport(answer)) as shelf:
        while virtual_time.now() < 320:
            shelf.put(*"abcdef")
            await asyncio.sleep(1.7)
        await shelf.until_settled()
        assert [is_reachable for _, is_reachable in shelf.reachable] == [False, True]
        assert 10 <= shelf.reachable[0][0] < 12
        assert 300 <= shelf.reachable[1][0] < 311
        assert shelf.refused == {}


# -- mistakes of our own ----------------------------------------------------------------------------------------------


class Mistake(Exception):  # noqa: N818
    pass


@virtual
async def test_a_transport_that_raises_loses_no_event() -> None:
    def answer(sent: Sent) -> Outcome:
        if sent.number < 4:
            raise Mistake
        return OK

    async with working(transport := ScriptedTransport(answer)) as shelf:
        shelf.put("a", "b")
        await shelf.until_settled(seconds=5)
        assert shelf.delivered == ["a1", "b1"]
        assert len({sent.key for sent in transport.sent}) == 1


@pytest.mark.parametrize("method", ["settle", "cut", "jitter", "key"])
def test_a_mistake_in_the_middle_of_a_lane_loses_no_event(
    method: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "-".join(["canary", "text"])
    left = [True] * 2

    def mistake_in(name: str) -> None:
        if name == method and left:
            left.pop()
            raise Mistake(secret)

    def jitter() -> float:
        mistake_in("jitter")
        return 1.0

    async def main() -> None:
        answers = [status(503)] * 2
        async with working(ScriptedTransport(answers), jitter=jitter, mistake_in=mistake_in) as shelf:
            new_key = shelf.worker._new_key

            def key() -> str:
                mistake_in("key")
                return new_key()

            monkeypatch.setattr(shelf.worker, "_new_key", key)
            names = shelf.put("a", "b", "a")
            await shelf.until_settled(seconds=60)
            names += shelf.put("a")
            await shelf.until_settled(seconds=60)
            assert sorted(shelf.delivered) == sorted(names)
            assert left == []

    with caplog.at_level(logging.DEBUG, logger="mlsdk"):
        virtual_time.run(main)
    # Once a minute, with the place, and without what the exception says.
    (record,) = [each for each in caplog.records if each.levelno > logging.DEBUG]
    assert "Mistake" in record.message
    assert "test_worker.py" in record.message
    assert secret not in caplog.text


@virtual
async def test_a_worker_that_is_stopped_leaves_nothing_behind() -> None:
    async def never(_: Sent) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    before = asyncio.all_tasks()
    async with working(ScriptedTransport(never)) as shelf:
        for session_id in "abc":
            shelf.put(session_id)
            shelf.hurry()
            await asyncio.sleep(1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# -- everything at once -----------------------------------------------------------------------------------------------

STATUSES = [200, 200, 200, 400, 401, 403, 404, 408, 413, 422, 429, 500, 500, 502, 503, 504, 302]


class Service:
    """Takes events as a script says, and at last takes everything that is not wrong in itself."""

    def __init__(self, script: list[tuple[int, bool]], bad: set[str], largest: int) -> None:
        self._script = iter(script)
        self._bad = bad
        self._largest = largest
        self.processed: list[str] = []
        self.keys: dict[str, bytes] = {}
        self.was_lost = False

    def answer(self, sent: Sent) -> Outcome:
        if sent.names:
            assert self.keys.setdefault(sent.key, sent.body) == sent.body, "one key, one body"
        code, is_processed = next(self._script, (200, True))
        if self._bad & set(sent.names):
            return status(400)
        if len(sent.names) > self._largest:
            return status(413)
        if code == 200 or (code < 0 and is_processed):
            self.processed += sent.names
        if code < 0:
            self.was_lost |= is_processed
            return LOST
        return status(code)


@given(
    steps=st.lists(
        st.one_of(
            st.text(alphabet="abcde", min_size=1, max_size=30),
            st.floats(0, 0.3),
            st.just("hurry"),
        ),
        min_size=1,
        max_size=25,
    ),
    script=st.lists(st.tuples(st.sampled_from([*STATUSES, -1, -1]), st.booleans()), max_size=60),
    bad=st.sets(st.sampled_from(["a1", "a3", "b2", "c5", "e1"])),
    largest=st.sampled_from([1, 3, 500]),
    latency=st.sampled_from([0.0, 0.01, 0.2]),
)
@settings(max_examples=250)
def test_whatever_happens_each_event_arrives_in_order_or_is_counted(
    steps: list[str | float], script: list[tuple[int, bool]], bad: set[str], largest: int, latency: float
) -> None:
    """At least once, in the order of first arrivals within a session; once if no answer was lost. Or refused."""
    service = Service(script, bad, largest)
    accepted: list[str] = []

    async def main() -> Shelf:
        transport = ScriptedTransport(service.answer, latency=latency)
        async with working(transport) as shelf:
            for step in steps:
                if step == "hurry":
                    shelf.hurry()
                elif isinstance(step, str):
                    accepted.extend(shelf.put(*step))
                else:
                    await asyncio.sleep(step)
            await shelf.until_settled()
            return shelf

    shelf = virtual_time.run(main)
    first_arrivals = list(dict.fromkeys(service.processed))
    for session_id in "abcde":
        arrived = [name for name in first_arrivals if name[0] == session_id]
        assert arrived == sorted(arrived, key=lambda name: int(name[1:]))
    assert sorted(shelf.delivered + list(shelf.refused)) == sorted(accepted)
    assert set(first_arrivals) >= set(shelf.delivered)
    assert not set(first_arrivals) & bad
    if not service.was_lost:
        assert sorted(service.processed) == sorted(shelf.delivered)
    # Nobody is refused for what is not its own fault, but by the rules: a bare 400, or a 413 alone, of the script.
    blamed = {status(code).verdict for code, _ in script} & {Verdict.REFUSED, Verdict.TOO_LARGE, Verdict.NOT_ALLOWED}
    if not (blamed or bad):
        assert shelf.refused == {}
    stats = shelf.buffer.stats()
    assert (stats["accepted"], stats["queued"]) == (len(accepted), 0)
    assert stats["delivered"] == len(shelf.delivered)
    assert json.dumps(stats)
