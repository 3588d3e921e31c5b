"""A chat model that says what a test wants, for LangChain. Needs langchain-core; only its tests import this."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

Call = tuple[str, dict[str, Any], str]
"""Name, arguments and id."""


def answer(
    text: str, *calls: Call, tokens: tuple[int, int] | None = (10, 5), model: str | None = "gpt-4o"
) -> AIMessage:
    """What a model says."""
    usage: Any = None
    if tokens is not None:
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
    return AIMessage(
        content=text,
        tool_calls=[{"name": name, "args": args, "id": call_id, "type": "tool_call"} for name, args, call_id in calls],
        usage_metadata=usage,
        response_metadata={} if model is None else {"model_name": model},
    )


class ScriptedChatModel(BaseChatModel):
    """Says the first answer, and after a round of functions the next; an exception in the script is raised."""

    script: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        return self

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        since_user = messages[max(i for i, message in enumerate(messages) if message.type == "human") :]
        step = self.script[min(sum(message.type == "ai" for message in since_user), len(self.script) - 1)]
        if isinstance(step, BaseException):
            raise step
        said = step(messages) if callable(step) else step
        assert isinstance(said, AIMessage)
        return said.model_copy(deep=True)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        said = self._next(messages)
        words = str(said.content).split(" ")
        for number, word in enumerate(words):
            is_last = number == len(words) - 1
            chunk = AIMessageChunk(content=word if is_last else f"{word} ")
            if is_last:
                chunk.tool_calls, chunk.usage_metadata = said.tool_calls, said.usage_metadata
                chunk.response_metadata = said.response_metadata
                chunk.tool_call_chunks = [
                    {
                        "name": call["name"],
                        "args": json.dumps(call["args"]),
                        "id": call["id"],
                        "index": index,
                        "type": "tool_call_chunk",
                    }
                    for index, call in enumerate(said.tool_calls)
                ]
            yield ChatGenerationChunk(message=chunk)
