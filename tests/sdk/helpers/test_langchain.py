"""The handler in real LangChain: what its models, chains and functions do becomes turns."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from support.chat_models import ScriptedChatModel, answer
from support.sdk import MemoryDoor, names, session_at, sync_client_of

from mlsdk import Session
from mlsdk.helpers.langchain import MindlyticsCallbackHandler, MLChatRecorderCallback
from mlsdk.local import LocalMindlytics

USAGE = {"model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 5}
ASKING = answer("", ("order", {"number": 7}, "c1"), tokens=(10, 5))
ANSWERING = answer("It is on its way.", tokens=(20, 6))


@pytest.fixture
def door() -> MemoryDoor:
    return MemoryDoor()


@pytest.fixture
def session(door: MemoryDoor) -> Session:
    return session_at(door, device_id="d")


@pytest.fixture
def handler(session: Session) -> MindlyticsCallbackHandler:
    return MindlyticsCallbackHandler(session)


def recorded(door: MemoryDoor) -> list[dict[str, Any]]:
    """What was recorded in the conversation, without the ids of turns, which differ; runtimes as True."""
    found = []
    for event in door.events:
        if event["type"] == "track" and event["event"] != "Conversation Started":
            values = dict(event.get("properties", {}))  # type: ignore[arg-type]
            values.pop("turn_id", None)
            if "runtime" in values:
                values["runtime"] = isinstance(values["runtime"], int)
            found.append(values)
    return found


@tool
def order(number: int) -> str:
    """Where an order is."""
    if number < 0:
        raise ValueError("no such order")
    return f"{number} is on its way"


def loop(model: ScriptedChatModel, said: str, config: RunnableConfig, *, tool_config: RunnableConfig | None) -> str:
    """An agent by hand: what the application itself may do in between is unknown to the handler."""
    messages: list[Any] = [HumanMessage(said)]
    while True:
        message = model.invoke(messages, config)
        messages.append(message)
        if not message.tool_calls:
            return str(message.content)
        messages += [order.invoke(call, tool_config) for call in message.tool_calls]


def test_a_model_that_has_the_handler(door: MemoryDoor, session: Session) -> None:
    model = ScriptedChatModel(script=[answer("hello")], callbacks=[MLChatRecorderCallback(session)])
    model.invoke([("system", "Be kind."), ("human", "first"), ("ai", "ok"), ("human", "hi")])
    assert names(door.events) == ["start_session", "Conversation Started", "Conversation Turn"]
    assert recorded(door) == [{"user": "hi", "assistant": "hello", **USAGE}]


def _invoke(chain: Any, config: RunnableConfig) -> None:
    chain.invoke({"question": "hi"}, config)


def _stream(chain: Any, config: RunnableConfig) -> None:
    assert len(list(chain.stream({"question": "hi"}, config))) > 1


def _ainvoke(chain: Any, config: RunnableConfig) -> None:
    asyncio.run(chain.ainvoke({"question": "hi"}, config))


def _astream(chain: Any, config: RunnableConfig) -> None:
    async def read() -> None:
        assert len([piece async for piece in chain.astream({"question": "hi"}, config)]) > 1

    asyncio.run(read())


def _batch(chain: Any, config: RunnableConfig) -> None:
    chain.batch([{"question": "hi"}], config)


def _astream_events(chain: Any, config: RunnableConfig) -> None:
    async def read() -> None:
        async for _ in chain.astream_events({"question": "hi"}, config, version="v2"):
            pass

    asyncio.run(read())


WAYS = pytest.mark.parametrize(
    "way", [_invoke, _stream, _ainvoke, _astream, _batch, _astream_events], ids=lambda way: way.__name__
)


@WAYS
def test_a_chain_in_each_way_of_calling_it(
    door: MemoryDoor, handler: MindlyticsCallbackHandler, way: Callable[[Any, RunnableConfig], None]
) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "Say something long. Question: {question}")])
    chain = prompt | ScriptedChatModel(script=[answer("Hello, my dear friend!")]) | StrOutputParser()
    way(chain, {"callbacks": [handler]})
    assert recorded(door) == [{"user": "hi", "assistant": "Hello, my dear friend!", **USAGE}]
    assert len(handler._runs) == 0


def test_a_stream_without_usage_has_none(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    model = ScriptedChatModel(script=[answer("Hello there", tokens=None)])
    list(model.stream("hi", {"callbacks": [handler]}))
    assert recorded(door) == [{"user": "hi", "assistant": "Hello there"}]


def test_a_stream_that_is_left_keeps_what_was_read(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    stream = ScriptedChatModel(script=[answer("Once upon a time")]).stream("hi", {"callbacks": [handler]})
    assert [next(stream).content, next(stream).content] == ["Once ", "upon "]
    stream.close()  # type: ignore[attr-defined]
    assert recorded(door) == [{"user": "hi", "assistant": "Once upon ", "partial": True}]


def test_a_chain_whose_stream_is_left(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "Question: {question}")])
    chain = prompt | ScriptedChatModel(script=[answer("Once upon a time there was a king")]) | StrOutputParser()

    async def leave() -> None:
        stream = chain.astream({"question": "hi"}, {"callbacks": [handler]})
        assert await anext(stream) == "Once "
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    (turn,) = recorded(door)
    assert turn.pop("assistant").startswith("Once ")
    assert turn == {"user": "hi", "partial": True}


def test_a_model_that_fails_is_no_turn(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    model = ScriptedChatModel(script=[OSError("no network")])
    with pytest.raises(OSError, match="no network"):
        model.invoke("hi", {"callbacks": [handler]})
    assert door.events == []
    assert len(handler._runs) == 0


def test_a_second_try_is_one_turn(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    tries = iter([OSError("no network"), answer("hello")])

    def reply(_: Any) -> AIMessage:
        step = next(tries)
        if isinstance(step, OSError):
            raise step
        return step

    model = ScriptedChatModel(script=[reply]).with_retry(
        retry_if_exception_type=(OSError,), wait_exponential_jitter=False
    )
    model.invoke("hi", {"callbacks": [handler]})
    assert recorded(door) == [{"user": "hi", "assistant": "hello", **USAGE}]


def test_a_model_that_stands_in_for_another(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    model = ScriptedChatModel(script=[OSError("no network")]).with_fallbacks(
        [ScriptedChatModel(script=[answer("hello", model="other")])]
    )
    model.invoke("hi", {"callbacks": [handler]})
    assert recorded(door) == [{"user": "hi", "assistant": "hello", **USAGE, "model": "other"}]


@pytest.mark.parametrize("is_told_of_functions", [True, False])
def test_functions_between_two_calls_of_a_model(
    door: MemoryDoor, handler: MindlyticsCallbackHandler, is_told_of_functions: bool
) -> None:
    config: RunnableConfig = {"callbacks": [handler]}
    model = ScriptedChatModel(script=[ASKING, ANSWERING])
    loop(model, "Where is 7?", config, tool_config=config if is_told_of_functions else None)
    runtime = {"runtime": True} if is_told_of_functions else {}
    assert recorded(door) == [
        {"name": "order", "args": '{"number": 7}', "result": "7 is on its way", **runtime},
        {
            "user": "Where is 7?",
            "assistant": "It is on its way.",
            "model": "gpt-4o",
            "prompt_tokens": 30,
            "completion_tokens": 11,
        },
    ]


def test_a_chain_around_everything_makes_one_turn(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    router = ScriptedChatModel(script=[answer("orders", tokens=(3, 1), model="small")])
    agent = ScriptedChatModel(script=[ASKING, ANSWERING])

    def work(said: str, config: RunnableConfig) -> str:
        assert router.invoke(f"Classify: {said}", config).content == "orders"
        return loop(agent, said, config, tool_config=config)

    assert RunnableLambda(work).invoke("Where is 7?", {"callbacks": [handler]}) == "It is on its way."
    assert recorded(door) == [
        {"name": "order", "args": '{"number": 7}', "result": "7 is on its way", "runtime": True},
        {
            "user": "Where is 7?",
            "assistant": "It is on its way.",
            "model": "gpt-4o",
            "prompt_tokens": 30,
            "completion_tokens": 11,
        },
        {"model": "small", "prompt_tokens": 3, "completion_tokens": 1},
    ]
    turn_ids = {dict(event["properties"]).get("turn_id") for event in door.events if "properties" in event}  # type: ignore[arg-type]
    assert len(turn_ids - {None}) == 1


def test_a_function_that_fails_is_told(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    config: RunnableConfig = {"callbacks": [handler]}
    with pytest.raises(ValueError, match="no such order"):
        order.invoke({"number": -1}, config)
    assert recorded(door) == [
        {
            "name": "order",
            "args": '{"number": -1}',
            "result": "ValueError: no such order",
            "runtime": True,
            "failed": True,
        }
    ]


def test_an_agent_that_fails_tells_what_it_took(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    model = ScriptedChatModel(script=[answer("", ("order", {"number": -1}, "c1"), tokens=(10, 5))])

    def work(said: str, config: RunnableConfig) -> str:
        return loop(model, said, config, tool_config=config)

    with pytest.raises(ValueError, match="no such order"):
        RunnableLambda(work).invoke("Where is it?", {"callbacks": [handler]})
    assert [each.get("failed") for each in recorded(door)] == [True, None]
    assert recorded(door)[1] == USAGE


class OneDocument(BaseRetriever):
    """Asks a model for other words before it looks."""

    model: ScriptedChatModel

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
        self.model.invoke(f"other words for {query}", {"callbacks": run_manager.get_child()})
        return []


def test_a_model_within_a_retriever_belongs_to_the_turn(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    retriever = OneDocument(model=ScriptedChatModel(script=[answer("why not", tokens=(1, 1))]))
    prompt = ChatPromptTemplate.from_messages([("human", "{context} {question}")])
    chain = (
        RunnablePassthrough.assign(context=itemgetter("question") | retriever)
        | prompt
        | ScriptedChatModel(script=[answer("because")])
    )
    chain.invoke({"question": "why?"}, {"callbacks": [handler]})
    assert recorded(door) == [
        {"user": "why?", "assistant": "because", "model": "gpt-4o", "prompt_tokens": 11, "completion_tokens": 6}
    ]


def test_a_model_of_texts(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    FakeListLLM(responses=["hello"]).invoke("hi", {"callbacks": [handler]})
    assert recorded(door) == [{"user": "hi", "assistant": "hello"}]


def test_a_handler_on_the_model_and_on_the_call_records_once(door: MemoryDoor, session: Session) -> None:
    handler = MindlyticsCallbackHandler(session)
    model = ScriptedChatModel(script=[answer("hello")], callbacks=[handler])
    (model | StrOutputParser()).invoke("hi", {"callbacks": [handler]})
    assert len(recorded(door)) == 1


def test_a_session_without_await_in_a_chain_with_it() -> None:
    with LocalMindlytics() as service:
        with sync_client_of(service).create_session(device_id="d") as session:
            model = ScriptedChatModel(script=[answer("hello")])
            asyncio.run(model.ainvoke("hi", {"callbacks": [MindlyticsCallbackHandler(session)]}))
        (turn,) = service.session(str(session.session_id)).conversations[0].turns
    assert (turn.user, turn.assistant, turn.prompt_tokens) == ("hi", "hello", 10)


def _agents(count: int) -> list[Callable[[MindlyticsCallbackHandler], Any]]:
    """Many chats that go through functions, each with answers of its own."""

    def chat(number: int) -> Callable[[MindlyticsCallbackHandler], Any]:
        model = ScriptedChatModel(
            script=[
                answer("", ("order", {"number": number}, f"c{number}"), tokens=(number + 1, 1)),
                lambda messages: answer(f"{messages[0].content} {messages[-1].content}", tokens=(number + 1, 1)),
            ]
        )

        def work(said: str, config: RunnableConfig) -> str:
            return loop(model, said, config, tool_config=config)

        return lambda handler: RunnableLambda(work).invoke(f"chat {number}:", {"callbacks": [handler]})

    return [chat(number) for number in range(count)]


def _expected(count: int) -> dict[str, tuple[str, int]]:
    return {f"chat {n}:": (f"chat {n}: {n} is on its way", 2 * (n + 1)) for n in range(count)}


def _turns(door: MemoryDoor) -> dict[str, tuple[str, int]]:
    return {each["user"]: (each["assistant"], each["prompt_tokens"]) for each in recorded(door) if "user" in each}


def test_many_threads_with_one_handler(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda agent: agent(handler), _agents(100)))
    assert _turns(door) == _expected(100)
    calls = [json.loads(each["args"])["number"] for each in recorded(door) if "name" in each]
    assert sorted(calls) == list(range(100))
    assert len(handler._runs) == 0


def test_many_tasks_with_one_handler(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    async def together() -> None:
        models = [
            ScriptedChatModel(script=[answer(f"chat {n}: {n} is on its way", tokens=(2 * (n + 1), 1))])
            for n in range(100)
        ]
        await asyncio.gather(*(model.ainvoke(f"chat {n}:", {"callbacks": [handler]}) for n, model in enumerate(models)))

    asyncio.run(together())
    assert _turns(door) == _expected(100)


def test_sessions_do_not_meet() -> None:
    doors = [MemoryDoor() for _ in range(20)]
    handlers = [MindlyticsCallbackHandler(session_at(door, device_id="d")) for door in doors]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: pair[0](pair[1]), zip(_agents(20), handlers, strict=True)))
    for number, door in enumerate(doors):
        assert _turns(door) == {f"chat {number}:": _expected(20)[f"chat {number}:"]}


def test_the_application_does_not_notice_a_session_that_has_ended(
    door: MemoryDoor, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    session = session_at(door, device_id="d")
    asyncio.run(session.start_session())
    asyncio.run(session.end_session())
    with caplog.at_level(logging.WARNING):
        message = ScriptedChatModel(script=[answer("hello")]).invoke(
            "hi", {"callbacks": [MindlyticsCallbackHandler(session)]}
        )
    assert message.content == "hello"
    assert [record.name for record in caplog.records] == ["mlsdk.helpers.recording"]
    assert "SessionClosedError" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_nothing_is_printed(
    door: MemoryDoor, handler: MindlyticsCallbackHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedChatModel(script=[ASKING, ANSWERING])
    loop(model, "Where is 7?", {"callbacks": [handler]}, tool_config=None)
    assert capsys.readouterr() == ("", "")


def test_a_message_of_parts(door: MemoryDoor, handler: MindlyticsCallbackHandler) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    said = HumanMessage([{"type": "text", "text": "What is this? "}, picture])
    ScriptedChatModel(script=[answer("A cat.")]).invoke([said], {"callbacks": [handler]})
    (turn,) = recorded(door)
    assert turn["user"] == "What is this? [image]"


def test_the_names_of_the_public_sdk_are_there() -> None:
    assert issubclass(MLChatRecorderCallback, BaseCallbackHandler)
    assert ToolMessage("x", tool_call_id="1").type == "tool"  # what `turns` takes a result by
