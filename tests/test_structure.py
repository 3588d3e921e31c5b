"""The structure of the source: who imports whom, what is pure, what is public, and that each module has its tests.

The rules are data here; ``support.structure`` applies them to the source text of the tree. A new module must be given
its place in the order. The last tests ask the installed distribution.
"""

from __future__ import annotations

import configparser
import json
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from support import child, structure

ROOT: Final = Path(__file__).resolve().parents[1]

MODULES: Final = structure.read_package(ROOT / "mlsdk") | structure.read_package(ROOT / "mlsdk_otel")
SDK: Final = {name: module for name, module in MODULES.items() if f"{name}/".startswith("mlsdk/")}
OTEL: Final = {name: module for name, module in MODULES.items() if f"{name}/".startswith("mlsdk_otel/")}

# A module imports only what stands above it. `folder/*`: any order within the folder that has no cycle.
SDK_ORDER: Final = [
    "mlsdk/errors",
    "mlsdk/logs",
    "mlsdk/models",
    "mlsdk/events",
    "mlsdk/config",
    "mlsdk/clock",
    "mlsdk/native",
    "mlsdk/waiting",
    "mlsdk/callbacks",
    "mlsdk/errorlog",
    "mlsdk/http",
    "mlsdk/delivery/outcome",
    "mlsdk/delivery/outage",
    "mlsdk/delivery/retry",
    "mlsdk/delivery/masking",
    "mlsdk/delivery/buffer",
    "mlsdk/delivery/waiters",
    "mlsdk/delivery/transport",
    "mlsdk/delivery/frames",
    "mlsdk/delivery/recovery",
    "mlsdk/delivery/annex",
    "mlsdk/delivery/lease",
    "mlsdk/delivery/box",
    "mlsdk/delivery/spool",
    "mlsdk/delivery/keeper",
    "mlsdk/delivery/worker",
    "mlsdk/delivery/host",
    "mlsdk/delivery/pipeline",
    "mlsdk/disabled",
    "mlsdk/httpclient",  # judges answers and waits between tries as delivery does
    "mlsdk/live/decoder",
    "mlsdk/live/listener",
    "mlsdk/session",
    "mlsdk/client",
    "mlsdk/sync",
    "mlsdk/types",
    "mlsdk/helpers/turns",
    "mlsdk/helpers/runs",
    "mlsdk/helpers/recording",
    "mlsdk/helpers/langchain",
    "mlsdk/helpers/langgraph",
    "mlsdk/local/*",
    "mlsdk/memory",
    "mlsdk/testing",
    "mlsdk/doctor/findings",
    "mlsdk/doctor/checks",
    "mlsdk/doctor/collecting",
    "mlsdk/doctor/__main__",
    "mlsdk/importing/rows",
    "mlsdk/importing/recording",
    "mlsdk/importing/__main__",
    "mlsdk/commands",
    "mlsdk/__main__",
]
OTEL_ORDER: Final = [
    "mlsdk_otel/attributes",
    "mlsdk_otel/translation/spanview",
    "mlsdk_otel/translation/recordings",
    "mlsdk_otel/translation/facts",
    "mlsdk_otel/translation/memory",
    "mlsdk_otel/translation/content",
    "mlsdk_otel/translation/conventions/reading",
    "mlsdk_otel/translation/conventions/*",
    "mlsdk_otel/translation/history",
    "mlsdk_otel/translation/framing",
    "mlsdk_otel/translation/duplicates",
    "mlsdk_otel/translation/functions",
    "mlsdk_otel/translation/turn",
    "mlsdk_otel/translation/turns",
    "mlsdk_otel/translation/telling",
    "mlsdk_otel/translation/lineage",
    "mlsdk_otel/translation/lifetime",
    "mlsdk_otel/translation/foreign",
    "mlsdk_otel/translation/state",
    "mlsdk_otel/translation/translator",
    "mlsdk_otel/config",
    "mlsdk_otel/baggage",
    "mlsdk_otel/context",
    "mlsdk_otel/asgi",
    "mlsdk_otel/metrics",
    "mlsdk_otel/bridge",
    "mlsdk_otel/ending",
    "mlsdk_otel/road",
    "mlsdk_otel/exporter",
    "mlsdk_otel/processor",
    "mlsdk_otel/instrumentation/*",
    "mlsdk_otel/setup",
    "mlsdk_otel/entry_points",
    "mlsdk_otel/doctor/facts",
    "mlsdk_otel/doctor/clients",
    "mlsdk_otel/doctor/checks",
    "mlsdk_otel/doctor/collecting",
    "mlsdk_otel/doctor/__main__",
    "mlsdk_otel/explain/report",
    "mlsdk_otel/explain/__main__",
    "mlsdk_otel/__main__",
]
# What the OpenTelemetry road may use of the SDK; a folder stands for all below it.
OTEL_USES: Final = {
    "mlsdk_otel": [
        "mlsdk/errors",
        "mlsdk/logs",
        "mlsdk/events",
        "mlsdk/config",
        "mlsdk/clock",
        "mlsdk/waiting",
        "mlsdk/delivery",
    ],
    "mlsdk_otel/setup": ["mlsdk/disabled"],
    "mlsdk_otel/instrumentation": ["mlsdk/session", "mlsdk/client"],
    "mlsdk_otel/doctor": ["mlsdk/doctor"],
    "mlsdk_otel/__main__": ["mlsdk/commands"],
}
# A stand-in for the service that shared code with the sender would agree with the sender's mistakes.
LOCAL_USES: Final = {"mlsdk/local": ["mlsdk/local", "mlsdk/models"]}

