"""Three instrumentations of OpenAI's client at once, as `opentelemetry-instrument` loads all that are installed."""

from importlib import import_module

from chat import hold, provider
from openai_client import Chatbot

traces = provider()
for module in (
    "opentelemetry.instrumentation.openai",
    "openinference.instrumentation.openai",
    "opentelemetry.instrumentation.genai.openai",
):
    import_module(module).OpenAIInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
