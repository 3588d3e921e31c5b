"""An agent of LangGraph that keeps the history of its thread, with LangChain's client of OpenAI."""

from __future__ import annotations

from typing import Any

from chat import MODEL, SYSTEM, get_weather
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


class Chatbot:
    """Speaks to a graph of a model and its functions."""

    def __init__(self) -> None:
        """Builds the graph."""
        weather = tool(get_weather)
        model = ChatOpenAI(model=MODEL, max_retries=0, stream_usage=True).bind_tools([weather])

        async def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await model.ainvoke([SystemMessage(SYSTEM), *state["messages"]])]}

        graph = StateGraph(MessagesState)
        graph.add_node("model", answer)
        graph.add_node("tools", ToolNode([weather]))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "model")
        self._graph = graph.compile(checkpointer=InMemorySaver())
        self._config: Any = {"configurable": {"thread_id": "live-session"}}

    async def speak(self, text: str, is_streamed: bool) -> str:
        """One turn; nothing of it is kept if it fails."""
        before = await self._graph.aget_state(self._config)
        given: Any = {"messages": [HumanMessage(text)]}
        try:
            if not is_streamed:
                result = await self._graph.ainvoke(given, self._config)
                return str(result["messages"][-1].content)
            texts = ""
            async for message, _ in self._graph.astream(given, self._config, stream_mode="messages"):
                if isinstance(message, AIMessage) and not message.tool_calls:
                    texts += str(message.content)
            return texts
        except Exception:
            self._config = before.config
            raise
