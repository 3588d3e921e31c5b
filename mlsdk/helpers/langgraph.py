"""Records what agents built on LangGraph say, after each model call or at the agent's end.

Needs the extra `langgraph`: langgraph 0.5 or newer, the first that is sure to have `post_model_hook`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

try:
    from langchain_core.runnables import Runnable, RunnableConfig
except ImportError as problem:
    raise ImportError(
        "mlsdk.helpers.langgraph needs langchain-core; the extra 'langgraph' of mlsdk-otel brings it"
    ) from problem

from mlsdk.helpers import turns
from mlsdk.helpers.recording import Recorder
from mlsdk.logs import logger_for

if TYPE_CHECKING:
    import mlsdk.sync
    from mlsdk.session import Session

    class _Middleware:
        """One of the two below."""

else:
    try:
        from langchain.agents.middleware import AgentMiddleware as _Middleware
    except ImportError:  # LangChain before 1.0 has none, and LangGraph works without LangChain

        class _Middleware:
            """Nothing."""


logger = logger_for(__name__)

__all__ = ["MLPostModellHook"]


class MLPostModellHook(_Middleware, Runnable[Any, None]):
    """Records each turn of an agent when its model has come to the answer, with function calls and usage.

    For LangGraph's own agent it is the hook, for LangChain's a middleware; the session is passed at the call:

        agent = create_react_agent(model, tools, post_model_hook=MLPostModellHook())
        agent = create_agent(model, tools, middleware=[MLPostModellHook()])
        agent.invoke({"messages": [...]}, {"configurable": {"session": session}})

    It keeps nothing between calls, so one may serve any number of agents, users and calls at a time. It sees messages
    only: no runtimes, and no calls that failed; `MindlyticsCallbackHandler` sees those too. Use one of the two.
    """

    def __init__(self, model_name: str | None = None) -> None:
        """Makes a hook.

        Args:
            model_name: The model to name for usage; default what the messages say.
        """
        self._model_name = model_name
        self._recorder = Recorder()
        self._has_warned = False

    # -- the hook of create_react_agent, or a node of a graph ---------------------------------------------------------

    async def __call__(self, state: Any, config: RunnableConfig | None = None) -> None:
        """Records the turn, for code that calls the hook from one of its own."""
        self._record(state, config, None)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> None:
        """Records the turn in a graph that is invoked."""
        self._record(input, config, None)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> None:
        """Records the turn in a graph that is awaited."""
        self._record(input, config, None)

    # -- the middleware of create_agent -------------------------------------------------------------------------------

    def after_agent(self, state: Any, runtime: Any, config: RunnableConfig) -> None:
        """Records the turn when the agent is done."""
        self._record(state, config, runtime, is_over=True)

    async def aafter_agent(self, state: Any, runtime: Any, config: RunnableConfig) -> None:
        """Records the turn when the agent is done."""
        self._record(state, config, runtime, is_over=True)

    # -- both ---------------------------------------------------------------------------------------------------------

    def _record(self, state: Any, config: RunnableConfig | None, runtime: Any, *, is_over: bool = False) -> None:
        session = _session(config, runtime)
        if session is None:
            if not self._has_warned:
                self._has_warned = True
                logger.warning('no turn is recorded: pass {"configurable": {"session": session}} to the agent')
            return
        found = turns.turn_in(
            _field(state, "messages") or [],
            turn_id=str(uuid4()),
            model=self._model_name,
            structured=_field(state, "structured_response"),
            is_over=is_over,
        )
        if found is not None:
            self._recorder.record(session, found)


def _session(config: RunnableConfig | None, runtime: Any) -> Session | mlsdk.sync.Session | None:
    """The session that the application passed along, in the configuration or in LangGraph's context."""
    given: Session | mlsdk.sync.Session | None = ((config or {}).get("configurable") or {}).get("session")
    return _field(getattr(runtime, "context", None), "session") if given is None else given


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
