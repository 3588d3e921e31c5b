"""A chatbot as people write it with OpenAI's client: the history is the application's, so is the loop of functions."""

from __future__ import annotations

import json
from typing import Any

import openai
from chat import MODEL, SYSTEM, WEATHER_SCHEMA, get_weather

_TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA}}]


class Chatbot:
    """Speaks by chat completions, with the whole history each time."""

    def __init__(self) -> None:
        """Begins with the system prompt."""
        self._client = openai.AsyncOpenAI()
        self._history: list[Any] = [{"role": "system", "content": SYSTEM}]

    async def speak(self, text: str, is_streamed: bool) -> str:
        """One turn; nothing of it is kept if it fails."""
        history = [*self._history, {"role": "user", "content": text}]
        while True:
            answer = await (self._stream(history) if is_streamed else self._ask(history))
            history.append(answer)
            calls = answer.get("tool_calls") or []
            if not calls:
                self._history = history
                return str(answer["content"])
            history += [
                {
                    "role": "tool",
                    "tool_call_id": call["id"],
                    "content": get_weather(**json.loads(call["function"]["arguments"])),
                }
                for call in calls
            ]

    async def _ask(self, history: list[Any]) -> dict[str, Any]:
        answer = await self._client.chat.completions.create(model=MODEL, messages=history, tools=_TOOLS)
        return answer.choices[0].message.model_dump(exclude_none=True)

    async def _stream(self, history: list[Any]) -> dict[str, Any]:
        text, calls = "", {}
        stream = await self._client.chat.completions.create(
            model=MODEL, messages=history, tools=_TOOLS, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for part in choice.delta.tool_calls or []:
                    call = calls.setdefault(
                        part.index, {"id": part.id, "type": "function", "function": {"name": "", "arguments": ""}}
                    )
                    call["function"]["name"] += (part.function and part.function.name) or ""
                    call["function"]["arguments"] += (part.function and part.function.arguments) or ""
        return {"role": "assistant", "content": text, **({"tool_calls": list(calls.values())} if calls else {})}
