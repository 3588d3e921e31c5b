"""OpenTelemetry's own instrumentations of LangChain and of the client below it."""

from chat import hold, provider
from langgraph_agent import Chatbot
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

traces = provider()
LangChainInstrumentor().instrument(tracer_provider=traces)
OpenAIInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
