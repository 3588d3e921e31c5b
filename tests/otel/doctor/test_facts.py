"""How variables are read."""

from __future__ import annotations

from dataclasses import replace

from mlsdk_otel.doctor.collecting import gather


def test_variables_are_read_as_they_are_meant() -> None:
    facts = replace(gather({}), variables={"A": " a , ,b ", "B": " TRUE ", "C": "no"})
    assert (facts.names("A"), facts.names("D")) == (["a", "b"], [])
    assert (facts.is_true("B"), facts.is_true("C"), facts.is_true("D")) == (True, False, False)


def test_no_variable_is_shown_by_accident() -> None:
    assert "secret" not in repr(gather({"MLSDK_API_KEY": "secret"}))
