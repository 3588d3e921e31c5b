"""The property that guards it all: a session is the same events at the service, whichever road it took.

Scripts of calls are drawn, and run on each road: sent by the SDK itself; as spans through the exporter behind a batch
processor; as spans through the processor; and through both. Generated ids and times are made the same for all of them,
so that whole events are compared. The delivery is a list; at the end, one script goes through a real service.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from support.sdk import KEY, PROJECT, HandClock, MemoryDoor, client_of, session_at
from support.spans import check_wire

import mlsdk.session
from mlsdk import Client, Session
from mlsdk.errors import InvalidEventError, SessionClosedError
from mlsdk.events import Event, encode, format_timestamp
from mlsdk.local import LocalMindlytics
from mlsdk_otel import MindlyticsInstrumentor, MindlyticsSpanExporter, MindlyticsSpanProcessor, bridge

Road = Literal["direct", "exporter", "processor", "both"]
ROADS: Final[tuple[Road, ...]] = ("exporter", "processor", "both")
NOON: Final = HandClock().now()

# -- scripts ----------------------------------------------------------------------------------------------------------

texts = st.text(max_size=8) | st.sampled_from(["\ud800", "a\udfffb", "", "\x00", "🙂"])
ids = st.sampled_from(["u1", "u2", "\ud800", "x" * 100])
conversations = st.sampled_from(["a", "b", "c"])
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
# What the service knows as a field of its own, in the kind that it takes; see the note in `mlsdk_otel.translation`.
fields = st.fixed_dictionaries(
    {},
    optional={"model": texts, "cost": st.floats(0, 10), "prompt_tokens": st.integers(-5, 5), "assistant_id": texts},
)
keys = st.sampled_from(["*", "k", "a.b", "", "\ud800", "session.id", "event", "timestamp"]) | st.text(max_size=5)
few = st.dictionaries(keys.filter(lambda key: key not in TAKEN), values, max_size=3)
many = st.integers(60, 150).map(lambda count: {f"k{number}": number for number in range(count)})
properties = st.none() | few | many | few.flatmap(lambda some: many.map(lambda rest: {**rest, **some}))
TAKEN: Final = frozenset(
    {"user", "assistant", "assistant_id", "model", "cost", "prompt_tokens", "completion_tokens"}
    | {"name", "args", "result", "runtime"}
)
usages = st.none() | st.one_of(
    st.fixed_dictionaries({"cost": st.floats(0, 10) | st.integers(0, 2**40)}),
    st.fixed_dictionaries(
        {
            "model": st.text(min_size=1, max_size=5),
            "prompt_tokens": st.integers(0, 2**63 - 1),
            "completion_tokens": st.integers(0, 9),
        }
    ),
)
# Now; around now, before other events too; long ago, before 1970 and the years that a nanosecond fits 64 bits.
moments = st.one_of(
    st.none(),
    st.none(),
    st.integers(-20_000_000, 20_000_000).map(lambda micros: format_timestamp(NOON + micros)),
    st.sampled_from(["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"]),
    st.sampled_from(["9999-12-31T23:59:59.999999Z", "2025-04-03T07:35:10.123456+02:00"]),
)


@dataclass(frozen=True)
class Step:
    """A call of a session's method, or `use_as`, `set_...` and `join`, which are the session's surroundings."""

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def step(method: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """A call; arguments that come out as None are left out."""
    return st.fixed_dictionaries(arguments).map(
        lambda drawn: Step(method, {name: value for name, value in drawn.items() if value is not None})
    )


maybe_conversation = st.none() | conversations
steps = st.one_of(
    step("start_conversation", conversation_id=maybe_conversation, timestamp=moments, properties=properties),
    step("end_conversation", conversation_id=maybe_conversation, timestamp=moments, properties=properties),
    step(
        "track_conversation_turn",
        user=texts,
        assistant=texts,
        assistant_id=st.none() | texts,
        conversation_id=maybe_conversation,
        usage=usages,
        timestamp=moments,
        properties=properties,
    ),
    step("track_conversation_turn", user=texts, assistant=texts, conversation_id=maybe_conversation, properties=fields),
    step("track_conversation_usage", cost=usages, conversation_id=maybe_conversation, timestamp=moments),
    step(
        "track_function_call",
        name=st.text(min_size=1, max_size=5),
        args=st.none() | texts,
        result=st.none() | texts,
        runtime=st.none() | st.integers(0, 2**63 - 1),
        conversation_id=maybe_conversation,
        timestamp=moments,
        properties=properties,
    ),
    step(
        "track_event",
        event=st.text(min_size=1, max_size=5) | st.just("n" * 100),
        conversation_id=maybe_conversation,
        timestamp=moments,
        properties=properties,
    ),
    step("user_identify", id=st.none() | ids, device_id=st.none() | ids, traits=properties, timestamp=moments),
    step("user_alias", id=ids, previous_id=ids, timestamp=moments),
    step("set_user", id=st.none() | ids),
    step("set_device", device_id=st.none() | ids),
    step("repeat", times=st.integers(5, 30)),
    step("start_session", session_id=st.none() | st.just("given"), timestamp=moments, attributes=properties),
    step("end_session", timestamp=moments, attributes=properties),
)


@dataclass(frozen=True)
class Script:
    """How a session object is made, and what is called then."""

    creation: Mapping[str, Any]
    is_context: bool
    steps: tuple[Step, ...]


creations = st.fixed_dictionaries(
    {},
    optional={
        "session_id": st.just("given"),
        "conversation_id": conversations,
        "id": ids,
        "attributes": properties.filter(lambda drawn: drawn is not None),
    },
)
scripts = st.builds(
    Script,
    creation=creations.map(lambda drawn: {"device_id": "d", **drawn}),
    is_context=st.booleans(),
    steps=st.lists(steps, max_size=14).map(tuple),
)

# -- roads ------------------------------------------------------------------------------------------------------------


@contextmanager
def instrumented(road: Road, door: Any = None, **settings: Any) -> Iterator[None]:
    """Sessions made inside go this way; `door` takes what comes out instead of a delivery."""
    with pytest.MonkeyPatch.context() as patch:
        numbers = itertools.count(1)
        patch.setattr(mlsdk.session, "_new_id", lambda: f"id-{next(numbers)}")
        if road == "direct":
            yield
            return
        patch.setattr(bridge, "_bridges", {})
        # What waits goes when it is flushed, not when a busy machine has held this thread for long.
        patch.setattr("mlsdk_otel.translation.translator.WAIT", 3600.0)
        if door is not None:
            patch.setattr(bridge, "delivery_for", lambda config: door)
        provider = TracerProvider(shutdown_on_exit=False)
        if road != "processor":
            provider.add_span_processor(
                BatchSpanProcessor(MindlyticsSpanExporter(**settings), schedule_delay_millis=60_000)
            )
        if road != "exporter":
            provider.add_span_processor(MindlyticsSpanProcessor(**settings))
        MindlyticsInstrumentor().instrument(
            tracer_provider=provider, delivery="otel", max_events_per_span=4, skip_dep_check=True
        )
        try:
            yield
        finally:
            provider.force_flush()
            MindlyticsInstrumentor().uninstrument()
            provider.shutdown()


class Door(MemoryDoor):
    """A delivery whose events are all settled at once."""

    is_in_trouble = False

    def stats(self) -> dict[str, Any]:
        return {}


def run(script: Script, road: Road) -> list[Event]:
    """The events that arrive."""
    door = Door()
    clock = HandClock()
    with instrumented(road, door, api_key=KEY, project_id=PROJECT):
        session = session_at(door, clock=clock, **script.creation)
        asyncio.run(play(script, session, clock))
        session.abandon()
    return door.events


async def play(script: Script, session: Session, clock: HandClock) -> None:
    if script.is_context:
        await call(session.__aenter__())
    previous: Step | None = None
    for one in script.steps:
        clock.pass_by(0.000123)
        if one.method == "repeat":
            for _ in range(one.arguments["times"] if previous else 0):
                await do(previous, session)
            continue
        await do(one, session)
        previous = one
    if script.is_context:
        await call(session.__aexit__(None, None, None))


async def do(one: Step | None, session: Session) -> None:
    if one is None:
        return
    if one.method == "set_user":
        session.id = one.arguments.get("id")
    elif one.method == "set_device":
        session.device_id = one.arguments.get("device_id")
    else:
        await call(getattr(session, one.method)(**one.arguments))


async def call(work: Any) -> None:
    with suppress(InvalidEventError, SessionClosedError, TypeError):  # refused on one road, refused on each
        await work


# -- the property -----------------------------------------------------------------------------------------------------


def comparable(event: Event) -> bytes:
    """The event as the service reads it; the order of its fields means nothing."""
    return orjson.dumps(orjson.loads(encode(event)), option=orjson.OPT_SORT_KEYS)


def homes(direct: list[Event]) -> dict[bytes, set[Any]]:
    """For each event the session, its life, and the conversation that must keep it in order; None for the session.

    What names a conversation that is not open at the moment is of the session itself.
    """
    lives: dict[str, int] = {}
    open_now: set[tuple[Any, Any]] = set()
    made: dict[bytes, set[Any]] = {}
    for event in direct:
        session_id, conversation_id = str(event["session_id"]), event.get("conversation_id")
        if event["type"] == "start_session":
            lives[session_id] = lives.get(session_id, 0) + 1
        if event.get("event") == "Conversation Started":
            open_now.add((session_id, conversation_id))
        is_inside = (session_id, conversation_id) in open_now
        if event.get("event") == "Conversation Ended":
            open_now.discard((session_id, conversation_id))
        home = (session_id, lives.get(session_id, 0), conversation_id if is_inside else None)
        made.setdefault(comparable(event), set()).add(home)
    return made


def orders(found: list[Event], home_of: Mapping[bytes, set[Any]]) -> dict[Any, list[bytes]]:
    """The events of each home, in order; without those of which the like is in another home too."""
    made: dict[Any, list[bytes]] = {}
    for text in map(comparable, found):
        if len(home_of[text]) == 1:
            made.setdefault(next(iter(home_of[text])), []).append(text)
    return made


def check_same(script: Script, road: Road) -> None:
    direct, spans = run(script, "direct"), run(script, road)
    assert sorted(map(comparable, spans)) == sorted(map(comparable, direct))
    home_of = homes(direct)
    assert orders(spans, home_of) == orders(direct, home_of)
    for session_id in {event["session_id"] for event in direct}:
        assert first_and_last(spans, session_id) == first_and_last(direct, session_id)


def first_and_last(found: list[Event], session_id: Any) -> list[Any]:
    """The starts and ends of a session's lives and where they are: at 0 the first of a life, at -1 the last."""
    kinds = [str(event["type"]) for event in found if event["session_id"] == session_id]
    return [
        (
            kind,
            index == 0 or kinds[index - 1] == "end_session",
            index == len(kinds) - 1 or kinds[index + 1] == "start_session",
        )
        for index, kind in enumerate(kinds)
        if kind in ("start_session", "end_session")
    ]


