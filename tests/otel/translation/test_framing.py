"""What was said and answered where the model was sent, or gave, more around it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk_otel.translation import framing

PROMPT = "Context: Oslo is wet.\n\nQuestion: Is Oslo wet?\nAnswer: "


@pytest.mark.parametrize(
    "asked",
    [
        "Is Oslo wet?",
        '{"question": "Is Oslo wet?"}',
        {"question": " Is Oslo wet?\n", "chat_history": ["Is Oslo wet?"]},
        '{"inputs": "Is Oslo wet?", "tags": [], "kwargs": {"name": "RunnableSequence"}}',
        '{"inputs": {"input": "Is Oslo wet?", "chat_history": []}}',
        '{"args": ["Is Oslo wet?"], "kwargs": {}}',
        '{"args": [], "kwargs": {"text": "Is Oslo wet?"}}',
    ],
)
def test_a_question_in_a_template(asked: Any) -> None:
    assert framing.within(PROMPT, "It is.", asked, "It is.") == ("Is Oslo wet?", "It is.")


@pytest.mark.parametrize(
    "made", ['{"answer": "It is."}', '{"outputs": {"answer": "It is.", "context": ["x"]}}', ["It is."]]
)
def test_an_answer_in_a_template(made: Any) -> None:
    assert framing.within(PROMPT, "Thought: wet.\nAnswer: It is.", "Is Oslo wet?", made) == ("Is Oslo wet?", "It is.")


def test_an_answer_to_which_something_was_added_stays_as_the_model_gave_it() -> None:
    assert framing.within(PROMPT, "It is.", "Is Oslo wet?", "It is. (1 source)") == ("Is Oslo wet?", "It is.")


def test_several_parts_of_an_answer_are_not_told_apart() -> None:
    made = {"reasoning": "wet", "answer": "It is."}
    assert framing.within(PROMPT, "wet, so: It is.", "Is Oslo wet?", made) == ("Is Oslo wet?", "wet, so: It is.")


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ("Is Rome wet?", "It is."),  # something else
        ("Is Oslo wet?", "42"),  # what came out is not what the model said
        ({"question": "Is Oslo wet?", "context": "Oslo is wet."}, "It is."),  # which of them?
        (PROMPT, "It is."),
        ("Con", "It is."),  # the middle of a word
        ("", "It is."),
        (None, None),
        (21, True),
    ],
)
def test_nothing_is_guessed(asked: Any, made: Any) -> None:
    assert framing.within(PROMPT, "It is.", asked, made) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["input", "args", "x"]), inner),
    max_leaves=8,
)


@given(st.text(max_size=20), st.text(max_size=20), ANYTHING, ANYTHING)
def test_anything_at_all_is_read_and_only_parts_are_found(utterance: str, answer: str, asked: Any, made: Any) -> None:
    found = framing.within(utterance, answer, asked, made)
    if found is not None:
        assert found[0] in utterance
        assert found[1] in answer
