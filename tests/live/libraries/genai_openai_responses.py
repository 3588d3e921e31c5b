"""OpenAI's Responses, whose history the service keeps: each call goes on from the one before."""

import json
from typing import Any

import openai
from chat import MODEL, SYSTEM, WEATHER_SCHEMA, get_weather, hold, provider
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

_TOOLS: Any = [{"type": "function", "name": "get_weather", "parameters": WEATHER_SCHEMA, "strict": True}]


class Chatbot:
    """Sends what is new, and the id of the last answer."""

    def __init__(self) -> None:
        """Nothing was answered yet."""
        self._client = openai.AsyncOpenAI()
        self._previous: str | None = None

    async def speak(self, text: str, is_streamed: bool) -> str:
        """One turn."""
        given: Any = [{"role": "user", "content": text}]
        previous = self._previous
        while True:
            answer = await self._ask(given, previous, is_streamed)
            previous = answer.id
            given = [
                {
                    "type": "function_call_output",
                    "call_id": item.call_id,
                    "output": get_weather(**json.loads(item.arguments)),
                }
                for item in answer.output
                if item.type == "function_call"
            ]
            if not given:
                self._previous = previous
                return str(answer.output_text)

    async def _ask(self, given: Any, previous: str | None, is_streamed: bool) -> Any:
        more: Any = {} if previous is None else {"previous_response_id": previous}
        if not is_streamed:
            return await self._client.responses.create(
                model=MODEL, instructions=SYSTEM, input=given, tools=_TOOLS, **more
            )
        final: Any = None
        stream: Any = await self._client.responses.create(
            model=MODEL, instructions=SYSTEM, input=given, tools=_TOOLS, stream=True, **more
        )
        async for event in stream:
            if event.type == "response.completed":
                final = event.response
        return final


traces = provider()
OpenAIInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