@pytest.mark.parametrize("road", ROADS)
@given(script=scripts)
def test_each_road_delivers_the_same_events(road: Road, script: Script) -> None:
    check_same(script, road)


TURN: Final = Step("track_conversation_turn", {"user": "u", "assistant": "a"})
LATE_TURN: Final = Step("track_conversation_turn", {"user": "u", "assistant": "a", "timestamp": "2000-01-01T00:00:00Z"})


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "script",
    [
        Script({"device_id": "d"}, is_context=True, steps=(TURN, Step("repeat", {"times": 30}))),
        Script(
            {"id": "u"}, is_context=True, steps=(TURN, Step("set_user"), Step("set_device", {"device_id": "e"}), TURN)
        ),
        Script({"id": "u"}, is_context=True, steps=(TURN, Step("user_identify", {"device_id": "e"}), TURN)),
        Script({"id": "u"}, is_context=True, steps=(TURN, Step("set_user"), Step("start_conversation"))),
        Script(
            {"device_id": "d", "conversation_id": "a"},
            is_context=True,
            steps=(TURN, Step("end_conversation"), Step("start_conversation", {"conversation_id": "a"}), TURN),
        ),
        Script(
            {"device_id": "d", "session_id": "given"},
            is_context=True,
            steps=(TURN, Step("end_session"), Step("start_session", {"session_id": "given"}), TURN),
        ),
        Script({"session_id": "given"}, is_context=False, steps=(TURN, Step("end_session", {"attributes": {"k": 1}}))),
        Script(
            {"device_id": "d", "attributes": {f"k{n}": n for n in range(64)}},
            is_context=True,
            steps=(TURN, Step("end_session", {"attributes": {f"l{n}": n for n in range(64)}})),
        ),
        Script(
            {"device_id": "d"},
            is_context=True,
            steps=(
                Step("start_conversation", {"conversation_id": "a", "timestamp": "2020-01-01T00:00:00Z"}),
                LATE_TURN,
                Step("end_conversation", {"timestamp": "1960-01-01T00:00:00Z"}),
                Step("end_session", {"timestamp": "1950-01-01T00:00:00Z"}),
            ),
        ),
        Script(
            {"device_id": "d"},
            is_context=True,
            steps=tuple(
                Step("track_conversation_turn", {"user": "u", "assistant": "a", "properties": given})
                for given in ({"model": "m"}, {"cost": 1.5, "model": ""}, {"prompt_tokens": -1}, {"assistant_id": ""})
            ),
        ),
        Script(
            {"device_id": "d"},
            is_context=True,
            steps=(
                Step("start_conversation", {"conversation_id": "a"}),
                Step(
                    "track_event",
                    {
                        "event": "Conversation Turn",
                        "conversation_id": "a",
                        "properties": {"user": "u", "assistant": "a", "k": 1},
                    },
                ),
                Step("track_event", {"event": "Conversation Started", "conversation_id": "b"}),
                Step("track_conversation_turn", {"user": "u", "assistant": "a", "conversation_id": "b"}),
                Step("track_event", {"event": "Conversation Started", "conversation_id": "b"}),
            ),
        ),
    ],
    ids=[
        "roll over",
        "no user any more",
        "identified by a device",
        "a conversation of nobody",
        "conversation opened again",
        "session started again",
        "joined",
        "128 attributes",
        "ends before starts",
        "fields among properties",
        "custom events named like the service's",
    ],
)
def test_each_road_delivers_the_same_events_of(script: Script, road: Road) -> None:
    direct = run(script, "direct")
    assert direct
    check_wire(direct)
    check_same(script, road)


