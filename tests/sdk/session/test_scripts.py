"""Any script of calls, good and bad ones mixed, makes a well-formed stream of events."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Final

import hypothesis
import orjson
from hypothesis import strategies as st
from support.sdk import HandClock, MemoryDoor, names, session_at, stream_problems

from mlsdk import InvalidEventError, SessionClosedError, models
from mlsdk.events import encode
from mlsdk.waiting import run_blocking

KNOWN: Final = ("c1", "c2", "c3")
UNKNOWN: Final = ("elsewhere", "gone")
CLOCK: Final = 1_750_000_000

# Before the clock, so that what is imported lies in the past, and after it: a clock elsewhere may be ahead.
moments = st.none() | st.sampled_from(
    [
        "2025-04-03T07:35:10Z",
        datetime(2025, 4, 3, 7, 36, tzinfo=timezone.utc),
        datetime.fromtimestamp(CLOCK + 5, timezone.utc),
        "yesterday",
    ]
)
conversations = st.none() | st.sampled_from([*KNOWN, *UNKNOWN, ""])
values = st.none() | st.dictionaries(
    st.text(max_size=3), st.integers(-2, 2**64) | st.text(max_size=3) | st.none(), max_size=2
)


def call(method: str, /, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(method), st.fixed_dictionaries(arguments))


steps = st.one_of(
    call("start_session", timestamp=moments, attributes=values),
    # A caller may name any time for an end; whether it is a good one is the caller's business.
    call("end_session", timestamp=st.none() | st.just("yesterday"), attributes=values),
    call("start_conversation", timestamp=moments, conversation_id=conversations, properties=values),
    call("end_conversation", timestamp=st.none(), conversation_id=conversations, properties=values),
    call("track_event", event=st.sampled_from(["Seen", "", "n" * 101]), timestamp=moments, properties=values),
    call(
        "track_conversation_turn",
        user=st.text(max_size=3),
        assistant=st.text(max_size=3) | st.none(),
        timestamp=moments,
        conversation_id=conversations,
    ),
    call(
        "track_conversation_usage", cost=st.sampled_from([{"cost": 1}, {"cost": None}]), conversation_id=conversations
    ),
    call("track_function_call", name=st.sampled_from(["f", ""]), conversation_id=conversations),
    call("user_identify", id=st.none() | st.sampled_from(["jj", ""]), traits=values),
    call("user_alias", id=st.sampled_from(["jj", ""]), previous_id=st.just("ii")),
    call("pass_by"),
)


@hypothesis.given(
    script=st.lists(steps, max_size=12),
    arguments=st.fixed_dictionaries(
        {"conversation_id": st.none() | st.just("named"), "device_id": st.none() | st.just("d")}
    ),
)
def test_any_script_makes_a_well_formed_stream(script: list[tuple[str, dict[str, Any]]], arguments: Any) -> None:
    door, clock = MemoryDoor(), HandClock(CLOCK * 1_000_000)

    async def main() -> None:
        session = session_at(door, clock=clock, **arguments)
        for name, given in script:
            if name == "pass_by":
                clock.pass_by(1)
                continue
            before = len(door.events)
            try:
                await getattr(session, name)(**given)
            except (InvalidEventError, SessionClosedError):
                assert len(door.events) == before  # nothing of a refused call
            else:
                is_vain = name == "end_session"  # a second one, or one of nothing
                assert len(door.events) > before or is_vain
        await session.end_session()

    run_blocking(main())  # nothing here waits

    # A caller may name a conversation that is not open; its events are sent as given.
    named = {
        given["conversation_id"]
        for name, given in script
        if name != "start_conversation" and "conversation_id" in given
    }
    assert stream_problems(door.events, unknown=frozenset(named)) == []
    assert door.open == set()
    for event in door.events:
        decoded = orjson.loads(encode(event))
        model = models.wire_model(decoded)
        assert model is not None
        model.model_validate(decoded, strict=True)


@hypothesis.given(script=st.lists(steps, max_size=8))
def test_a_joined_session_starts_nothing_and_ends_only_when_told(script: list[tuple[str, dict[str, Any]]]) -> None:
    door, clock = MemoryDoor(), HandClock()
    own = [(name, given) for name, given in script if name not in ("start_session", "end_session", "pass_by")]

    async def main() -> None:
        session = session_at(door, clock=clock, session_id="s", conversation_id="named", join=True)
        async with session:
            for name, given in own:
                with suppress(InvalidEventError):
                    await getattr(session, name)(**given)

    run_blocking(main())  # nothing here waits

    assert not {"start_session", "end_session"} & set(names(door.events))
    assert {event["session_id"] for event in door.events} <= {"s"}
