"""Examples and helpers with the frameworks themselves, against the stand-in for a model and the local Mindlytics.

The frameworks are no dependencies of ours: these tests run where they are installed (tox: frameworks).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from mlsdk.local import LocalMindlytics

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"

_NEEDS: Final = {
    "test_langchain_openai.py": ("langchain_openai", "langgraph"),
    "test_notebooks.py": ("nbclient", "langchain_openai", "langchain"),
    "test_fastapi_chat.py": ("fastapi", "uvicorn", "openai"),
    "test_flask_chat.py": ("flask", "openai"),
}

collect_ignore = [
    name for name, packages in _NEEDS.items() if any(importlib.util.find_spec(package) is None for package in packages)
]


def _load(name: str) -> ModuleType:
    """A package among the examples. Their folder is not searched: it holds a folder `langchain`, taken for the package
    where that is not installed."""
    folder = EXAMPLES / name
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_load("model_stand_in")


@pytest.fixture
def models() -> Iterator[Any]:
    """A stand-in for OpenAI's service."""
    from model_stand_in import ModelStandIn

    with ModelStandIn() as running:
        yield running


@pytest.fixture(scope="session")
def examples() -> Path:
    """Where the programs are."""
    return EXAMPLES


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running
