"""The chat that each library holds: what the user says, what the model is made to answer, and what can be told of it.

A library's program says how a turn is spoken; `hold` sets up what an application sets up and speaks all of them. The
ids of the session are set around the chat, by `using_session`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from model_stand_in import Failure, Reply, ToolCall
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from mlsdk_otel import MindlyticsSpanExporter, MindlyticsSpanProcessor, using_session

SYSTEM: Final = "You are terse."
MODEL: Final = "gpt-4o"
WEATHER_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the user says.

    Attributes:
        answer: What the model says in the end; None if it fails.
        is_streamed: The application reads the answer piece by piece.
    """

    user: str
    answer: str | None
    replies: tuple[Reply | Failure, ...]
    is_streamed: bool = False


def plain(user: str, answer: str, tokens: tuple[int, int], *, is_streamed: bool = False) -> Step:
    """An utterance with one call of the model."""
    return Step(user, answer, (Reply(answer, input_tokens=tokens[0], output_tokens=tokens[1]),), is_streamed)


def with_tool(user: str, city: str, answer: str, *, is_streamed: bool = False) -> Step:
    """An utterance for which a function is called: two calls of the model."""
    asks = Reply(tool_calls=[ToolCall("get_weather", {"city": city}, f"call_{city}")], input_tokens=30, output_tokens=3)
    return Step(user, answer, (asks, Reply(answer, input_tokens=40, output_tokens=4)), is_streamed)


CHAT: Final = (
    plain("Hello", "What can I do?", (10, 1)),
    plain("Yes", "Yes what?", (20, 2)),
    with_tool("What is the weather in Oslo?", "Oslo", "It rains."),
    plain("Count to three", "one two three", (50, 5), is_streamed=True),
    Step("Fail", None, (Failure(500),)),
    plain("Yes", "Yes again.", (60, 6)),
    with_tool("And in Rome?", "Rome", "It rains too.", is_streamed=True),
)
"""Of one turn, of several, with a function, as a stream, with the same words twice, and one that fails."""

TURNS: Final = [
    ("Hello", "What can I do?", 10, 1),
    ("Yes", "Yes what?", 20, 2),
    ("What is the weather in Oslo?", "It rains.", 70, 7),
    ("Count to three", "one two three", 50, 5),
    ("Yes", "Yes again.", 60, 6),
    ("And in Rome?", "It rains too.", 70, 7),
]
"""What a person would say was said, and the tokens of it: the failed one is no turn."""
FUNCTIONS: Final = [
    ("get_weather", {"city": "Oslo"}, "rain in Oslo"),
    ("get_weather", {"city": "Rome"}, "rain in Rome"),
]

Speak = Callable[[str, bool], Awaitable[str]]
"""Says something, as a stream or not, and returns the answer; raises what the library raises."""


def provider() -> TracerProvider:
    """The application's provider: the exporter sends to one service, the processor to another, each as if alone."""
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(MindlyticsSpanExporter(server_endpoint=os.environ["EXPORTER_BASE"])))
    made.add_span_processor(MindlyticsSpanProcessor(server_endpoint=os.environ["PROCESSOR_BASE"]))
    return made


def hold(traces: TracerProvider, speak: Speak, *others: Any) -> None:
    """Speaks the whole chat, checks that the library understood the answers, and ends.

    Args:
        traces: The provider of spans.
        speak: How something is said.
        others: More providers to shut down, before that of spans.
    """
    asyncio.run(_hold(speak))
    for provided in (*others, traces):
        provided.shutdown()


async def _hold(speak: Speak) -> None:
    with using_session("live-session", user_id="ann", device_id="laptop"):
        for step in CHAT:
            if step.answer is None:
                await _fail(speak, step)
            else:
                answer = await speak(step.user, step.is_streamed)
                assert answer == step.answer, (answer, step)


async def _fail(speak: Speak, step: Step) -> None:
    try:
        answer = await speak(step.user, step.is_streamed)
    except Exception:
        return
    raise AssertionError(f"the model failed, and the library said {answer!r}")
