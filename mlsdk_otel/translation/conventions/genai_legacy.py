"""OpenTelemetry's GenAI conventions up to 1.36: `gen_ai.system` names the provider, `gen_ai.operation.name` may miss.

`opentelemetry-instrumentation-openai-v2` as it is by default, Strands, Google's GenAI SDK, Azure AI, Semantic Kernel.
The texts are in one event for each message; see `genai_events`.
"""

from __future__ import annotations

from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import calls, genai
from mlsdk_otel.translation.facts import Reading
from mlsdk_otel.translation.spanview import SpanView

MARKERS: Final = frozenset({names.SYSTEM, names.PROVIDER})


def claims(view: SpanView) -> bool:
    """Whether a span names a provider."""
    return not MARKERS.isdisjoint(view.attributes)


def read(view: SpanView) -> Reading | None:
    """What a span says: a model call where it names a model, else something around one."""
    if names.OPERATION in view.attributes:
        return genai.read(view)
    sent, answer = genai.exchange(view)
    if names.REQUEST_MODEL in view.attributes or names.RESPONSE_MODEL in view.attributes:
        return calls.model_call(view, sent, answer)
    return calls.enclosure(view, agent=view.attributes.get(names.AGENT_NAME), sent=sent, answer=answer)
