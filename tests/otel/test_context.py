"""`using_session`: whose spans are, wherever the work goes, and no complaint about contexts."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Any

import pytest
from opentelemetry import context
from support.otel import lines, new_id, provider_with
from support.sdk import client_of, names, sync_client_of

from mlsdk import InvalidEventError
from mlsdk.local import LocalMindlytics
from mlsdk_otel import using_session
from mlsdk_otel.context import activated, ids_in


def session_here() -> object:
    return ids_in().get("session.id")


def test_ids_are_set_inside_and_those_left_out_stay() -> None:
    with using_session("s", user_id="u"):
        with using_session(conversation_id="c", device_id="d"):
            assert dict(ids_in()) == {
                "session.id": "s",
                "user.id": "u",
                "gen_ai.conversation.id": "c",
                "mindlytics.device.id": "d",
            }
        assert dict(ids_in()) == {"session.id": "s", "user.id": "u"}
    assert dict(ids_in()) == {}


def test_an_error_passes_and_the_ids_are_gone() -> None:
    with pytest.raises(ZeroDivisionError), using_session("s"):
        raise ZeroDivisionError
    assert session_here() is None


@pytest.mark.parametrize("wrong", [{"session_id": ""}, {"session_id": 3}, {"user_id": "x" * 101}, {"device_id": 1}])
def test_a_wrong_id_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError, match=next(iter(wrong))):
        using_session(**wrong)


def test_a_session_stands_for_its_ids(shared_service: LocalMindlytics) -> None:
    for made in (
        client_of(shared_service).create_session(session_id="s", id="u", device_id="d"),
        sync_client_of(shared_service).create_session(session_id="s", id="u", device_id="d"),
    ):
        with using_session(made, device_id="other"):
            assert dict(ids_in()) == {"session.id": "s", "user.id": "u", "mindlytics.device.id": "other"}
    with pytest.raises(InvalidEventError, match="not started"):
        using_session(client_of(shared_service).create_session(device_id="d"))


def test_as_a_decorator_of_functions_and_coroutine_functions() -> None:
    @using_session("s")
    def plain(depth: int) -> object:
        return plain(depth - 1) if depth else session_here()

    @using_session("a")
    async def asynchronous() -> object:
        await asyncio.sleep(0)
        return session_here()

    async def both() -> list[object]:
        return await asyncio.gather(asynchronous(), asynchronous())

    assert plain(2) == "s"
    assert asyncio.run(both()) == ["a", "a"]
    assert session_here() is None
    assert (plain.__name__, asynchronous.__name__) == ("plain", "asynchronous")


def test_a_decorated_generator_works_inside_and_its_consumer_outside() -> None:
    @using_session("s")
    def words(left: list[object]) -> Generator[object, str, str]:
        try:
            left.append((yield session_here()))
            yield session_here()
        except KeyError:
            left.append(("caught", session_here()))
            return "done"
        finally:
            left.append(session_here())
        return ""

    left: list[object] = []
    generator = words(left)
    assert (next(generator), session_here()) == ("s", None)
    assert (generator.send("one"), session_here()) == ("s", None)
    with pytest.raises(StopIteration) as end:
        generator.throw(KeyError())
    assert (end.value.value, left) == ("done", ["one", ("caught", "s"), "s"])
    closed: list[object] = []
    generator = words(closed)
    next(generator)
    generator.close()
    assert (closed, session_here()) == (["s"], None)


def test_a_decorated_asynchronous_generator_works_inside_and_its_consumer_outside() -> None:
    left: list[object] = []

    @using_session("s")
    async def words() -> AsyncGenerator[object, None]:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
                yield session_here()
        finally:
            left.append(session_here())

    async def main() -> list[object]:
        found: list[object] = []
        async for word in words():
            found += [word, session_here()]
        dropped = words()
        await anext(dropped)
        await dropped.aclose()
        return found

    assert asyncio.run(main()) == ["s", None] * 3
    assert left == ["s", "s"]


def test_attributes_are_checked_and_belong_to_their_session() -> None:
    with using_session("s", attributes={"plan": "free", "seats": 3}):
        assert {**ids_in()} == {
            "session.id": "s",
            "mindlytics.session.attribute.plan": "free",
            "mindlytics.session.attribute.seats": 3,
        }
        with using_session("other"):
            assert {**ids_in()} == {"session.id": "other"}
    with pytest.raises(InvalidEventError, match="plan"):
        using_session("s", attributes={"plan": ["a"]})  # type: ignore[dict-item]


def test_tasks_and_threads_with_a_copied_context_belong_too() -> None:
    async def main() -> list[object]:
        with using_session("s"):
            task = asyncio.create_task(asyncio.to_thread(session_here))
        return [await task, session_here()]

    assert asyncio.run(main()) == ["s", None]
    found: list[object] = []
    with using_session("s"):
        copied = contextvars.copy_context()
    thread = threading.Thread(target=copied.run, args=(lambda: found.append(session_here()),))
    thread.start()
    thread.join()
    assert found == ["s"]


def test_nothing_is_said_whatever_leaves_where(caplog: pytest.LogCaptureFixture) -> None:
    async def stream() -> AsyncIterator[int]:
        with using_session("s"):
            yield 1
            yield 2

    async def main() -> None:
        elsewhere = stream()
        await anext(elsewhere)
        await asyncio.create_task(elsewhere.aclose())  # type: ignore[attr-defined]

        collected = stream()
        await asyncio.create_task(anext(collected))  # type: ignore[arg-type]
        del collected
        gc.collect()

    asyncio.run(main())
    assert lines(caplog) == []


def test_scopes_may_overlap_and_the_last_one_puts_back_what_was_before_all() -> None:
    before = context.get_current()
    first, second = using_session("1"), using_session("2")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert session_here() == "2"
    second.__exit__(None, None, None)
    assert context.get_current() is before


def test_what_somebody_else_made_current_inside_stays_theirs() -> None:
    scope = activated(context.set_value("k", 1))
    scope.__enter__()
    token = context.attach(context.set_value("k", 2))
    scope.__exit__(None, None, None)
    assert context.get_value("k") == 2
    context.detach(token)


# -- native spans -----------------------------------------------------------------------------------------------------


def test_native_spans_inside_belong_to_the_session(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    tracer = provider.get_tracer("app")
    session_id = new_id()
    turn = {"mindlytics.turn.user": "u", "mindlytics.turn.assistant": "a"}
    with (
        using_session(session_id, user_id="jack", conversation_id="c1"),
        tracer.start_as_current_span("mindlytics.conversation") as span,
    ):
        span.add_event("mindlytics.turn", turn)
    provider.force_flush()
    events = shared_service.events(session_id)
    assert "Conversation Turn" in names(events)
    assert {event.get("conversation_id") for event in events if event["type"] == "track"} == {"c1"}
    assert {event.get("user_id", event.get("id")) for event in events} == {"jack"}
    provider.shutdown()


def test_a_span_of_another_session_takes_nothing_over(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    tracer = provider.get_tracer("app")
    session_id = new_id()
    with using_session(new_id(), user_id="jack"):
        tracer.start_span(
            "mindlytics.session", attributes={"session.id": session_id, "mindlytics.device.id": "d"}
        ).end()
    provider.force_flush()
    assert ["jack" in str(event) for event in shared_service.events(session_id)] == [False, False]
    provider.shutdown()
