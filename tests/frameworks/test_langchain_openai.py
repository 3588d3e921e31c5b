"""The helpers with OpenAI's models in LangChain, over HTTP: whole answers, streams, functions, errors."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from model_stand_in import Failure, ModelStandIn, Question, Reply, ToolCall
from openai import OpenAIError
from support.sdk import client_of

from mlsdk import Session
from mlsdk.helpers.langchain import MindlyticsCallbackHandler, MLChatRecorderCallback
from mlsdk.helpers.langgraph import MLPostModellHook
from mlsdk.local import LocalMindlytics, TurnView

try:
    from langchain.agents import create_agent
except ImportError:
    create_agent = None  # type: ignore[assignment]

Record = Callable[[Session], Any]


@tool
def order(number: int) -> str:
    """Where an order is."""
    time.sleep(0.002)
    return f"{number} is on its way"


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """Closed in the end, which LangChain leaves to the garbage collector."""
    with httpx.Client(trust_env=False) as _OPEN["http_client"]:
        yield
    _OPEN.clear()


_OPEN: Final[dict[str, Any]] = {}


def chat_model(models: ModelStandIn, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=models.openai_url, api_key="any", max_retries=0, **_OPEN, **options)


def agent_of(model: ChatOpenAI, hook: MLPostModellHook | None = None) -> Any:
    """The agent of the versions that are installed."""
    if create_agent is not None:
        return create_agent(model, [order], middleware=[] if hook is None else [hook])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langgraph.prebuilt import create_react_agent

        return create_react_agent(model, [order], post_model_hook=hook)


def recorded(service: LocalMindlytics, work: Callable[[Session], None]) -> Any:
    """The one conversation that the service holds after the work is done."""

    async def run() -> str:
        async with client_of(service).create_session(device_id="d") as session:
            await asyncio.to_thread(work, session)
        return str(session.session_id)

    (conversation,) = service.session(asyncio.run(run())).conversations
    return conversation


def about(turn: TurnView) -> tuple[str, str, str | None, int | None, int | None]:
    return turn.user, turn.assistant, turn.model, turn.prompt_tokens, turn.completion_tokens


def test_a_whole_answer(service: LocalMindlytics, models: ModelStandIn) -> None:
    models.script(Reply("Hello Ann!", input_tokens=30, output_tokens=4))

    def work(session: Session) -> None:
        chat_model(models, callbacks=[MLChatRecorderCallback(session)]).invoke("I am Ann")

    (turn,) = recorded(service, work).turns
    assert about(turn) == ("I am Ann", "Hello Ann!", "gpt-4o", 30, 4)


@pytest.mark.parametrize("has_usage", [True, False])
def test_a_stream(service: LocalMindlytics, models: ModelStandIn, has_usage: bool) -> None:
    models.script(Reply("Hello my dear Ann!", input_tokens=30, output_tokens=4))

    def work(session: Session) -> None:
        model = chat_model(models, stream_usage=has_usage, callbacks=[MLChatRecorderCallback(session)])
        assert len(list(model.stream("I am Ann"))) > 4

    (turn,) = recorded(service, work).turns
    usage = ("gpt-4o", 30, 4) if has_usage else (None, None, None)
    assert about(turn) == ("I am Ann", "Hello my dear Ann!", *usage)


def test_a_stream_that_breaks_keeps_what_came(service: LocalMindlytics, models: ModelStandIn) -> None:
    models.pause = 0.01
    models.script(Reply("Once upon a time there was a king", breaks_after=3))

    def work(session: Session) -> None:
        with pytest.raises(Exception, match=r"(?i)incomplete|closed|connection|peer"):
            list(chat_model(models).stream("A story!", {"callbacks": [MindlyticsCallbackHandler(session)]}))

    (turn,) = recorded(service, work).turns
    assert turn.user == "A story!"
    assert "Once upon a time there was a king".startswith(turn.assistant)
    assert len(turn.assistant.split()) in (2, 3)
    assert turn.properties["partial"] is True


def test_an_error_of_the_service_is_the_applications(service: LocalMindlytics, models: ModelStandIn) -> None:
    models.script(Failure(429, "slow down"), Reply("Hello!"))

    def work(session: Session) -> None:
        config: Any = {"callbacks": [MindlyticsCallbackHandler(session)]}
        with pytest.raises(OpenAIError, match="slow down"):
            chat_model(models).invoke("hi", config)
        chat_model(models).invoke("hi again", config)

    assert [turn.user for turn in recorded(service, work).turns] == ["hi again"]


AGENTS = pytest.mark.parametrize("kind", ["handler", "hook", "model"])


@AGENTS
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_with_functions(service: LocalMindlytics, models: ModelStandIn, kind: str, is_streamed: bool) -> None:
    models.script(
        Reply(tool_calls=[ToolCall("order", {"number": 7}), ToolCall("order", {"number": 8})], input_tokens=20),
        Reply("Both are on their way.", input_tokens=40, output_tokens=6),
    )

    def work(session: Session) -> None:
        handler = MindlyticsCallbackHandler(session)
        callbacks = [handler] if kind == "model" else None
        agent = agent_of(
            chat_model(models, callbacks=callbacks, stream_usage=True), MLPostModellHook() if kind == "hook" else None
        )
        config: Any = {"configurable": {"session": session}}
        if kind == "handler":
            config["callbacks"] = [handler]
        said: Any = {"messages": [HumanMessage("Where are 7 and 8?")]}
        if is_streamed:
            assert list(agent.stream(said, config, stream_mode="messages"))
        else:
            agent.invoke(said, config)

    conversation = recorded(service, work)
    (turn,) = conversation.turns
    assert about(turn)[:4] == ("Where are 7 and 8?", "Both are on their way.", "gpt-4o", 60)
    assert conversation.prompt_tokens == 60
    calls = [event["properties"] for event in service.events() if event.get("event") == "Conversation Function"]
    assert sorted((call["name"], call["args"], call["result"]) for call in calls) == [
        ("order", f'{{"number": {number}}}', f"{number} is on its way") for number in (7, 8)
    ]
    assert all(call["turn_id"] == turn.properties["turn_id"] for call in calls)
    if kind == "handler":
        assert all(call["runtime"] >= 2 for call in calls)
    else:
        assert all("runtime" not in call for call in calls)


@AGENTS
def test_many_users_at_a_time(service: LocalMindlytics, models: ModelStandIn, kind: str) -> None:
    """Each with a session of their own; hook, agent and, for the hook, model are shared."""

    def brain(question: Question) -> Reply:
        number = int(question.messages[-1].text.split()[0])
        if question.results:
            return Reply(f"Order {number} is fine.", input_tokens=number + 1, output_tokens=1)
        return Reply(tool_calls=[ToolCall("order", {"number": number})], input_tokens=number + 1, output_tokens=1)

    models.brain = brain

    async def user(number: int, shared: Any) -> str:
        async with client_of(service).create_session(device_id=f"d{number}") as session:
            handler = MindlyticsCallbackHandler(session)
            agent = agent_of(chat_model(models, callbacks=[handler])) if kind == "model" else shared
            config: Any = {"configurable": {"session": session}}
            if kind == "handler":
                config["callbacks"] = [handler]
            await agent.ainvoke({"messages": [HumanMessage(f"{number} please")]}, config)
        return str(session.session_id)

    async def together() -> list[str]:
        async with httpx.AsyncClient(trust_env=False) as _OPEN["http_async_client"]:
            shared = agent_of(chat_model(models), MLPostModellHook() if kind == "hook" else None)
            return await asyncio.gather(*(user(number, shared) for number in range(20)))

    for number, session_id in enumerate(asyncio.run(together())):
        (conversation,) = service.session(session_id).conversations
        (turn,) = conversation.turns
        assert about(turn) == (
            f"{number} please",
            f"Order {number} is fine.",
            "gpt-4o",
            2 * (number + 1),
            2,
        )
        (call,) = [e["properties"] for e in service.events(session_id) if e.get("event") == "Conversation Function"]
        assert call["result"] == f"{number} is on its way"


@pytest.mark.skipif(create_agent is None, reason="LangChain before 1.0")
def test_data_that_a_model_is_asked_for(service: LocalMindlytics, models: ModelStandIn) -> None:
    from pydantic import BaseModel

    class Place(BaseModel):
        """A place."""

        city: str

    models.script(Reply(tool_calls=[ToolCall("Place", {"city": "Rome"})]))

    def work(session: Session) -> None:
        model = chat_model(models).with_structured_output(Place, method="function_calling")
        place = model.invoke("Where is the Forum?", {"callbacks": [MindlyticsCallbackHandler(session)]})
        assert place == Place(city="Rome")

    (turn,) = recorded(service, work).turns
    assert (turn.user, turn.assistant) == ("Where is the Forum?", '{"city": "Rome"}')
