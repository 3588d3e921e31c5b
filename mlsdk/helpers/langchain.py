"""Records what applications built on LangChain say: one handler, for models, chains and agents, LangGraph's too.

Needs the extra `langchain`: langchain-core 0.3.22 or newer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

try:
    from langchain_core.callbacks import BaseCallbackHandler
except ImportError as problem:
    raise ImportError(
        "mlsdk.helpers.langchain needs langchain-core; the extra 'langchain' of mlsdk-otel brings it"
    ) from problem

from mlsdk.helpers import turns
from mlsdk.helpers.recording import Recorder
from mlsdk.helpers.runs import Runs
from mlsdk.helpers.turns import Call, Found, Usage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    import mlsdk.sync
    from mlsdk.session import Session

__all__ = ["MLChatRecorderCallback", "MindlyticsCallbackHandler"]


class MindlyticsCallbackHandler(BaseCallbackHandler):
    """Records turns, function calls and usage into a session.

    Given to a call, it sees all that the call does, and records one turn: what the user said, and the answer that comes
    out, with what all models took in between, and each function with its runtime.

        recorder = MindlyticsCallbackHandler(session)
        agent.invoke({"messages": [("user", "Where is order 4711?")]}, {"callbacks": [recorder]})

    Given to a model, `ChatOpenAI(callbacks=[...])`, it sees no more than the model's calls: function calls are then
    read from the messages, without a runtime, and an agent that fails between two of them is not noticed.

    It may be shared by threads and tasks, and by any number of calls at a time. It does not wait, and never raises;
    what the session refuses is logged.
    """

    run_inline = True  # in order, on the loop's own thread; recording does not wait

    def __init__(
        self,
        session: Session | mlsdk.sync.Session,
        *,
        conversation_id: str | None = None,
        assistant_id: str | None = None,
    ) -> None:
        """Records into a session.

        Args:
            session: The session, of `mlsdk` or of `mlsdk.sync`.
            conversation_id: The conversation; default the one that is open. When none is open, one is started.
            assistant_id: Which agent answers.
        """
        super().__init__()
        self.session = session
        self._recorder = Recorder(conversation_id=conversation_id, assistant_id=assistant_id)
        self._runs = Runs()
        self._lock = threading.Lock()

    def _record(self, found: Sequence[Found]) -> None:
        for each in found:
            self._recorder.record(self.session, each)

    # -- chains, agents, and what else is around a model --------------------------------------------------------------

    def on_chain_start(
        self,
        serialized: Mapping[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **_: Any,
    ) -> None:
        """See LangChain."""
        with self._lock:
            self._runs.chain_started(run_id, parent_run_id, inputs)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **_: Any) -> None:
        """See LangChain."""
        with self._lock:
            found = self._runs.chain_ended(run_id, outputs, inputs=inputs)
        self._record(found)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, inputs: Any = None, **_: Any) -> None:
        """See LangChain."""
        was_left = _is_leaving(error)
        with self._lock:
            found = self._runs.chain_ended(run_id, inputs=inputs, has_failed=not was_left, was_left=was_left)
        self._record(found)

    def on_retriever_start(
        self,
        serialized: Mapping[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **_: Any,
    ) -> None:
        """See LangChain."""
        with self._lock:
            self._runs.chain_started(run_id, parent_run_id, query)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        """See LangChain."""
        self.on_chain_end(None, run_id=run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """See LangChain."""
        self.on_chain_error(error, run_id=run_id)

    # -- models -------------------------------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: Mapping[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> None:
        """See LangChain."""
        name = _model_name(about.get("invocation_params"), metadata)
        with self._lock:
            self._runs.model_started(run_id, parent_run_id, messages[0] if messages else [], name=name)

    def on_llm_start(
        self,
        serialized: Mapping[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> None:
        """See LangChain. A model of texts: the prompt is what the user said."""
        name = _model_name(about.get("invocation_params"), metadata)
        with self._lock:
            self._runs.model_started(run_id, parent_run_id, prompts[:1], name=name)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:
        """See LangChain."""
        with self._lock:
            self._runs.model_said(run_id, turns.text_of_content(token))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """See LangChain."""
        message, text = _first(response)
        usage = turns.usage_of(message) or _usage_beside(response)
        with self._lock:
            found = self._runs.model_ended(run_id, text=text, requests=turns.requests_of(message), usage=usage)
        self._record(found)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **_: Any) -> None:
        """See LangChain. What a stream brought before it was left, or broke, is in `response`."""
        message, text = (None, "") if response is None else _first(response)
        with self._lock:
            found = self._runs.model_ended(run_id, text=text, usage=turns.usage_of(message), has_failed=True)
        self._record(found)

    # -- functions ----------------------------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: Mapping[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> None:
        """See LangChain."""
        call_id = about.get("tool_call_id")
        call = Call(
            name=turns.name_text((serialized or {}).get("name") or about.get("name")),
            call_id=call_id if isinstance(call_id, str) else None,
            args=turns.json_text(input_str if inputs is None else inputs),
        )
        with self._lock:
            self._runs.tool_started(run_id, parent_run_id, call, at=monotonic())

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """See LangChain."""
        call_id = getattr(output, "tool_call_id", None)  # earlier versions tell it here
        result, at = turns.result_text(output), monotonic()
        has_failed = getattr(output, "status", None) == "error"
        with self._lock:
            found = self._runs.tool_ended(run_id, result=result, call_id=call_id, at=at, has_failed=has_failed)
        self._record(found)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> None:
        """See LangChain."""
        at = monotonic()
        with self._lock:
            if _is_interrupt(error):
                self._runs.forget(run_id)
                return
            result = f"{type(error).__name__}: {error}"
            call_id = about.get("tool_call_id")
            found = self._runs.tool_ended(run_id, result=result, call_id=call_id, at=at, has_failed=True)
        self._record(found)


class MLChatRecorderCallback(MindlyticsCallbackHandler):
    """The handler by the name that it has in `mlsdk-python`."""

    def __init__(self, session: Session | mlsdk.sync.Session) -> None:
        """Records into a session."""
        super().__init__(session)


def _first(response: LLMResult) -> tuple[object, str]:
    """The message of the first answer, and what it says."""
    answers = response.generations[0] if response.generations else []
    if not answers:
        return None, ""
    message = getattr(answers[0], "message", None)
    return message, answers[0].text if message is None else turns.text_of(message)


def _usage_beside(response: LLMResult) -> Usage | None:
    """What was taken, where the message does not say it but the provider's own words are there."""
    told = response.llm_output or {}
    tokens = told.get("token_usage") or told.get("usage") or {}
    if not isinstance(tokens, Mapping):
        return None
    return turns.usage_from(tokens.get("prompt_tokens"), tokens.get("completion_tokens"), told.get("model_name"))


def _model_name(parameters: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None) -> str | None:
    """What was asked for, where the answer does not tell which model it was."""
    asked = parameters or {}
    name = asked.get("model") or asked.get("model_name") or (metadata or {}).get("ls_model_name")
    return name if isinstance(name, str) else None


def _is_leaving(error: BaseException) -> bool:
    """Whether somebody went away, or will come back, rather than something going wrong."""
    return isinstance(error, (GeneratorExit, asyncio.CancelledError)) or _is_interrupt(error)


def _is_interrupt(error: BaseException) -> bool:
    """Whether LangGraph left the run for now; known by name, since LangGraph may not be there."""
    return any(each.__name__ == "GraphBubbleUp" for each in type(error).__mro__)
