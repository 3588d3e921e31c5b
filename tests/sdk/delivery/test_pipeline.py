"""The door to delivery: by script in virtual time, and against the local service with real threads."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from support import virtual_time
from support.delivery import NOBODY, OK, ScriptedTransport, Sent, status
from support.home import KEY, PATIENCE, Here, config, delivering, delivering_to

from mlsdk import events
from mlsdk.config import Config, resolve
from mlsdk.delivery.buffer import Stats
from mlsdk.delivery.outcome import Outcome
from mlsdk.delivery.pipeline import Delivery, delivery_for
from mlsdk.errors import ConfigurationError, DeliveryError
from mlsdk.events import Event
from mlsdk.local import Fault, LocalMindlytics
from mlsdk.local.state import RequestInfo

_numbers = itertools.count(1)


def event(session_id: str = "a", text: str = "") -> Event:
    """A turn; its name in scripts is the session's with a number that never comes again."""
    who = events.common(session_id=session_id, user_id="u")
    return events.turn(who, next(_numbers), conversation_id="c", user=text, assistant="")


def start(session_id: str = "a") -> Event:
    return events.start_session(events.common(session_id=session_id, user_id="u"), next(_numbers))


def end(session_id: str = "a") -> Event:
    return events.end_session(events.common(session_id=session_id, user_id="u"), next(_numbers))


class Observer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.errors: list[DeliveryError] = []

    def report(self, error: DeliveryError) -> None:
        self.errors.append(error)

    @property
    def statuses(self) -> list[tuple[int, bool]]:
        return [(error.status, error.retryable) for error in self.errors]


def adds_up(stats: Stats) -> bool:
    held = stats["delivered"] + stats["queued"] + stats["spooled"] + stats["handed_over"]
    return stats["accepted"] + stats["recovered"] == held + sum(stats["dropped"].values())


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        virtual_time.run(test)

    run.__doc__ = test.__doc__
    return run


def virtual_with_log(
    test: Callable[[pytest.LogCaptureFixture], Coroutine[Any, Any, None]],
) -> Callable[[pytest.LogCaptureFixture], None]:
    def run(caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="mlsdk"):
            virtual_time.run(lambda: test(caplog))

    run.__doc__ = test.__doc__
    return run


def news(log: pytest.LogCaptureFixture) -> list[str]:
    """What the log says to everybody, whatever else it says to who debugs."""
    return [record.getMessage() for record in log.records if record.levelno > logging.DEBUG]


class Script(ScriptedTransport):
    """Answers by the sessions that a request holds, so that a test can say which of them are in trouble."""

    def __init__(self, **trouble: Outcome) -> None:
        super().__init__(self._judge)
        self.trouble = trouble
        self.everywhere: Outcome | None = None

    def _judge(self, sent: Sent) -> Outcome:
        if self.everywhere is not None:
            return self.everywhere
        return next((outcome for name, outcome in self.trouble.items() if f'"{name}"'.encode() in sent.body), OK)


