from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from mlsdk_otel.translation.memory import remember


def test_what_is_remembered_again_is_forgotten_later() -> None:
    memory: OrderedDict[str, int] = OrderedDict()
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        remember(memory, key, value, 2)
    assert list(memory.items()) == [("a", 3), ("c", 4)]


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_the_last_ones_are_known_and_never_more(keys: list[int], most: int) -> None:
    memory: OrderedDict[int, None] = OrderedDict()
    for key in keys:
        remember(memory, key, None, most)
        assert len(memory) <= most
    last = list(dict.fromkeys(reversed(keys)))[:most]
    assert list(memory) == last[::-1]
