"""What stands above a span."""

from __future__ import annotations

from mlsdk_otel.translation.facts import Identity
from mlsdk_otel.translation.lineage import Lineage, Link, filled


def test_the_nearest_comes_first_and_another_trace_has_no_part() -> None:
    lineage = Lineage()
    lineage.add([Link(1, 10, None, True), Link(1, 11, 10, False), Link(2, 20, None, True)])
    assert [link.span_id for link in lineage.above(1, 11)] == [11, 10]
    assert [link.span_id for link in lineage.above(2, 11)] == []
    assert [link.span_id for link in lineage.above(1, None)] == []


def test_ids_that_go_round_in_a_circle_end() -> None:
    lineage = Lineage()
    lineage.add([Link(1, 10, 11, False), Link(1, 11, 10, False)])
    assert 0 < len(list(lineage.above(1, 10))) < 1_000


def test_the_oldest_are_forgotten() -> None:
    lineage = Lineage(max_spans=3)
    lineage.add(Link(1, number, None, True) for number in range(10))
    assert len(lineage) == 3
    assert list(lineage.above(1, 0)) == []


def test_ids_are_filled_in_but_not_from_another_session() -> None:
    said = Identity(session_id="s")
    assert filled(said, [Identity(user_id="u"), Identity(session_id="s", user_id="v", device_id="d")]) == Identity(
        "s", None, "u", "d"
    )
    assert filled(said, [Identity(session_id="t", user_id="v")]) == said
    assert filled(Identity(conversation_id="c"), [Identity(session_id="s")]) == Identity("s", "c")