@pytest.fixture(autouse=True)
def names_of_wire_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted transport looks for names; wire events have a session and a moment."""

    def names(self: Sent) -> list[str]:
        import json

        content = json.loads(self.body)
        found = [content] if isinstance(content, dict) else content
        return [f"{each['session_id']}{each['timestamp']}" for each in found]

    monkeypatch.setattr(Sent, "names", property(names))


# -- waiting ----------------------------------------------------------------------------------------------------------


@virtual
async def test_with_nothing_offered_everything_is_settled() -> None:
    async with delivering(Script()) as delivery:
        for future in (delivery.settled(), delivery.settled(["a"]), delivery.settled([])):
            assert future.done()
            assert future.result() is True


@virtual
async def test_settled_when_delivered() -> None:
    async with delivering(Script()) as delivery:
        delivery.offer(event())
        future = delivery.settled(["a"])
        assert not future.done()
        assert await asyncio.wrap_future(future) is True
        assert delivery.stats()["delivered"] == 1


@virtual
async def test_settled_when_refused_or_dropped() -> None:
    async with delivering(Script(a=status(400)), queue_events=2) as delivery:
        delivery.offer(event("a"))
        delivery.offer(event("b"))
        a, b = delivery.settled(["a"]), delivery.settled(["b"])
        delivery.offer(start("c"))  # takes the place of b's
        assert b.done()
        assert await asyncio.wrap_future(a) is True
        assert delivery.stats()["dropped"] == {"queue_full": 1, "refused": 1}


@virtual
async def test_another_sessions_trouble_neither_delays_nor_completes_a_wait() -> None:
    for trouble in (status(503), status(500), status(429), NOBODY):
        transport = Script(a=trouble)
        async with delivering(transport) as delivery:
            delivery.offer(event("a"))
            await asyncio.sleep(0.2)
            delivery.offer(event("b"))
            both, a, b = (delivery.settled(each) for each in (None, ["a"], ["b"]))
            began = virtual_time.now()
            assert await asyncio.wrap_future(b) is True
            assert virtual_time.now() - began < 0.1
            await asyncio.sleep(3)  # not long enough for poison to be told from an outage
            assert not a.done()
            assert not both.done()
            transport.trouble.clear()
            assert await asyncio.wrap_future(both) is True
            assert a.done()


@virtual
async def test_a_wait_is_for_what_was_offered_before_it() -> None:
    transport = Script()
    async with delivering(transport) as delivery:
        delivery.offer(event("a"))
        future = delivery.settled()
        await asyncio.sleep(0.001)
        transport.trouble["a"] = OK
        first_answered = asyncio.wrap_future(future)
        while not future.done():
            delivery.offer(event("a"))
            await asyncio.sleep(0.001)
        assert await first_answered is True
        assert delivery.stats()["queued"] > 0
        await asyncio.wrap_future(delivery.settled())


@virtual
async def test_a_waiter_who_gives_up_disturbs_nobody() -> None:
    async with delivering(Script()) as delivery:
        delivery.offer(event("a"))
        future = delivery.settled(["a", "a", "unknown"])
        assert not future.cancel()
        assert await asyncio.wrap_future(future) is True


@virtual
async def test_a_wait_makes_requests_begin_and_so_do_events_that_its_own_request_held_up() -> None:
    transport = Script()
    transport.latency = 0.05
    async with delivering(transport) as delivery:
        delivery.offer(event("a"))
        await asyncio.sleep(0.01)
        delivery.offer(event("b"))
        await asyncio.sleep(0.01)
        await asyncio.wait({asyncio.wrap_future(delivery.settled(["b"]))})
        assert transport.starts() == [0.0, 0.02]
    transport = Script()
    transport.latency = 0.05
    async with delivering(transport) as delivery:
        began = virtual_time.now()
        delivery.offer(event("a"))
        await asyncio.sleep(0.01)
        delivery.offer(event("a"))  # has to wait for the first
        future = delivery.settled(["a"])
        await asyncio.sleep(0.03)
        delivery.offer(event("b"))  # begins beside it, since somebody waits
        await asyncio.sleep(0.005)
        for session_id in "cdef":
            delivery.offer(event(session_id))
        await asyncio.wrap_future(future)
        # Not held up by the young request of b.
        assert round(virtual_time.now() - began, 3) == 0.1


@virtual
async def test_a_session_on_hold_waits_and_then_goes() -> None:
    transport = Script()
    async with delivering(transport) as delivery:
        delivery.hold("a")
        delivery.offer(event("a"))
        delivery.offer(event("b"))
        future = delivery.settled(["a"])
        await asyncio.wrap_future(delivery.settled(["b"]))
        await asyncio.sleep(100)
        assert not future.done()
        delivery.let_go("a")
        began = virtual_time.now()
        assert await asyncio.wrap_future(future) is True
        assert virtual_time.now() - began < 0.1
        delivery.let_go("never held")


@virtual
async def test_no_wait_while_the_key_is_refused() -> None:
    transport = Script()
    transport.everywhere = status(403, "no organization")
    async with delivering(transport) as delivery:
        delivery.offer(event("a"))
        before = delivery.settled(["a"])
        await asyncio.sleep(1)
        assert before.done()
        assert before.result() is False
        delivery.offer(event("b"))
        for sessions in (None, ["a"], ["b"]):
            future = delivery.settled(sessions)
            assert future.done()
            assert future.result() is False
        assert delivery.is_drained()  # exit does not wait either
        assert delivery.left_over() == 2
        transport.everywhere = None
        await asyncio.sleep(61)
        assert delivery.stats()["delivered"] == 2
        assert delivery.settled().result() is True


# -- who is told ------------------------------------------------------------------------------------------------------


@virtual
async def test_each_refused_event_is_told_to_its_own_observer() -> None:
    one, other = Observer(), Observer()
    async with delivering(Script(bad=status(400, "Invalid wire type"))) as delivery:
        for session_id, observer in (("bad", one), ("good", other), ("bad", one)):
            delivery.offer(event(session_id), observer=observer)
        await asyncio.wrap_future(delivery.settled())
        assert [(error.status, error.message, error.retryable) for error in one.errors] == [
            (400, "Invalid wire type", False)
        ] * 2
        assert other.errors == []


@virtual
async def test_each_dropped_event_is_told_to_its_own_observer() -> None:
    evicted, arriving = Observer(), Observer()
    settled: list[tuple[str, bool]] = []
    async with delivering(Script(), queue_events=2) as delivery:
        delivery.offer(event("a"), observer=evicted, on_settled=lambda good: settled.append(("evicted", good)))
        delivery.offer(start("b"))
        delivery.offer(end("b"), on_settled=lambda good: settled.append(("end", good)))
        delivery.offer(event("c"), observer=arriving, on_settled=lambda good: settled.append(("arriving", good)))
        assert evicted.statuses == arriving.statuses == [(-1, False)]
        assert "queue is full" in evicted.errors[0].message
        await asyncio.wrap_future(delivery.settled())
        assert settled == [("evicted", False), ("arriving", False), ("end", True)]
        assert delivery.stats() == {
            "accepted": 4,
            "recovered": 0,
            "delivered": 2,
            "queued": 0,
            "spooled": 0,
            "handed_over": 0,
            "dropped": {"queue_full": 2},
        }


@virtual_with_log
async def test_an_outage_is_told_once_to_each_session_and_logged_when_it_begins_and_ends(
    log: pytest.LogCaptureFixture,
) -> None:
    here, late, gone = Observer(), Observer(), Observer()
    transport = Script()
    async with delivering(transport) as delivery:
        delivery.offer(event("gone"), observer=gone)
        await asyncio.wrap_future(delivery.settled())
        for outcomes in ([NOBODY, status(503)], [status(502, "Bad Gateway")]):
            for observer in (here, late):
                observer.errors.clear()
            log.clear()
            for outcome in outcomes:
                transport.everywhere = outcome
                for session_id, observer in (("here", here), ("here", here)):
                    delivery.offer(event(session_id), observer=observer)
                await asyncio.sleep(50)
                delivery.offer(event("late"), observer=late)
                delivery.offer(event("late"), observer=late)
                await asyncio.sleep(50)
            transport.everywhere = None
            await asyncio.wrap_future(delivery.settled())
            assert here.statuses == late.statuses == [(outcomes[0].status, True)]
            begin, finish = news(log)
            assert "cannot be reached" in begin
            assert "tried again: 2" in begin
            assert "is reached again" in finish
        assert gone.errors == []
        delivery.offer(event("here"), observer=here)
        assert len(here.errors) == 1


@virtual_with_log
async def test_a_refused_key_is_told_once_and_logged_once(log: pytest.LogCaptureFixture) -> None:
    here, late = Observer(), Observer()
    transport = Script()
    transport.everywhere = status(403, "No organization found for given apikey")
    async with delivering(transport) as delivery:
        delivery.offer(event("here"), observer=here)
        await asyncio.sleep(200)
        delivery.offer(event("here"), observer=here)
        delivery.offer(event("late"), observer=late)
        await asyncio.sleep(200)
        for observer in (here, late):
            ((code, is_retryable),) = observer.statuses
            assert (code, is_retryable) == (403, True)
            assert observer.errors[0].message == "No organization found for given apikey"
        (line,) = news(log)
        assert "key" in line
        assert "403" in line
        transport.everywhere = None
        await asyncio.sleep(61)
        assert len(news(log)) == 2
        assert delivery.stats()["delivered"] == 3


@virtual
async def test_a_refusal_is_in_the_log_before_anybody_stops_waiting_for_it() -> None:
    """Whoever stops may be the process itself, which then says what it loses; nothing is logged after that."""
    transport = Script()
    transport.everywhere = status(403)
    drained: list[bool] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            drained.append(delivery.is_drained())

    log, asking = logging.getLogger("mlsdk.delivery.pipeline"), Asking()
    log.addHandler(asking)
    try:
        async with delivering(transport) as delivery:
            delivery.offer(event("a"))
            await asyncio.sleep(1)
            assert delivery.is_drained()
    finally:
        log.removeHandler(asking)
    assert drained == [False]


@virtual_with_log
async def test_an_outage_during_a_refusal_ends_neither_of_them_early(log: pytest.LogCaptureFixture) -> None:
    here, late = Observer(), Observer()
    transport = Script()
    async with delivering(transport) as delivery:
        transport.everywhere = status(401)
        delivery.offer(event("here"), observer=here)
        await asyncio.sleep(10)
        transport.everywhere = NOBODY
        await asyncio.sleep(100)
        transport.everywhere = status(401)
        await asyncio.sleep(30)
        assert here.statuses == [(401, True), (-1, True)]
        delivery.offer(event("late"), observer=late)
        assert late.statuses == [(401, True)]
        assert delivery.settled().result() is False
        assert delivery.is_in_trouble
        transport.everywhere = None
        await asyncio.sleep(61)
        assert delivery.stats()["delivered"] == 2
        assert not delivery.is_in_trouble
        assert len(news(log)) == 4
        assert here.statuses == [(401, True), (-1, True)]


@pytest.mark.parametrize("outcome", [status(302), status(404), status(405), status(415)])
def test_the_log_says_what_is_refused(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        transport = Script()
        transport.everywhere = outcome
        async with delivering(transport) as delivery:
            delivery.offer(event())
            await asyncio.sleep(1)

    virtual_time.run(main)
    (record,) = caplog.records
    assert str(outcome.status) in record.getMessage()
    assert ("every request" if outcome.status == 415 else "the address") in record.getMessage()


@virtual_with_log
async def test_no_record_of_any_level_holds_a_text_a_key_or_a_header(log: pytest.LogCaptureFixture) -> None:
    canary = "canary-text"
    calls = 0

    async def answer(sent: Sent) -> Outcome:
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            raise ValueError(f"{canary} Authorization: Bearer {KEY}")
        script = [NOBODY, status(503, canary), status(403, canary), status(400, canary), status(500, canary), OK]
        return script[calls % len(script)]

    def hook(_event: dict[str, Any]) -> None:
        raise ValueError(canary)

    class Raising:
        def report(self, error: DeliveryError) -> None:
            raise ValueError(canary)

    observer = Raising()
    async with delivering(ScriptedTransport(answer), queue_events=20) as delivery:
        for number in range(200):
            delivery.offer(event(f"s{number % 9}", canary), observer=observer)
            delivery.offer(event(f"s{number % 9}", canary), observer=observer, before_send=hook)
            await asyncio.sleep(1)
        await asyncio.sleep(3600)
        assert adds_up(delivery.stats())
        assert delivery.stats()["queued"] == 0
    assert len(log.records) > 10
    formatter = logging.Formatter("%(message)s")
    for record in log.records:
        text = formatter.format(record) + repr(record.args)
        assert canary not in text
        assert KEY not in text


@virtual_with_log
async def test_the_first_event_that_is_dropped_for_a_reason_is_logged(log: pytest.LogCaptureFixture) -> None:
    """For programs whose sessions have no `on_error`, and for spans, which have no session at all."""

    def fail(_event: dict[str, Any]) -> None:
        raise KeyError("secret")

    async with delivering(Script(bad=status(400, "secret")), queue_events=3) as delivery:
        for _ in range(2):
            delivery.offer(event("a"), before_send=lambda _event: None)  # as it was told: no word of that
            delivery.offer(event("a"), before_send=fail)
            delivery.offer(event("a"), before_send=lambda _event: {})
            for session_id in ("bad", "good", "bad", "too much"):
                delivery.offer(event(session_id))
            await asyncio.wrap_future(delivery.settled())
        assert delivery.stats()["dropped"] == {
            "before_send": 2,
            "before_send_failed": 4,
            "queue_full": 2,
            "refused": 4,
        }
    told = [record.getMessage().split(";")[0] for record in log.records]
    assert sorted(told) == [
        "an event was dropped: before_send failed with KeyError",
        "an event was dropped: the queue is full",
        "an event was dropped: the service refused it (HTTP status 400)",
    ]


@virtual
async def test_an_observer_that_raises_harms_nobody() -> None:
    class Raising:
        def report(self, error: DeliveryError) -> None:
            raise RuntimeError

    def raises(_good: bool) -> None:
        raise RuntimeError

    observer = Raising()
    async with delivering(Script(bad=status(400)), queue_events=3) as delivery:
        for session_id in ("bad", "good", "bad", "too much"):
            delivery.offer(event(session_id), observer=observer, on_settled=raises)
        assert await asyncio.wrap_future(delivery.settled()) is True
        assert delivery.stats()["dropped"] == {"queue_full": 1, "refused": 2}


@virtual
async def test_a_log_handler_that_raises_stops_nothing() -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError

    handler = Raising()
    transport = Script()
    logging.getLogger("mlsdk").addHandler(handler)
    try:
        async with delivering(transport) as delivery:
            for outcome in (NOBODY, status(403), None):
                transport.everywhere = outcome
                delivery.offer(event("a"))
                delivery.offer(event("b"))
                await asyncio.sleep(100)
            assert await asyncio.wrap_future(delivery.settled()) is True
            assert delivery.stats()["delivered"] == 6
    finally:
        logging.getLogger("mlsdk").removeHandler(handler)


# -- before_send ------------------------------------------------------------------------------------------------------


@virtual
async def test_before_send_masks_drops_and_fails_closed() -> None:
    observer = Observer()
    settled: list[bool] = []
    transport = Script()

    def mask(masked: dict[str, Any]) -> dict[str, Any]:
        masked["properties"]["user"] = "***"
        return masked

    def fail(_event: dict[str, Any]) -> None:
        raise KeyError("secret")

    async with delivering(transport) as delivery:
        original = event("a", "secret")
        for hook in (mask, lambda _event: None, fail):
            delivery.offer(original, observer=observer, before_send=hook, on_settled=settled.append)
        await asyncio.wrap_future(delivery.settled())
        assert b"secret" not in transport.sent[0].body
        assert b"***" in transport.sent[0].body
        assert original["properties"]["user"] == "secret"  # type: ignore[index]
        assert settled == [False, False, True]
        assert delivery.stats()["accepted"] == 3
        assert delivery.stats()["dropped"] == {"before_send": 1, "before_send_failed": 1}
        # What the user's own hook takes out is no error; a hook that fails is.
        assert [error.message for error in observer.errors] == [
            "an event was dropped: before_send failed with KeyError"
        ]


# -- calls from anywhere ----------------------------------------------------------------------------------------------


@virtual
async def test_calls_from_within_the_lock_are_worked_off_after_it() -> None:
    """As a finalizer or a signal handler may make them, in the very thread that holds it."""
    reentered: list[Future[bool]] = []

    async with delivering(Script()) as delivery:

        def finalizer() -> Iterator[str]:
            # Runs where `settled` looks through the sessions: with the lock held.
            assert delivery._lock.locked()
            delivery.offer(event("b"))
            delivery.hold("c")
            delivery.let_go("c")
            reentered.append(delivery.settled(["b"]))
            assert not reentered[0].done()
            yield "a"

        delivery.offer(event("a"))
        outer = delivery.settled(finalizer())
        assert delivery.stats()["accepted"] == 2
        assert await asyncio.wrap_future(outer) is True
        assert await asyncio.wrap_future(reentered[0]) is True
        assert delivery.stats()["delivered"] == 2


@virtual
async def test_stats_from_within_the_lock_add_up() -> None:
    async with delivering(Script()) as delivery:
        seen: list[Stats] = []

        def finalizer() -> Iterator[str]:
            seen.append(delivery.stats())
            yield "a"

        delivery.offer(event("a"))
        delivery.settled(finalizer())
        assert seen[0]["accepted"] == 1
        assert adds_up(seen[0])


def test_an_event_offered_while_another_thread_has_the_lock_is_not_forgotten() -> None:
    async def main() -> None:
        transport = Script()
        async with delivering(transport) as delivery:
            inside, leave = threading.Event(), threading.Event()

            def slow() -> Iterator[str]:
                inside.set()
                assert leave.wait(PATIENCE)
                yield "a"

            holder = threading.Thread(target=lambda: delivery.settled(slow()))
            holder.start()
            assert inside.wait(PATIENCE)
            delivery.offer(event("a"))  # returns, although the lock is taken
            assert not transport.sent
            leave.set()
            await asyncio.to_thread(holder.join, PATIENCE)
            assert delivery.stats()["accepted"] == 1

    asyncio.run(main())


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


def wait(future: Future[bool]) -> bool:
    return future.result(PATIENCE)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it becomes true in time; for what another thread does without telling anybody."""
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def order_is_kept(service: LocalMindlytics) -> bool:
    """First arrivals, each session's by its timestamps, which count up."""
    for session_id in service.session_ids:
        moments = list(dict.fromkeys(str(each["timestamp"]) for each in service.events(session_id)))
        if moments != sorted(moments):
            return False
    return True