# -- through a real service -------------------------------------------------------------------------------------------


async def talk(client: Client) -> None:
    async with client.create_session(id="u", attributes={"plan": "pro"}) as session:
        first = await session.start_conversation(properties={"channel": "web"})
        second = await session.start_conversation()
        for number in range(12):
            await session.track_conversation_turn(
                conversation_id=(first, second)[number % 2],
                user=f"question {number}",
                assistant=f"answer {number}",
                usage={"model": "m", "prompt_tokens": number, "completion_tokens": 1},
            )
        await session.track_function_call(conversation_id=first, name="f", args="{}", result="17", runtime=4)
        await session.user_identify(id="v", traits={"name": "V"})
        await session.track_event(event="Paid", properties={f"k{number}": number for number in range(150)})
        await session.end_conversation(conversation_id=first, properties={"solved": True})
        await session.end_session(attributes={"rating": 5})


def received(service: LocalMindlytics) -> dict[Any, list[Any]]:
    made: dict[Any, list[Any]] = {}
    for event in service.events():
        thread = event.get("conversation_id")
        made.setdefault(thread, []).append({name: value for name, value in event.items() if name != "timestamp"})
    return made


def test_a_real_service_receives_the_same_by_each_road() -> None:
    found = []
    for road in ("direct", *ROADS):
        with (
            LocalMindlytics.in_thread(port=0) as service,
            instrumented(road, api_key=KEY, project_id=PROJECT, server_endpoint=service.url),
        ):
            asyncio.run(talk(client_of(service)))
            # Leaving the session has waited for all of it.
            found.append(received(service))
    assert found[1:] == [found[0]] * 3
    assert [event.get("event", event["type"]) for event in found[0][None]] == [
        "start_session",
        "identify",
        "Paid",
        "end_session",
    ]