# No I/O, clock, randomness, threads, await, logging: these are tested with plain values.
PURE: Final = [
    "mlsdk/errors",
    "mlsdk/events",
    "mlsdk/delivery/outcome",
    "mlsdk/delivery/outage",
    "mlsdk/delivery/retry",
    "mlsdk/delivery/masking",
    "mlsdk/delivery/buffer",
    "mlsdk/delivery/frames",
    "mlsdk/delivery/recovery",
    "mlsdk/delivery/annex",
    "mlsdk/live/decoder",
    "mlsdk/helpers/turns",
    "mlsdk/doctor/findings",
    "mlsdk/doctor/checks",
    "mlsdk/helpers/runs",
    "mlsdk/local/faults",
    "mlsdk/local/naming",
    "mlsdk/local/records",
    "mlsdk/local/users",
    "mlsdk/local/index",
    "mlsdk/local/store",
    "mlsdk/local/views",
    "mlsdk/local/search",
    "mlsdk/local/page/html",
    "mlsdk/local/page/query",
    "mlsdk/local/page/overview",
    "mlsdk/local/page/timeline",
    "mlsdk/local/page/parts",
    "mlsdk/local/page/charts",
    "mlsdk/local/page/front",
    "mlsdk/local/page/transcript",
    "mlsdk/local/page/problems",
    "mlsdk/local/page/versions",
    "mlsdk_otel/attributes",
    "mlsdk_otel/translation",
    "mlsdk_otel/doctor/facts",
    "mlsdk_otel/doctor/clients",
    "mlsdk_otel/doctor/checks",
]
# Not starred in the design, but nothing more than data: the pure modules may use it.
PLAIN_DATA: Final = ["mlsdk/models"]

PUBLIC: Final = {
    "mlsdk": [
        "APIResponse",
        "Client",
        "ConfigurationError",
        "Cost",
        "DeliveryError",
        "HTTPClient",
        "InvalidEventError",
        "LiveError",
        "MLEvent",
        "MindlyticsError",
        "Session",
        "SessionClosedError",
        "TokenBasedCost",
        "__version__",
    ],
    "mlsdk.sync": ["Client", "Session"],
}

TEST_FOLDERS: Final = {"mlsdk/local": "tests/local", "mlsdk": "tests/sdk", "mlsdk_otel": "tests/otel"}
# No test file of their own: `__main__` is run by the tests of what it starts, `types` only re-exports.
NOT_MIRRORED: Final = {"mlsdk/types"}


def test_modules_of_the_sdk_import_only_what_stands_above_them() -> None:
    assert structure.direction_problems(SDK, SDK_ORDER) == []


