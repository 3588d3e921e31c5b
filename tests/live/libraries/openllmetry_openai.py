"""OpenLLMetry's instrumentation of OpenAI's client."""

from chat import hold, provider
from openai_client import Chatbot
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

traces = provider()
OpenAIInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
