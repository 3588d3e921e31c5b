"""pydantic-ai, which makes its spans itself."""

from collections.abc import Sequence

from chat import MODEL, SYSTEM, get_weather, hold, provider
from pydantic_ai import Agent, InstrumentationSettings
from pydantic_ai.messages import ModelMessage

traces = provider()
agent = Agent(f"openai-chat:{MODEL}", instructions=SYSTEM, tools=[get_weather])
Agent.instrument_all(InstrumentationSettings(tracer_provider=traces))
history: Sequence[ModelMessage] = []


async def speak(text: str, is_streamed: bool) -> str:
    """One turn; nothing of it is kept if it fails."""
    global history  # noqa: PLW0603
    if is_streamed:
        async with agent.run_stream(text, message_history=history) as stream:
            answer = await stream.get_output()
            history = stream.all_messages()
        return answer
    result = await agent.run(text, message_history=history)
    history = result.all_messages()
    return result.output


hold(traces, speak)
