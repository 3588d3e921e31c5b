"""The bridge: reentrant, whatever runs in the middle of it; forked without a double; nothing stops it."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from support import child, lifecycle
from support.otel import arguments, lines, new_id, provider_with
from support.sdk import PATIENCE, names

from mlsdk.local import LocalMindlytics
from mlsdk_otel.bridge import Bridge, bridge_for
from mlsdk_otel.config import resolve
from mlsdk_otel.translation.spanview import EventView, SpanView
from mlsdk_otel.translation.translator import Translator


def bridge_of(service: LocalMindlytics, project_id: str | None = None, **options: Any) -> Bridge:
    return bridge_for(resolve(**arguments(service, project_id=project_id or new_id("p"), **options)))


def view(session_id: str, *events: str, number: int = 1) -> SpanView:
    """A span of a joined session with custom events."""
    return SpanView(
        name="mindlytics.session",
        trace_id=number,
        span_id=abs(hash((session_id, number))) + 1,
        parent_id=None,
        has_remote_parent=False,
        start=0,
        end=0,
        attributes={"session.id": session_id, "mindlytics.session.joined": True},
        events=tuple(EventView("mindlytics.event", 0, {"mindlytics.event.name": event}) for event in events),
    )


def arrive(service: LocalMindlytics, bridge: Bridge, session_id: str) -> list[str]:
    assert bridge.delivery.settled().result(PATIENCE) is True
    return names(service.events(session_id))


def test_the_future_gives_the_sessions_that_something_was_offered_of(shared_service: LocalMindlytics) -> None:
    bridge = bridge_of(shared_service)
    one, two, none = new_id(), new_id(), new_id()
    offered = bridge.ended([view(one, "E"), view(none), view(two, "E", number=2)])
    assert offered.result(0) == [one, two]
    assert arrive(shared_service, bridge, one) == ["E"]
    assert bridge.knows(one)
    assert not bridge.knows(none)


def during(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Runs an action once while the bridge is at work, in the thread that holds its lock."""
    feed = Translator.feed
    done: list[bool] = []

    def interrupted(self: Translator, *args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(True)
            action()
        return feed(self, *args, **kwargs)

    monkeypatch.setattr(Translator, "feed", interrupted)


@pytest.mark.parametrize("how", ["signal", "finalizer"])
def test_a_span_may_end_in_the_middle_of_the_bridges_work(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    bridge = bridge_of(shared_service)
    session_id = new_id()
    inner: list[Future[list[str]]] = []

    def end_one(*_: object) -> None:
        inner.append(bridge.ended([view(session_id, "inner", number=2)]))

    def collect() -> None:
        while not inner:
            gc.collect()  # does nothing while another thread collects

    class Cyclic:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            end_one()

    if how == "signal":
        previous = signal.signal(signal.SIGUSR1, end_one)
        during(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1))
    else:
        gc.disable()  # it shall be collected when the bridge is at work, and not before
        Cyclic()
        during(monkeypatch, collect)
    try:
        outer = bridge.ended([view(session_id, "outer")])
    finally:
        gc.enable()
        if how == "signal":
            signal.signal(signal.SIGUSR1, previous)
    assert outer.result(0) == inner[0].result(0) == [session_id]
    assert arrive(shared_service, bridge, session_id) == ["outer", "inner"]


def test_threads_lose_and_double_nothing(shared_service: LocalMindlytics) -> None:
    bridge = bridge_of(shared_service)
    session_id = new_id()

    def end_many(start: int) -> None:
        for number in range(start, start + 100):
            one = view(session_id, str(number), number=number + 1)
            bridge.ended([one])
            bridge.ended([one])  # as from an exporter beside a processor

    threads = [threading.Thread(target=end_many, args=(1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrived = arrive(shared_service, bridge, session_id)
    assert sorted(arrived) == sorted(str(1000 * thread + number) for thread in range(4) for number in range(100))


def test_a_span_that_cannot_be_translated_costs_no_other(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = bridge_of(shared_service)
    good, bad = new_id(), new_id()
    feed = Translator.feed

    def failing(self: Translator, one: SpanView, now: float, **options: Any) -> Any:
        if one.attributes["session.id"] == bad:
            raise ZeroDivisionError("private text")
        return feed(self, one, now)

    monkeypatch.setattr(Translator, "feed", failing)
    settled: list[bool] = []
    bridge.ended([view(good, "1"), view(bad, "2"), view(good, "3", number=3)], settled.append)
    assert arrive(shared_service, bridge, good) == ["1", "3"]
    assert sorted(settled) == [False, True, True]
    assert bridge.stats()["unreadable_spans"] == 1
    (line,) = lines(caplog)
    assert "ZeroDivisionError (test_bridge.py:" in line
    assert "private text" not in caplog.text
    assert "Traceback" not in caplog.text


def test_an_event_that_makes_no_sense_is_told_once(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = bridge_of(shared_service)
    session_id = new_id()
    turn = EventView("mindlytics.turn", 0, {"mindlytics.turn.user": "private text"})
    bridge.ended([replace(view(session_id, "1"), events=(turn,)), view(session_id, "2", number=2)])
    bridge.ended([replace(view(session_id, number=3), events=(turn, turn))])
    assert arrive(shared_service, bridge, session_id) == ["2"]
    assert bridge.stats()["unreadable_events"] == 3
    (line,) = lines(caplog)
    assert "mindlytics.turn: gen_ai.conversation.id: is missing" in line
    assert "private text" not in caplog.text


def test_before_send_may_make_spans_itself(shared_service: LocalMindlytics) -> None:
    project = new_id("p")
    session_id = new_id()

    def before_send(event: dict[str, Any]) -> dict[str, Any]:
        if event["event"] == "1":
            provider.get_tracer("hook").start_span(
                "mindlytics.session", attributes={"session.id": session_id, "mindlytics.session.joined": True}
            ).end()
            bridge.ended([view(session_id, "from the hook", number=2)])
        return event

    provider = provider_with(shared_service, "processor", project_id=project, before_send=before_send)
    bridge = bridge_of(shared_service, project)
    bridge.ended([view(session_id, "1")])
    assert arrive(shared_service, bridge, session_id) == ["1", "from the hook"]
    provider.shutdown()


def test_what_waits_goes_by_itself_after_a_while(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsdk_otel.translation.translator.WAIT", 0.05)
    provider = provider_with(shared_service, "processor", project_id=new_id("p"))
    session_id = new_id()
    provider.get_tracer("app").start_span(
        "mindlytics.session",
        attributes={"session.id": session_id, "mindlytics.device.id": "d", "mindlytics.session.conversations": 1},
    ).end()
    shared_service.wait_for(lambda at: names(at.events(session_id)) == ["start_session", "end_session"])
    provider.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("road", ["exporter", "processor"])
def test_a_forked_child_sends_its_own_and_the_parent_its_own(shared_service: LocalMindlytics, road: str) -> None:
    """Forked while another thread holds the locks of bridge and registry."""
    parent, forked = new_id(), new_id()
    done = child.run(
        """
        import os, sys, threading
        import mlsdk_otel
        from mlsdk_otel import bridge as bridges
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        road, parent, forked = sys.argv[1:]
        provider = TracerProvider()
        if road == "exporter":
            provider.add_span_processor(BatchSpanProcessor(mlsdk_otel.MindlyticsSpanExporter()))
        else:
            provider.add_span_processor(mlsdk_otel.MindlyticsSpanProcessor())

        def say(session_id):
            tracer = provider.get_tracer("app")
            tracer.start_span(
                "mindlytics.session", attributes={"session.id": session_id, "mindlytics.device.id": "d"}
            ).end()

        open_in_parent = provider.get_tracer("app").start_span(
            "mindlytics.session", attributes={"session.id": parent, "mindlytics.device.id": "d"}
        )
        held, over = threading.Event(), threading.Event()

        def hold():
            with bridges._registry_lock, bridges.bridges()[0]._lock:
                held.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            say(forked)
            mlsdk_otel.MindlyticsSpanExporter()
            ok = provider.force_flush()
            os._exit(0 if ok else 1)
        over.set()
        thread.join()
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status))
        open_in_parent.end()
        provider.force_flush()
        """,
        road,
        parent,
        forked,
        env=lifecycle.address(shared_service),
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    for session_id in (parent, forked):
        assert names(shared_service.events(session_id)) == ["start_session", "end_session"]
