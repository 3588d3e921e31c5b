"""Every cell of the fault table, with the short ones of `benchmarks/faults.py`: a service in trouble, a client process.

The cells mostly wait, so several run at a time; each test waits for its own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform == "win32", reason="signals and forks"),
]

AT_ONCE: Final = 5
SOAK: Final = 60
"""Seconds."""


def _load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "faults.py"
    spec = importlib.util.spec_from_file_location("faults_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


faults: Final = _load()
CELLS: Final = {cell.name: cell for cell in faults.cells(soak_seconds=SOAK) if not cell.is_long}


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """The cells that were asked for, on their way; the longest first."""
    wanted = [item.callspec.params["name"] for item in request.session.items if _is_cell(item)]
    wanted.sort(key=lambda name: "soak" not in name)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(faults.run, CELLS[name]) for name in wanted}


def _is_cell(item: Any) -> bool:
    return getattr(item, "originalname", "") == "test_nothing_is_lost_and_order_is_kept"


@pytest.mark.parametrize("name", CELLS)
def test_nothing_is_lost_and_order_is_kept(results: dict[str, Future[Any]], name: str) -> None:
    result = results[name].result()
    print(result.row())
    assert result.problems == [], result.row()
    assert result.sent > 0
    if not CELLS[name].may_lose:
        assert result.lost == 0
    assert result.growth < 10
