"""The hook in real LangGraph, as the hook of its own agent, a node, or the middleware of LangChain's agent."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from support.chat_models import ScriptedChatModel, answer
from support.sdk import MemoryDoor, names, session_at

from mlsdk import Session
from mlsdk.helpers.langchain import MindlyticsCallbackHandler
from mlsdk.helpers.langgraph import MLPostModellHook

try:
    from langchain.agents import create_agent
except ImportError:
    create_agent = None  # type: ignore[assignment]

needs_create_agent = pytest.mark.skipif(create_agent is None, reason="LangChain before 1.0")

QUESTION = {"messages": [("user", "Where is 7?")]}
SCRIPT = [answer("", ("order", {"number": 7}, "c1"), tokens=(10, 5)), answer("On its way.", tokens=(20, 6))]
TURN = {
    "user": "Where is 7?",
    "assistant": "On its way.",
    "model": "gpt-4o",
    "prompt_tokens": 30,
    "completion_tokens": 11,
}
CALL = {"name": "order", "args": '{"number": 7}', "result": "7 is on its way"}


@tool
def order(number: int) -> str:
    """Where an order is."""
    return f"{number} is on its way"


@tool
def cancel(number: int) -> str:
    """Cancel an order, when the user has agreed."""
    return f"{number} is cancelled" if interrupt("Really?") == "yes" else "not cancelled"


def react_agent(model: ScriptedChatModel, tools: list[Any] | None = None, **options: Any) -> Any:
    """LangGraph's own agent, which its later versions call deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langgraph.prebuilt import create_react_agent

        return create_react_agent(model, [order, cancel] if tools is None else tools, **options)


def middleware_agent(model: ScriptedChatModel, hook: MLPostModellHook, **options: Any) -> Any:
    return create_agent(model, [order, cancel], middleware=[hook], **options)


def hook_agent(model: ScriptedChatModel, hook: MLPostModellHook, **options: Any) -> Any:
    return react_agent(model, post_model_hook=hook, **options)


AGENTS = pytest.mark.parametrize(
    "make", [hook_agent, pytest.param(middleware_agent, marks=needs_create_agent)], ids=["hook", "middleware"]
)


@pytest.fixture
def door() -> MemoryDoor:
    return MemoryDoor()


@pytest.fixture
def session(door: MemoryDoor) -> Session:
    return session_at(door, device_id="d")


def recorded(door: MemoryDoor) -> list[dict[str, Any]]:
    """What was recorded in the conversation, without the ids of turns and with runtimes as True."""
    found = []
    for event in door.events:
        if event["type"] == "track" and event["event"] != "Conversation Started":
            values = dict(event.get("properties", {}))  # type: ignore[arg-type]
            values.pop("turn_id", None)
            if "runtime" in values:
                values["runtime"] = isinstance(values["runtime"], int)
            found.append(values)
    return found


def _invoke(agent: Any, config: Any) -> None:
    agent.invoke(QUESTION, config)


def _ainvoke(agent: Any, config: Any) -> None:
    asyncio.run(agent.ainvoke(QUESTION, config))


def _stream(agent: Any, config: Any) -> None:
    assert list(agent.stream(QUESTION, config, stream_mode="messages"))


def _astream(agent: Any, config: Any) -> None:
    async def read() -> None:
        assert [each async for each in agent.astream(QUESTION, config, stream_mode="messages")]

    asyncio.run(read())


WAYS = pytest.mark.parametrize("way", [_invoke, _ainvoke, _stream, _astream], ids=lambda way: way.__name__)


@WAYS
@AGENTS
def test_a_turn_with_a_function(
    door: MemoryDoor, session: Session, make: Callable[..., Any], way: Callable[[Any, Any], None]
) -> None:
    agent = make(ScriptedChatModel(script=SCRIPT), MLPostModellHook())
    way(agent, {"configurable": {"session": session}})
    assert names(door.events)[:2] == ["start_session", "Conversation Started"]
    assert recorded(door) == [CALL, TURN]
    assert len({event["properties"]["turn_id"] for event in door.events[2:]}) == 1  # type: ignore[index, call-overload]


