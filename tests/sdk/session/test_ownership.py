"""Who starts and ends a session: its own object, or somebody elsewhere; and what happens to one that nobody ends."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from support import child, lifecycle
from support.sdk import client_of, names

from mlsdk import InvalidEventError, Session
from mlsdk.local import LocalMindlytics

WHOLE = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]


async def say(session: Session, **arguments: Any) -> None:
    await session.track_conversation_turn(user="Hello", assistant="Hi", **arguments)


@pytest.fixture
def collected() -> Iterator[None]:
    """What one test left to the garbage collector is no business of the next."""
    yield
    gc.collect()


# -- joined -----------------------------------------------------------------------------------------------------------


def test_a_session_made_with_an_id_and_used_plainly_is_joined(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service) as client:
            await client.create_session(session_id="s", device_id="d").track_event(event="Seen")

    asyncio.run(main())

    assert names(service.events("s")) == ["Seen"]


def test_a_joined_session_needs_to_know_nobody(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service) as client:
            await say(client.create_session(session_id="s", conversation_id="c"))

    asyncio.run(main())

    assert names(service.events("s")) == ["Conversation Turn"]


def test_a_joined_conversation_is_neither_started_nor_ended(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service) as client:
            for _ in range(2):  # as a web application does, which makes one object a request
                session = client.create_session(session_id="s", conversation_id="c", id="jj")
                assert session.conversation_id == "c"
                await say(session)
                await session.track_function_call(name="f")
                await session.track_event(event="Seen")
                await session.flush()

    asyncio.run(main())

    events = service.events("s")
    assert names(events) == ["Conversation Turn", "Conversation Function", "Seen"] * 2
    assert {event["conversation_id"] for event in events} == {"c"}


def test_a_joined_session_ends_by_end_session_alone(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client_of(service).create_session(session_id="s", conversation_id="c")
        await say(session)
        await session.end_session(attributes={"done": True})

    asyncio.run(main())

    assert names(service.events("s")) == ["Conversation Turn", "end_session"]


def test_a_joined_session_of_which_nothing_was_recorded_can_be_ended(service: LocalMindlytics) -> None:
    async def main() -> None:
        await client_of(service).create_session(session_id="s").end_session()

    asyncio.run(main())

    assert names(service.events("s")) == ["end_session"]


def test_a_conversation_that_a_joined_session_started_is_its_own_to_end(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client_of(service).create_session(session_id="s")
        await say(session)
        await session.end_session()

    asyncio.run(main())

    assert names(service.events("s")) == WHOLE[1:]


def test_join_makes_the_context_only_flush(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service).create_session(session_id="s", conversation_id="c", join=True) as session:
            await say(session)
        assert names(service.events()) == ["Conversation Turn"]
        async with session:
            await say(session)

    asyncio.run(main())

    assert names(service.events()) == ["Conversation Turn"] * 2


def test_join_needs_to_know_what_to_join(service: LocalMindlytics) -> None:
    with pytest.raises(InvalidEventError, match="session_id"):
        client_of(service).create_session(device_id="d", join=True)


# -- owned ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_context", [True, False])
def test_a_context_or_start_session_own_a_session_whose_id_was_given(
    service: LocalMindlytics, in_context: bool
) -> None:
    async def main() -> None:
        session = client_of(service).create_session(session_id="s", conversation_id="c", device_id="d")
        if in_context:
            async with session:
                await say(session)
        else:
            assert await session.start_session() == "s"
            await say(session)
            await session.end_session()

    asyncio.run(main())

    events = service.events("s")
    assert names(events) == WHOLE
    assert {event["conversation_id"] for event in events[1:4]} == {"c"}


@pytest.mark.usefixtures("collected")
def test_an_owned_session_is_ended_when_its_object_is_collected(service: LocalMindlytics) -> None:
    client = client_of(service)

    async def main() -> None:
        await say(client.create_session(device_id="d"))
        while len(service.events()) < len(WHOLE):
            gc.collect()  # returns at once if another thread collects, and the sender may still hold the object
            await client.flush()

    asyncio.run(main())

    assert names(service.events()) == WHOLE


@pytest.mark.usefixtures("collected")
def test_an_owned_session_that_is_part_of_a_cycle_is_ended_too(service: LocalMindlytics) -> None:
    client = client_of(service)

    class Handler:
        def __init__(self) -> None:
            self.session = client.create_session(device_id="d", on_error=self.tell)

        def tell(self, error: Exception) -> None: ...

    async def main() -> None:
        await say(Handler().session)
        while len(service.events()) < len(WHOLE):
            await client.flush()  # until it has returned, the sender knows whom to tell of trouble
            gc.collect()

    asyncio.run(main())

    assert names(service.events()) == WHOLE


def test_a_joined_session_is_not_ended_when_its_object_is_collected(service: LocalMindlytics) -> None:
    client = client_of(service)

    async def main() -> None:
        await say(client.create_session(session_id="s", conversation_id="c"))
        gc.collect()
        await client.flush()

    asyncio.run(main())

    assert names(service.events()) == ["Conversation Turn"]


def test_open_sessions_are_ended_when_their_client_is_closed(service: LocalMindlytics) -> None:
    async def main() -> None:
        client, other = client_of(service), client_of(service)
        mine = client.create_session(device_id="d")
        joined = client.create_session(session_id="joined", conversation_id="c")
        theirs = other.create_session(device_id="d")
        for session in (mine, joined, theirs):
            await say(session)
        await client.close()
        assert names(service.events(mine.session_id)) == WHOLE
        assert names(service.events("joined")) == ["Conversation Turn"]
        assert names(service.events(theirs.session_id)) == WHOLE[:3]
        await other.close()

    asyncio.run(main())


def test_open_sessions_are_ended_at_exit(service: LocalMindlytics) -> None:
    program = """
        import asyncio
        from mlsdk import Client

        client = Client()

        async def main():
            global session
            asyncio.get_running_loop().slow_callback_duration = 60  # the development mode tells of a busy machine
            session = client.create_session(session_id="s", device_id="d")
            await session.start_session()
            await session.track_conversation_turn(user="Hello", assistant="Hi")

        asyncio.run(main())
        """
    result = child.run(program, flags=["-X", "dev", "-W", "error"], env=lifecycle.address(service))

    assert (result.returncode, result.stderr) == (0, "")
    assert names(service.events("s")) == WHOLE


FORK_ALLOWED = ["-W", "ignore:This process:DeprecationWarning"]  # Python 3.12 and later warn of any fork with threads
FORKING = """
    import asyncio, os, sys
    from mlsdk.sync import Client

    client = Client()
    {before}
    child = os.fork()
    if child == 0:
        {inside}
        client.flush()
        os._exit(0)
    os.waitpid(child, 0)
    {after}
    """


@pytest.mark.lifecycle
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "leave",
    ["session.__exit__(None, None, None)", "client.close()", "del session; import gc; gc.collect()"],
    ids=["leaves the context", "closes the client", "drops the object"],
)
def test_a_session_that_a_forked_child_inherits_is_the_parents_to_end(service: LocalMindlytics, leave: str) -> None:
    program = FORKING.format(
        before='session = client.create_session(session_id="s", device_id="d").__enter__()\n'
        '    session.track_conversation_turn(user="Hello", assistant="parent"); client.flush()',
        inside=f'session.track_conversation_turn(user="Hello", assistant="child"); {leave}',
        after='session.track_conversation_turn(user="Hello", assistant="parent"); session.__exit__(None, None, None)',
    )
    result = child.run(program, flags=FORK_ALLOWED, env=lifecycle.address(service))

    assert (result.returncode, result.stderr) == (0, "")
    events = service.events("s")
    assert names(events) == [*WHOLE[:2], *["Conversation Turn"] * 3, *WHOLE[3:]]
    assert [event["properties"]["assistant"] for event in events[2:5]] == ["parent", "child", "parent"]


@pytest.mark.lifecycle
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_may_end_an_inherited_session_and_start_its_own(service: LocalMindlytics) -> None:
    program = FORKING.format(
        before='session = client.create_session(session_id="s", device_id="d").__enter__(); client.flush()',
        inside="session.end_session()\n"
        "        with session: own = session.session_id; session.track_event(event='Seen')",
        after="os._exit(0)",  # the parent would end it as well
    )
    result = child.run(program, flags=FORK_ALLOWED, env=lifecycle.address(service))

    assert (result.returncode, result.stderr) == (0, "")
    assert names(service.events("s")) == ["start_session", "end_session"]
    (own,) = set(service.session_ids) - {"s"}
    assert names(service.events(own)) == ["start_session", "Seen", "end_session"]


def test_a_joined_session_can_be_entered_again_after_this_object_ended_it(service: LocalMindlytics) -> None:
    async def main() -> None:
        session = client_of(service).create_session(session_id="s", device_id="d", join=True)
        async with session:
            await session.end_session()
        async with session:
            await session.track_event(event="Back")

    asyncio.run(main())
    assert [event["type"] for event in service.events("s")] == ["end_session", "track"]
