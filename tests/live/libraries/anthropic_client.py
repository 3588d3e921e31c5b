"""A chatbot as people write it with Anthropic's client."""

from __future__ import annotations

from typing import Any

import anthropic
from chat import SYSTEM, WEATHER_SCHEMA, get_weather

_TOOLS: Any = [{"name": "get_weather", "description": "The weather", "input_schema": WEATHER_SCHEMA}]


class Chatbot:
    """Speaks by messages, with the whole history each time."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._client = anthropic.AsyncAnthropic()
        self._history: list[Any] = []

    async def speak(self, text: str, is_streamed: bool) -> str:
        """One turn; nothing of it is kept if it fails."""
        history = [*self._history, {"role": "user", "content": text}]
        request: Any = {"model": "claude-sonnet-4-5", "max_tokens": 99, "system": SYSTEM, "tools": _TOOLS}
        while True:
            if is_streamed:
                async with self._client.messages.stream(**request, messages=history) as stream:
                    answer = await stream.get_final_message()
            else:
                answer = await self._client.messages.create(**request, messages=history)
            history.append(
                {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]}
            )
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": get_weather(**block.input)}
                for block in answer.content
                if block.type == "tool_use"
            ]
            if not results:
                self._history = history
                return "".join(block.text for block in answer.content if block.type == "text")
            history.append({"role": "user", "content": results})