@WAYS
@pytest.mark.parametrize("kind", ["react", pytest.param("create_agent", marks=needs_create_agent)])
def test_the_handler_sees_the_same_and_the_runtime(
    door: MemoryDoor, session: Session, kind: str, way: Callable[[Any, Any], None]
) -> None:
    model = ScriptedChatModel(script=SCRIPT)
    agent: Any = react_agent(model) if kind == "react" else create_agent(model, [order])
    way(agent, {"callbacks": [MindlyticsCallbackHandler(session)]})
    assert recorded(door) == [{**CALL, "runtime": True}, TURN]


@AGENTS
def test_a_history_that_is_kept_makes_no_new_turns(
    door: MemoryDoor, session: Session, make: Callable[..., Any]
) -> None:
    script = [lambda said: answer("", ("order", {"number": 7}, f"c{len(said)}"), tokens=(10, 5)), SCRIPT[1]]
    agent = make(ScriptedChatModel(script=script), MLPostModellHook(), checkpointer=InMemorySaver())
    for _ in range(3):
        agent.invoke(QUESTION, {"configurable": {"session": session, "thread_id": "t"}})
    assert recorded(door) == [CALL, TURN] * 3


@AGENTS
def test_a_model_that_is_named_is_the_one_of_all_usage(
    door: MemoryDoor, session: Session, make: Callable[..., Any]
) -> None:
    script = [SCRIPT[0], answer("On its way.", tokens=(20, 6), model=None)]
    agent = make(ScriptedChatModel(script=script), MLPostModellHook(model_name="mine"))
    agent.invoke(QUESTION, {"configurable": {"session": session}})
    assert recorded(door) == [CALL, {**TURN, "model": "mine"}]


@AGENTS
def test_usage_that_nobody_knows_is_absent(door: MemoryDoor, session: Session, make: Callable[..., Any]) -> None:
    agent = make(ScriptedChatModel(script=[answer("Hello.", tokens=None)]), MLPostModellHook("mine"))
    agent.invoke(QUESTION, {"configurable": {"session": session}})
    assert recorded(door) == [{"user": "Where is 7?", "assistant": "Hello."}]


@AGENTS
def test_agents_of_many_users_share_a_hook(make: Callable[..., Any]) -> None:
    model = ScriptedChatModel(
        script=[
            lambda messages: answer("", ("order", {"number": int(messages[-1].content)}, "the same id")),
            lambda messages: answer(messages[-1].content),
        ]
    )
    agent = make(model, MLPostModellHook())
    doors = [MemoryDoor() for _ in range(30)]

    async def together() -> None:
        await asyncio.gather(
            *(
                agent.ainvoke(
                    {"messages": [("user", str(number))]},
                    {"configurable": {"session": session_at(door, device_id="d")}},
                )
                for number, door in enumerate(doors)
            )
        )

    asyncio.run(together())
    for number, door in enumerate(doors):
        call, turn = recorded(door)
        assert call["result"] == turn["assistant"] == f"{number} is on its way"
        assert (turn["user"], turn["prompt_tokens"]) == (str(number), 20)


@AGENTS
def test_an_agent_that_was_interrupted_makes_one_turn(
    door: MemoryDoor, session: Session, make: Callable[..., Any]
) -> None:
    script = [answer("", ("cancel", {"number": 7}, "c1"), tokens=(10, 5)), answer("Done.", tokens=(20, 6))]
    agent = make(ScriptedChatModel(script=script), MLPostModellHook(), checkpointer=InMemorySaver())
    config = {"configurable": {"session": session, "thread_id": "t"}}
    agent.invoke({"messages": [("user", "Cancel 7")]}, config)
    assert recorded(door) == []
    agent.invoke(Command(resume="yes"), config)
    assert recorded(door) == [
        {"name": "cancel", "args": '{"number": 7}', "result": "7 is cancelled"},
        {**TURN, "user": "Cancel 7", "assistant": "Done."},
    ]


