"""What others' spans cost: those that say nothing, against making one; those of AI libraries, against encoding them.

    python benchmarks/foreign_spans.py [--spans 20000] [--rounds 5]

- `start + end`: a span without attributes is made and ended with no processor on the provider.
- `processor`, `exporter`: what ours add to such a span.
- `OTLP`: the OTLP exporter's encoding of AI spans to bytes, where `opentelemetry-exporter-otlp-proto-common` is there.
- `translator`: the same spans to events, and those to bytes.

Everything runs in this process and nothing is sent. Read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from mlsdk.events import encode
from mlsdk_otel import MindlyticsSpanExporter, MindlyticsSpanProcessor
from mlsdk_otel.translation.spanview import of_span
from mlsdk_otel.translation.translator import Translator

NOWHERE = {"api_key": "k", "project_id": "p", "server_endpoint": "http://127.0.0.1:9"}


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    silent(options.spans, options.rounds)
    speaking(options.spans // 10, options.rounds)


def silent(count: int, rounds: int) -> None:
    """Spans of no interest."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")
    spans: list[Any] = [tracer.start_span("GET /") for _ in range(count)]
    for span in spans:
        span.end()
    processor, exporter = MindlyticsSpanProcessor(**NOWHERE), MindlyticsSpanExporter(**NOWHERE)

    def make() -> None:
        for _ in range(count):
            tracer.start_span("GET /").end()

    def process() -> None:
        for span in spans:
            processor.on_start(span, None)
            processor.on_end(span)

    def export() -> None:
        for start in range(0, count, 512):
            exporter.export(spans[start : start + 512])

    floor, *ours = (best(work, rounds) for work in (make, process, export))
    print(f"start + end of a bare span: {1e6 * floor / count:.2f} µs")
    for name, seconds in zip(("processor", "exporter"), ours, strict=True):
        print(f"  {name}: {seconds / floor:.3f} x")


def speaking(count: int, rounds: int) -> None:
    """Spans of AI libraries: conversations of ten turns, the history sent again with each, one tool call in five."""
    spans = conversations(count)

    def translate() -> int:
        translator = Translator(project_id="p")
        size = 0
        for span in spans:
            for event in translator.feed(of_span(span), 0.0):
                size += len(encode(event))
        return size

    seconds = best(translate, rounds)
    print(f"one AI span to events and bytes: {1e6 * seconds / count:.1f} µs")
    try:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    except ImportError:
        print("  OTLP: not installed")
        return
    floor = best(lambda: encode_spans(spans).SerializeToString(), rounds)
    print(f"  OTLP: {1e6 * floor / count:.1f} µs; translator: {seconds / floor:.2f} x")


def conversations(count: int) -> Sequence[ReadableSpan]:
    """Finished spans as OpenTelemetry's own instrumentations make them."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("opentelemetry.instrumentation.genai.openai")
    found: list[Any] = []
    history: list[dict[str, Any]] = []
    for number in range(count):
        if number % 10 == 0:
            history = [message("system", "You are brief and friendly. " * 10)]
        history.append(message("user", f"What about number {number}? " * 5))
        answer = message("assistant", f"Number {number} is fine, and so are the others. " * 5)
        span = tracer.start_span(
            "chat gpt-4o-mini",
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o-mini",
                "gen_ai.conversation.id": f"c{number // 10}",
                "server.address": "api.openai.com",
                "server.port": 443,
                "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
                "gen_ai.response.id": f"chatcmpl-{number}",
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 20,
                "gen_ai.input.messages": json.dumps(history),
                "gen_ai.output.messages": json.dumps([{**answer, "finish_reason": "stop"}]),
            },
        )
        span.end()
        found.append(span)
        history.append(answer)
    return found


def message(role: str, text: str) -> dict[str, Any]:
    """A message in the form of the conventions."""
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest round."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
