"""OpenTelemetry's own instrumentation of LangChain, under an agent of LangGraph."""

from chat import hold, provider
from langgraph_agent import Chatbot
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

traces = provider()
LangChainInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