def test_finalizers_and_signal_handlers_offer_while_the_thread_that_they_interrupt_does(
    service: LocalMindlytics,
) -> None:
    """Whatever they interrupt: nothing hangs, and every event arrives."""
    finalized: list[None] = []
    handled = 0

    class Garbage:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            delivery.offer(event("finalizer"))
            finalized.append(None)

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        delivery.offer(event("signal"))
        delivery.settled(["signal"])

    thresholds = gc.get_threshold()
    before = signal.signal(signal.SIGALRM, on_signal)
    with delivering_to(service.url, queue_events=100_000) as delivery:
        try:
            gc.set_threshold(50, 5, 5)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
            for _ in range(4000):
                Garbage()
                delivery.offer(event("main"))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            gc.set_threshold(*thresholds)
        # A collection that another thread has begun makes gc.collect() return at once.
        assert eventually(lambda: gc.collect() >= 0 and len(finalized) == 4000)
        assert wait(delivery.settled())
        assert handled > 10
        stats = delivery.stats()
        assert stats["accepted"] == stats["delivered"] == 4000 + 4000 + handled
    found = Counter(each["session_id"] for each in service.events())
    assert found == {"main": 4000, "finalizer": 4000, "signal": handled}


def test_many_threads_offer_at_once_while_another_reads_the_ledger(
    service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsdk.delivery.pipeline._STATS_TIMEOUT", PATIENCE)  # else it is an estimate
    answers = itertools.cycle([None, None, Fault.answer(503), None, Fault.reset(), None, Fault.answer(429), None])
    service.on_request(lambda _request: next(answers))
    threads, each = 8, 1500
    is_over = threading.Event()
    ledgers: list[Stats] = []

    with delivering_to(service.url, queue_events=100_000) as delivery:

        def offer(name: str) -> None:
            for number in range(each):
                delivery.offer(event(f"{name}-{number % 3}", "text"))
            assert wait(delivery.settled([f"{name}-{number}" for number in range(3)]))

        def read() -> None:
            while not is_over.wait(0.0005):
                ledgers.append(delivery.stats())

        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=offer, args=(f"thread{number}",)) for number in range(threads)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join(PATIENCE)
        is_over.set()
        reader.join(PATIENCE)
        assert delivery.stats()["delivered"] == threads * each
    assert ledgers
    assert all(adds_up(ledger) for ledger in ledgers)
    accepted = [ledger["accepted"] for ledger in ledgers]
    assert accepted == sorted(accepted)
    assert service.received == threads * each
    assert len({str(one) for one in service.events()}) == threads * each