def test_modules_of_the_otel_road_import_only_what_stands_above_them() -> None:
    assert structure.direction_problems(OTEL, OTEL_ORDER) == []


@pytest.mark.parametrize("package", ["opentelemetry", "mlsdk_otel"])
def test_the_sdk_does_not_know_opentelemetry(package: str) -> None:
    assert structure.foreign_problems(SDK, package, {}) == []


def test_the_otel_road_uses_only_the_agreed_part_of_the_sdk() -> None:
    assert structure.foreign_problems(OTEL, "mlsdk", OTEL_USES) == []


def test_the_local_service_shares_only_the_models_with_the_sender() -> None:
    local = {name: module for name, module in SDK.items() if name.startswith("mlsdk/local/")}
    assert structure.foreign_problems(local, "mlsdk", LOCAL_USES) == []


def test_starred_modules_are_pure() -> None:
    assert structure.purity_problems(MODULES, PURE, also=PLAIN_DATA) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_these_and_no_others(name: str) -> None:
    assert sorted(structure.exports(MODULES[name.replace(".", "/")]) or []) == PUBLIC[name]


def test_each_module_has_a_test_file_that_mirrors_it() -> None:
    mirrored = {
        name: structure.mirrored_test(name, TEST_FOLDERS)
        for name, module in MODULES.items()
        if not module.is_package and not name.endswith("/__main__") and name not in NOT_MIRRORED
    }
    assert [f"{name}: no {file}" for name, file in mirrored.items() if not (ROOT / file).is_file()] == []


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox"
    assert f"\n{command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{{ {command}; }}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def pins_of(environment: str) -> dict[str, Version]:
    """The exact versions in an environment of tox."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    lines = tox[f"testenv:{environment}"]["deps"].split()
    return {name: Version(version) for name, _, version in (line.partition("==") for line in lines)}


def lower_bounds(extra: str) -> dict[str, Version]:
    """The lowest versions that the distribution allows of what an extra needs, and of what is always needed."""
    bounds = {}
    for text in metadata.requires("mlsdk-otel") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            bounds[requirement.name] = next(
                Version(part.version) for part in requirement.specifier if part.operator == ">="
            )
    return bounds


def test_the_oldest_environment_pins_each_lower_bound() -> None:
    """A bound that nobody runs is a guess."""
    assert pins_of("oldest") == lower_bounds("otel")


@pytest.mark.parametrize("extra", ["langchain", "langgraph"])
def test_the_lower_bounds_of_the_helpers_frameworks_are_pinned(extra: str) -> None:
    bounds = {name: bound for name, bound in lower_bounds(extra).items() if name not in lower_bounds("")}
    pins = pins_of("frameworks-oldest")
    assert {name: pins[name] for name in bounds} == bounds


@pytest.mark.wheel
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_imports(name: str) -> None:
    result = child.run(
        f"""
        import {name} as module
        for name in {PUBLIC[name]}:
            getattr(module, name)
        namespace = {{}}
        exec("from {name} import *", namespace)
        assert set(module.__all__) <= namespace.keys()
        """,
        flags=["-W", "error"],
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.wheel
@pytest.mark.parametrize("statement", ["import mlsdk", "from mlsdk import Client"])
def test_importing_the_sdk_loads_nothing_heavy(statement: str) -> None:
    result = child.run(f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))", flags=["-W", "error"])
    assert (result.returncode, result.stderr) == (0, "")
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert loaded & {"aiohttp", "pydantic", "pydantic_core", "opentelemetry", "wrapt", "mlsdk_otel"} == set()


@pytest.mark.wheel
@pytest.mark.parametrize("name", ["MindlyticsSpanExporter", "MindlyticsSpanProcessor", "configure"])
def test_importing_the_otel_road_loads_no_http(name: str) -> None:
    """It takes longer to load than all the rest; who makes an exporter loads it."""
    program = f"from mlsdk_otel import {name}\nimport sys\nprint('aiohttp' in sys.modules)"
    result = child.run(program)
    assert (result.returncode, result.stdout, result.stderr) == (0, "False\n", "")
