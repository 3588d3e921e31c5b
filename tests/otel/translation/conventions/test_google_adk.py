from __future__ import annotations

from support.spans import span

from mlsdk_otel.translation.conventions import google_adk
from mlsdk_otel.translation.facts import Message, ModelCall, ToolRequest, Usage

REQUEST = (
    '{"model": "gemini", "config": {"system_instruction": "Be brief."}, '
    '"contents": [{"role": "user", "parts": [{"text": "Cold?"}]}]}'
)
RESPONSE = '{"content": {"role": "model", "parts": [{"function_call": {"id": "c", "name": "f", "args": {}}}]}}'


def test_request_and_answer_are_json_on_the_span() -> None:
    view = span(
        "call_llm",
        **{
            "gen_ai.system": "gcp.vertex.agent",
            "gcp.vertex.agent.llm_request": REQUEST,
            "gcp.vertex.agent.llm_response": RESPONSE,
            "gcp.vertex.agent.session_id": "s",
            "gen_ai.usage.input_tokens": 4,
        },
    )
    assert google_adk.claims(view)
    read = google_adk.read(view)
    assert read.identity.session_id == "s"
    assert read.fact == ModelCall(
        input=(Message("system", "Be brief."), Message("user", "Cold?")),
        output=(Message("assistant", requests=(ToolRequest("f", "c", "{}"),)),),
        request_model="gemini",
        usage=Usage(4),
    )


def test_the_span_of_a_function_is_left_to_its_convention() -> None:
    assert not google_adk.claims(
        span("execute_tool f", **{"gen_ai.operation.name": "execute_tool", "gcp.vertex.agent.llm_request": "{}"})
    )


def test_a_call_without_content_says_nothing() -> None:
    fact = google_adk.read(span("call_llm", **{"gcp.vertex.agent.llm_request": "{}"})).fact
    assert fact == ModelCall(has_content=False)