def test_a_sender_that_is_held_up_does_not_make_the_queue_larger(service: LocalMindlytics) -> None:
    """A disk or a log handler that takes its time keeps it from working off what the main thread records."""
    goes_on = threading.Event()
    with delivering_to(service.url, queue_bytes=100_000) as delivery:
        delivery._home.call_soon(lambda: goes_on.wait(PATIENCE))
        for number in range(100):
            delivery.offer(event("a", str(number).zfill(10_000)))
        held = delivery.left_over()
        goes_on.set()
        assert wait(delivery.settled())
        stats = delivery.stats()
    assert 0 < held < 25
    assert stats["accepted"] == 100
    assert stats["dropped"] == {"queue_full": 100 - stats["delivered"]}


# -- the real service -------------------------------------------------------------------------------------------------


def test_what_is_offered_arrives_whole_and_in_order(service: LocalMindlytics) -> None:
    offered = [start("a"), event("a", "héllo \U0001f600"), end("a")]
    with delivering_to(service.url) as delivery:
        for each in offered:
            delivery.offer(each)
        assert wait(delivery.settled(["a"]))
    assert service.events("a") == offered
    (request,) = service.requests[:1]
    assert request.path == "/bc/v1/events/queue"


def test_few_requests_for_many_events(service: LocalMindlytics) -> None:
    with delivering_to(service.url) as delivery:
        for number in range(10_000):
            delivery.offer(event(f"s{number % 50}"))
        assert wait(delivery.settled())
    assert service.received == 10_000
    assert len(service.requests) < 200
    assert order_is_kept(service)


