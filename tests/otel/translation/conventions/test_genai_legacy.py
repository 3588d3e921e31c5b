from __future__ import annotations

from support.spans import event, span

from mlsdk_otel.translation.conventions import genai_legacy
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall


def test_a_provider_and_a_model_are_a_call() -> None:
    read = genai_legacy.read(
        span("x", event("gen_ai.user.message", content="Hi"), **{"gen_ai.system": "az", "gen_ai.request.model": "m"})
    )
    assert read is not None
    assert read.fact == ModelCall(input=(Message("user", "Hi"),), request_model="m")


def test_a_provider_alone_is_something_around_one() -> None:
    read = genai_legacy.read(span("x", **{"gen_ai.system": "az", "gen_ai.agent.name": "shop"}))
    assert read is not None
    assert read.fact == Enclosure("shop")


def test_a_span_that_names_no_provider_is_none_of_it() -> None:
    assert not genai_legacy.claims(span("x", **{"gen_ai.request.model": "m"}))