def test_the_handler_in_an_agent_that_was_interrupted(door: MemoryDoor, session: Session) -> None:
    script = [answer("", ("cancel", {"number": 7}, "c1"), tokens=(10, 5)), answer("Done.", tokens=(20, 6))]
    agent = react_agent(ScriptedChatModel(script=script), checkpointer=InMemorySaver())
    config = {"callbacks": [MindlyticsCallbackHandler(session)], "configurable": {"thread_id": "t"}}
    agent.invoke({"messages": [("user", "Cancel 7")]}, config)
    assert recorded(door) == []
    agent.invoke(Command(resume="yes"), config)
    assert recorded(door) == [
        {"name": "cancel", "args": '{"number": 7}', "result": "7 is cancelled", "runtime": True},
        {**TURN, "user": "Cancel 7", "assistant": "Done."},
    ]


def test_a_node_of_ones_own_graph(door: MemoryDoor, session: Session) -> None:
    model = ScriptedChatModel(script=[answer("Hello.")])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("record", MLPostModellHook())
    graph.add_edge(START, "model")
    graph.add_edge("model", "record")
    graph.add_edge("record", END)
    graph.compile().invoke(QUESTION, {"configurable": {"session": session}})
    assert [each["assistant"] for each in recorded(door)] == ["Hello."]


def test_a_hook_that_calls_ours(door: MemoryDoor, session: Session) -> None:
    ours = MLPostModellHook()

    async def hook(state: Any, config: RunnableConfig) -> None:
        await ours(state, config)

    agent = react_agent(ScriptedChatModel(script=SCRIPT), post_model_hook=hook)
    asyncio.run(agent.ainvoke(QUESTION, {"configurable": {"session": session}}))
    assert recorded(door) == [CALL, TURN]


@needs_create_agent
def test_a_session_in_the_context(door: MemoryDoor, session: Session) -> None:
    agent = middleware_agent(ScriptedChatModel(script=SCRIPT), MLPostModellHook())
    agent.invoke(QUESTION, context={"session": session})
    assert recorded(door) == [CALL, TURN]


@needs_create_agent
def test_an_answer_of_data(door: MemoryDoor, session: Session) -> None:
    from langchain.agents.structured_output import ToolStrategy
    from pydantic import BaseModel

    class Place(BaseModel):
        city: str

    model = ScriptedChatModel(script=[answer("", ("Place", {"city": "Rome"}, "c1"))])
    agent = create_agent(model, [], middleware=[MLPostModellHook()], response_format=ToolStrategy(Place))
    agent.invoke(QUESTION, {"configurable": {"session": session}})  # type: ignore[arg-type]
    assert [each.get("assistant") for each in recorded(door)] == [None, '{"city": "Rome"}']


def test_an_agent_that_fails_raises_as_ever(door: MemoryDoor, session: Session) -> None:
    agent = hook_agent(ScriptedChatModel(script=[SCRIPT[0], OSError("no network")]), MLPostModellHook())
    handler = MindlyticsCallbackHandler(session)
    with pytest.raises(OSError, match="no network"):
        agent.invoke(QUESTION, {"callbacks": [handler], "configurable": {"session": session}})
    assert recorded(door) == [
        {**CALL, "runtime": True},
        {"model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 5},
    ]
    assert len(handler._runs) == 0


def test_an_agent_whose_stream_is_left(door: MemoryDoor, session: Session) -> None:
    agent = react_agent(ScriptedChatModel(script=[answer("Once upon a time there was a king")]))
    handler = MindlyticsCallbackHandler(session)

    async def leave() -> None:
        stream = agent.astream(QUESTION, {"callbacks": [handler]}, stream_mode="messages")
        assert (await anext(stream))[0].content == "Once "
        await stream.aclose()

    asyncio.run(leave())
    (turn,) = recorded(door)
    assert turn["assistant"].startswith("Once ")
    assert len(handler._runs) == 0


def test_without_a_session_nothing_is_recorded_and_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    agent = hook_agent(ScriptedChatModel(script=SCRIPT), MLPostModellHook())
    with caplog.at_level(logging.WARNING, logger="mlsdk"):
        for _ in range(3):
            agent.invoke(QUESTION)
    assert len(caplog.messages) == 1
    assert '{"configurable": {"session": session}}' in caplog.messages[0]