FAULTS = [
    [Fault.answer(503)] * 3,
    [Fault.answer(500)] * 3,
    [Fault.answer(429, headers={"Retry-After": "0.2"})],
    [Fault.reset(), Fault.reset()],
    [Fault.hang(seconds=0.3)],
    [Fault.slow(delay=0.3)],
    [Fault.slow(drip=0.05)],
    [Fault.answer(400)],
]


@pytest.mark.parametrize("faults", FAULTS, ids=[f"{each[0].action}-{each[0].status}" for each in FAULTS])
def test_faults_cost_time_but_no_event_and_no_order(service: LocalMindlytics, faults: list[Fault]) -> None:
    for fault in faults:
        service.plan(fault)
    with delivering_to(service.url) as delivery:
        for number in range(30):
            delivery.offer(event(f"s{number % 3}"))
        assert wait(delivery.settled())
        assert delivery.stats()["delivered"] == 30
    assert service.received == 30
    assert order_is_kept(service)


def test_bodies_that_are_too_large_are_parted(service: LocalMindlytics) -> None:
    service.on_request(lambda request: Fault.answer(413) if len(request.events) > 4 else None)
    with delivering_to(service.url) as delivery:
        for number in range(60):
            delivery.offer(event(f"s{number % 3}"))
        assert wait(delivery.settled())
        assert delivery.stats()["delivered"] == 60
    assert service.received == 60
    assert order_is_kept(service)


