"""Messages become turns: no text is lost, the order is kept, time never runs backwards."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from chitchat import Dialogue, Message, Turn, dialogue, dialogues
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2018, 5, 2, 19, 38, 15, tzinfo=timezone.utc)
MOMENTS = st.integers(0, 10**9).map(lambda micros: START + timedelta(microseconds=micros))
MESSAGES = st.lists(
    st.builds(Message, sender=st.sampled_from(["ann", "bob"]), text=st.text(max_size=5), at=MOMENTS), min_size=1
)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def messages(*spoken: tuple[str, str, float]) -> list[Message]:
    return [Message(sender, text, after(seconds)) for sender, text, seconds in spoken]


def texts(found: Dialogue) -> list[str]:
    """All utterances of a dialogue, in order."""
    said = [text for turn in found.turns for text in (turn.user, turn.assistant)]
    return said if found.turns[-1].is_answered else said[:-1]


def test_what_one_says_in_a_row_is_one_utterance_and_question_and_answer_are_a_turn() -> None:
    found = dialogue("d", messages(("a", "hi", 0), ("a", "you?", 5), ("b", "fine", 14), ("b", "", 18), ("a", "ok", 20)))
    assert found == Dialogue(
        id="d",
        user="a",
        partner="b",
        turns=(
            Turn("hi\nyou?", "fine\n", asked_at=after(0), at=after(18)),
            Turn("ok", "", asked_at=after(20), at=after(20), is_answered=False),
        ),
    )
    assert (found.started_at, found.ended_at) == (after(0), after(20))


def test_words_to_nobody_are_one_unanswered_turn() -> None:
    found = dialogue("d", messages(("a", "hi", 0), ("a", "hello?", 9)))
    assert found.partner is None
    assert found.turns == (Turn("hi\nhello?", "", asked_at=after(0), at=after(9), is_answered=False),)


def test_an_empty_answer_is_not_the_lack_of_one() -> None:
    assert dialogue("d", messages(("a", "hi", 0), ("b", "", 1))).turns[-1].is_answered


def test_a_message_older_than_the_one_before_counts_as_simultaneous() -> None:
    found = dialogue("d", messages(("a", "hi", 10), ("b", "fine", 3), ("a", "so", 12), ("b", "yes", 11)))
    assert [(turn.asked_at, turn.at) for turn in found.turns] == [(after(10), after(10)), (after(12), after(12))]


@pytest.mark.parametrize("speakers", [(), ("a", "b", "c")])
def test_what_is_no_dialogue_is_refused_by_name(speakers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"dialogue d has {len(speakers)} speakers"):
        dialogue("d", messages(*((speaker, "hi", 0) for speaker in speakers)))


def test_the_dataset_is_read_in_its_order(data: dict[str, Any]) -> None:
    whole, unanswered, alone = dialogues(data)
    assert [whole.id, unanswered.id, alone.id] == ["whole", "unanswered", "alone"]
    assert (whole.prompt, whole.ratings) == (data["whole"]["prompt"], data["whole"]["ratings"])
    assert (alone.prompt, alone.ratings) == (None, None)
    assert (whole.started_at, whole.ended_at) == (after(0), after(75))  # not its `start`
    assert texts(whole) == ["Hello\nHow are you?", "Fine \u2603\n", 'a "quoted" \\ word', "bye"]
    assert texts(unanswered) == ["anyone?", "", "no?\nwell"]


@given(MESSAGES)
def test_no_text_is_lost_and_the_order_is_kept(spoken: list[Message]) -> None:
    found = dialogue("d", spoken)
    assert "\n".join(texts(found)) == "\n".join(message.text for message in spoken)
    for speaker, side in ((found.user, "user"), (found.partner, "assistant")):
        said = [getattr(turn, side) for turn in found.turns if side == "user" or turn.is_answered]
        mine = [message.text for message in spoken if message.sender == speaker]
        assert "\n".join(said) == "\n".join(mine)


@given(MESSAGES)
def test_time_never_runs_backwards(spoken: list[Message]) -> None:
    found = dialogue("d", spoken)
    moments = [moment for turn in found.turns for moment in (turn.asked_at, turn.at)]
    assert moments == sorted(moments)
    assert (found.started_at, found.ended_at) == (spoken[0].at, max(message.at for message in spoken))


@given(MESSAGES)
def test_times_in_order_are_kept_as_they_are(spoken: list[Message]) -> None:
    ordered = sorted(spoken, key=lambda message: message.at)
    found = dialogue("d", ordered)
    true_times = {message.at for message in ordered}
    assert {moment for turn in found.turns for moment in (turn.asked_at, turn.at)} <= true_times


@given(MESSAGES)
def test_only_the_last_turn_can_be_without_an_answer(spoken: list[Message]) -> None:
    found = dialogue("d", spoken)
    assert all(turn.is_answered for turn in found.turns[:-1])
    assert found.turns[-1].is_answered == (spoken[-1].sender != spoken[0].sender)
