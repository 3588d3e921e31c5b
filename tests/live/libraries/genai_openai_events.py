"""OpenTelemetry's own instrumentation of OpenAI's client, told to write texts to log records only."""

import os

from chat import hold, provider
from openai_client import Chatbot
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from mlsdk_otel import MindlyticsLogRecordExporter

os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "EVENT_ONLY"
traces, logs = provider(), LoggerProvider(shutdown_on_exit=False)
for name in ("EXPORTER_BASE", "PROCESSOR_BASE"):
    exporter = MindlyticsLogRecordExporter(server_endpoint=os.environ[name])
    logs.add_log_record_processor(BatchLogRecordProcessor(exporter))
OpenAIInstrumentor().instrument(tracer_provider=traces, logger_provider=logs)
hold(traces, Chatbot().speak, logs)