def test_a_lost_answer_means_the_same_body_and_key_again(service: LocalMindlytics) -> None:
    service.plan(Fault.reset(process=True), times=2)
    with delivering_to(service.url) as delivery:
        for _ in range(3):
            delivery.offer(event("a"))
        assert wait(delivery.settled())
    assert order_is_kept(service)
    assert {each.idempotency_key for each in service.records("a")[:3]} == {service.requests[0].idempotency_key}
    assert len({str(each) for each in service.events("a")}) == 3
    first = [each for each in service.requests if each.idempotency_key == service.requests[0].idempotency_key]
    assert len({each.size for each in first}) == 1
    assert len(first) == 3


def test_a_request_that_hangs_does_not_delay_another_session(service: LocalMindlytics) -> None:
    service.on_request(lambda request: Fault.hang() if b'"stuck"' in request.body else None)
    with delivering_to(service.url) as delivery:
        delivery.offer(event("stuck"))
        stuck = delivery.settled(["stuck"])
        service.wait_for(lambda each: each.hanging == 1)
        for _ in range(3):
            delivery.offer(event("other"))
            assert wait(delivery.settled(["other"]))
        assert not stuck.done()
        assert len(service.events("other")) == 3
        service.on_request(None)
        service.release()
        assert wait(stuck)


