"""One line for each finding, whatever is in it; the exit status; what must not be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.doctor.findings import Finding, Level, exit_code, fine, line, problem, summary, warning


def test_a_finding_is_one_line_with_its_cure() -> None:
    assert line(fine("key", "is set")) == "ok       key: is set"
    assert line(problem("key", "is\n  wrong", "set\tit")) == "PROBLEM  key: is wrong -> set it"


@given(text=st.text(), cure=st.text())
def test_it_is_one_line_of_bounded_length_whatever_a_service_says(text: str, cure: str) -> None:
    told = line(problem("x", text * 50, cure * 50))
    assert len(told.splitlines()) == 1
    assert len(told) < 1000


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_key_is_never_shown(before: str, after: str) -> None:
    key = "the-secret-key"
    told = line(problem("x", f"{before}{key}{after}", f"{key}"), secrets=[key])
    assert key not in told


def test_a_short_word_is_no_secret() -> None:
    assert line(fine("x", "many"), secrets=["any", ""]) == "ok       x: many"


@pytest.mark.parametrize(
    ("findings", "code", "told"),
    [
        ([], 0, "0 problems, 0 warnings"),
        ([fine("a", "b"), warning("a", "b", "c")], 0, "0 problems, 1 warning"),
        ([problem("a", "b", "c"), warning("a", "b", "c"), warning("a", "b", "c")], 1, "1 problem, 2 warnings"),
    ],
)
def test_problems_fail_and_warnings_do_not(findings: list[Finding], code: int, told: str) -> None:
    assert (exit_code(findings), summary(findings)) == (code, told)


def test_levels_are_told_apart_at_a_glance() -> None:
    assert [level.value for level in Level] == ["ok", "warning", "PROBLEM"]
