"""OpenTelemetry's own instrumentation of Anthropic's client."""

from anthropic_client import Chatbot
from chat import hold, provider
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor

traces = provider()
AnthropicInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