def test_a_bad_event_is_refused_and_the_good_ones_around_it_arrive(service: LocalMindlytics) -> None:
    service.on_request(lambda request: Fault.answer(400, body="bad text") if b"poison" in request.body else None)
    observer = Observer()
    with delivering_to(service.url) as delivery:
        for number in range(40):
            delivery.offer(event(f"s{number % 4}", "poison" if number == 17 else ""), observer=observer)
        assert wait(delivery.settled())
        assert delivery.stats()["dropped"] == {"refused": 1}
    assert [(error.status, error.message) for error in observer.errors] == [(400, "bad text")]
    assert service.received == 39
    assert order_is_kept(service)


def test_a_service_that_takes_only_bare_objects_gets_everything(service: LocalMindlytics) -> None:
    def only_bare(request: RequestInfo) -> Fault | None:
        return Fault.answer(400) if request.body.startswith(b"[") else None

    service.on_request(only_bare)
    with delivering_to(service.url) as delivery:
        for number in range(60):
            delivery.offer(event(f"s{number % 2}"))
        assert wait(delivery.settled())
    assert service.received == 60
    assert order_is_kept(service)


def test_a_service_that_goes_down_and_comes_back_gets_everything(
    service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Observer()
    with delivering_to(service.url) as delivery:
        delivery.offer(event("a"), observer=observer)
        assert wait(delivery.settled())
        service.close_port()
        for _ in range(5):
            delivery.offer(event("a"), observer=observer)
        done = delivery.settled()
        deadline = threading.Event()
        while not observer.errors:
            assert not deadline.wait(0.01)
        service.reopen()
        assert wait(done)
    assert observer.statuses == [(-1, True)]
    assert service.received == 6
    assert len(caplog.records) == 2


def test_a_key_that_the_service_refuses(service: LocalMindlytics) -> None:
    service.on_request(lambda _request: Fault.answer(403, body="Unauthorized: No organization"))
    observer = Observer()
    with delivering_to(service.url) as delivery:
        delivery.offer(event("a"), observer=observer)
        assert delivery.settled().result(PATIENCE) is False
        assert [(error.status, error.message) for error in observer.errors] == [(403, "Unauthorized: No organization")]
        assert [request.events for request in service.requests] == [1, 0]
        assert delivery.stats()["queued"] == 1


def test_a_worker_that_begins_late_knows_that_the_process_ends() -> None:
    """`finish` may be called before the worker had its first turn; its back-offs are short all the same."""

    async def main() -> None:
        transport = Script()
        transport.everywhere = NOBODY
        async with delivering(transport) as delivery:
            delivery._worker = None
            delivery.finish()
            rerun = asyncio.get_running_loop().create_task(delivery.run())
            delivery.offer(event("a"))
            await asyncio.sleep(4)
            assert len(transport.sent) > 10
            rerun.cancel()

    virtual_time.run(main)


@virtual_with_log
async def test_a_delivery_that_cannot_begin_tries_again(log: pytest.LogCaptureFixture) -> None:
    class Missing(ScriptedTransport):
        left = 2

        def __call__(self, _connection: object) -> ScriptedTransport:
            if self.left:
                self.left -= 1
                raise OSError(KEY)
            return self

    transport = Missing()
    home = Here()
    delivery = Delivery(config(), home=home, connect=transport)
    delivery.offer(event("a"))
    assert await asyncio.wrap_future(delivery.settled()) is True
    home.tasks[0].cancel()
    await asyncio.wait(home.tasks)
    assert news(log) == ["delivery cannot begin (OSError); it is tried again"] * 2


# -- one for each connection ------------------------------------------------------------------------------------------


def settings(**changes: Any) -> Config:
    given = {"api_key": KEY, "project_id": "p", "server_endpoint": "http://127.0.0.1:9", **changes}
    return resolve(**given)


def test_equal_connections_share_one_delivery_whoever_asks_first() -> None:
    found: list[Delivery] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(PATIENCE)
        found.append(delivery_for(settings(debug=True, flush_timeout=float(len(found)))))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_another_key_project_or_address_has_its_own() -> None:
    changes: list[dict[str, str]] = [
        {},
        {"api_key": "other"},
        {"project_id": "other"},
        {"server_endpoint": "http://127.0.0.1:8"},
    ]
    assert len({id(delivery_for(settings(**each))) for each in changes}) == 4


def test_authorities_that_cannot_be_read_are_the_callers_mistake(tmp_path: Path) -> None:
    """On the sender's thread nobody would hear of it, and nothing would ever be sent."""
    file = tmp_path / "ca.pem"
    file.write_text("none")
    with pytest.raises(ConfigurationError, match="ca_file"):
        delivery_for(settings(server_endpoint="https://localhost:9", ca_file=str(file)))


def test_the_service_is_reached_over_few_connections_that_are_used_again(service: LocalMindlytics) -> None:
    with delivering_to(service.url) as delivery:
        for _ in range(50):
            delivery.offer(event("a"))
            assert wait(delivery.settled())
    assert len(service.requests) == 50
    assert config().connection.server_endpoint
