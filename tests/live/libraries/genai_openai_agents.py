"""OpenTelemetry's own instrumentation of OpenAI's agents, and of the client that they use."""

from typing import Any

from agents import Agent, Runner, function_tool, set_trace_processors
from chat import MODEL, SYSTEM, get_weather, hold, provider
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.genai.openai_agents import OpenAIAgentsInstrumentor

agent = Agent(name="helper", instructions=SYSTEM, model=MODEL, tools=[function_tool(get_weather)])


class Chatbot:
    """Speaks by runs of an agent, each with the history of those before."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._history: list[Any] = []

    async def speak(self, text: str, is_streamed: bool) -> str:
        """One turn; nothing of it is kept if it fails."""
        given = [*self._history, {"role": "user", "content": text}]
        result: Any
        if is_streamed:
            result = Runner.run_streamed(agent, given)
            async for _ in result.stream_events():
                pass
        else:
            result = await Runner.run(agent, given)
        self._history = result.to_input_list()
        return str(result.final_output)


set_trace_processors([])  # its own one sends everything to OpenAI
traces = provider()
OpenAIInstrumentor().instrument(tracer_provider=traces)
OpenAIAgentsInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
