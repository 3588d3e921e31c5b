from __future__ import annotations

from mlsdk_otel.translation.conventions import flattened


def test_indexed_names_become_rows_in_the_order_of_their_numbers() -> None:
    tree = flattened.tree({"m.10.role": "b", "m.2.role": "a", "m.2.calls.0.id": "c", "other": 1}, "m.")
    assert flattened.rows(tree) == [{"role": "a", "calls": {"0": {"id": "c"}}}, {"role": "b"}]


def test_where_a_name_has_a_value_and_others_below_it_those_below_win() -> None:
    for order in ({"m.0": "x", "m.0.role": "a"}, {"m.0.role": "a", "m.0": "x"}):
        assert flattened.rows(flattened.tree(order, "m.")) == [{"role": "a"}]


def test_a_mapping_that_an_attribute_holds_is_left_alone() -> None:
    held = {"k": 1}
    flattened.tree({"m.0": held, "m.0.role": "a"}, "m.")
    assert held == {"k": 1}


def test_names_that_are_no_index_are_no_rows() -> None:
    assert flattened.rows(flattened.tree({"m.x": 1, "m.٣": 2, "m.": 3, "m.9999999999": 4}, "m.")) == []
    assert flattened.rows("no branch") == []


def test_what_stands_at_a_path() -> None:
    tree = flattened.tree({"m.a.b": 1}, "m.")
    assert (flattened.below(tree, "a", "b"), flattened.below(tree, "a", "c"), flattened.below(1, "a")) == (
        1,
        None,
        None,
    )
