"""What is judged from plain facts; the real faults are in `test_collecting`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import mlsdk
import mlsdk_otel
from mlsdk.doctor.checks import KNOWN_VARIABLES, Answer, Facts, Failure, Route, examine
from mlsdk.doctor.findings import Level

GOOD: Final = Facts(
    version="1.0",
    upstream=None,
    variables={"MLSDK_API_KEY": "k", "MLSDK_PROJECT_ID": "p"},
    server="https://app.mindlytics.ai",
    websocket="wss://wss.mindlytics.ai",
    route=Route("app.mindlytics.ai", addresses=("192.0.2.1",)),
    probe=Answer(status=200, content_type="application/json", date="Tue, 01 Jul 2025 00:00:00 GMT", at=1751328000.0),
    large=Answer(status=200),
    large_bytes=512 * 1024,
    live_error="",
)


def bad(**changes: Any) -> list[tuple[Level, str, str, str]]:
    """What is not fine."""
    found = examine(replace(GOOD, **changes))
    return [(each.level, each.check, each.text, each.cure) for each in found if each.level is not Level.FINE]


def test_nothing_is_wrong_with_a_good_set_up() -> None:
    assert bad() == []
    assert [finding.check for finding in examine(GOOD)] == [
        *("packages", "key", "project", "host", "DNS", "TLS", "clock", "batches", "websocket")
    ]


def test_each_thing_that_is_wrong_comes_with_a_cure() -> None:
    answers = [Answer(status=status, text="no") for status in (301, 400, 401, 402, 403, 404, 408, 413, 429, 500, 503)]
    stuck = [Answer(failure=failure) for failure in Failure]
    for probe in answers + stuck:
        ((_, check, text, cure),) = bad(probe=probe, large=None, live_error=None)
        assert all((check, text, cure)), probe


def test_nothing_is_said_about_what_was_not_got_to() -> None:
    facts = Facts(version="1.0", upstream=None, variables={})
    assert [finding.check for finding in examine(facts)] == ["packages"]


def test_every_variable_that_is_read_is_known() -> None:
    packages = [Path(module.__file__ or "").parent for module in (mlsdk, mlsdk_otel)]
    read = {
        name
        for package in packages
        for file in package.rglob("*.py")
        for name in re.findall(r"\"(MLSDK_[A-Z_]+)\"", file.read_text(encoding="utf-8"))
    }
    assert read - KNOWN_VARIABLES == set()


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("MLSDK_APIKEY", "rename it to MLSDK_API_KEY"),
        ("MLSDK_SERVER", "rename it to MLSDK_SERVER_BASE"),
        ("MLSDK_XYZZY", "unset it, or see docs/configuration.md"),
    ],
)
def test_a_misspelt_variable(name: str, cure: str) -> None:
    ((level, check, text, told),) = bad(variables={**GOOD.variables, name: "x"})
    assert (level, check, told) == (Level.WARNING, "settings", cure)
    assert name in text


def test_another_distribution_of_the_same_package() -> None:
    ((level, check, text, cure),) = bad(upstream="1.0.5")
    assert (level, check) == (Level.PROBLEM, "packages")
    assert "mlsdk-python 1.0.5" in text
    assert cure.startswith("pip uninstall mlsdk-python")


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0, None), (29, None), (-31, Level.WARNING), (31, Level.WARNING), (301, Level.PROBLEM), (-86400, Level.PROBLEM)],
)
def test_clocks(seconds: float, level: Level | None) -> None:
    assert GOOD.probe is not None
    found = bad(probe=replace(GOOD.probe, at=GOOD.probe.at + seconds))
    assert [each[0] for each in found] == ([] if level is None else [level])
    if found:
        assert ("ahead of" if seconds > 0 else "behind") in found[0][2]


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 01 Jul 99999999 00:00:00 GMT"])
def test_a_date_that_is_none_says_nothing(date: str) -> None:
    assert GOOD.probe is not None
    assert bad(probe=replace(GOOD.probe, date=date)) == []


def test_the_address_of_an_endpoint_is_not_the_base() -> None:
    ((_, check, _, cure),) = bad(server="https://app.mindlytics.ai/eu/bc/v1/events/queue")
    assert (check, cure) == ("host", "export MLSDK_SERVER_BASE=https://app.mindlytics.ai/eu")


def test_a_key_in_plain_text_over_the_network() -> None:
    ((level, check, text, cure),) = bad(server="http://app.mindlytics.ai")
    assert (level, check) == (Level.WARNING, "host")
    assert "unencrypted" in text
    assert cure == "export MLSDK_SERVER_BASE=https://app.mindlytics.ai"
    assert bad(server="http://127.0.0.1:3000") == bad(server="http://localhost:3000") == []


@pytest.mark.parametrize(
    ("code", "cure"),
    [(10, "renew"), (9, "clock"), (62, "the name that the certificate is for"), (19, "MLSDK_CA_FILE")],
)
def test_each_fault_of_a_certificate_has_its_cure(code: int, cure: str) -> None:
    probe = Answer(failure=Failure.CERTIFICATE, verify_code=code, text="no")
    ((level, check, _, told),) = bad(probe=probe, large=None, live_error=None)
    assert (level, check) == (Level.PROBLEM, "TLS")
    assert cure in told


def test_a_proxy_for_this_machine() -> None:
    route = Route("proxy.test", proxy="http://proxy.test:3128", variable="HTTP_PROXY", addresses=("192.0.2.1",))
    ((level, check, _, cure),) = bad(server="http://localhost:3000", route=route)
    assert (level, check, cure) == (Level.WARNING, "proxy", "add localhost to NO_PROXY")
