"""OpenInference's instrumentations of LangChain and of the client below it: each call of the model is told twice."""

from chat import hold, provider
from langgraph_agent import Chatbot
from openinference.instrumentation.langchain import LangChainInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor

traces = provider()
LangChainInstrumentor().instrument(tracer_provider=traces)
OpenAIInstrumentor().instrument(tracer_provider=traces)
hold(traces, Chatbot().speak)
