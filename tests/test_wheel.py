"""The installed distribution is complete, and is the one that these tests import."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from support import child

pytestmark = pytest.mark.wheel

ROOT: Final = Path(__file__).resolve().parents[1]
IS_WHEEL: Final = os.environ.get("TESTED_DISTRIBUTION") == "wheel"


@pytest.mark.skipif(not IS_WHEEL, reason="only the wheel environments install a wheel")
@pytest.mark.parametrize("package", ["mlsdk", "mlsdk_otel"])
def test_the_wheel_is_what_is_imported_and_not_the_tree(package: str) -> None:
    source = f"import {package}; print({package}.__file__)"
    in_child = child.run(source).stdout.strip()
    here = __import__(package).__file__
    assert here == in_child
    assert "site-packages" in Path(here).parts
    assert ROOT / package not in Path(here).parents


@pytest.mark.skipif(not IS_WHEEL, reason="only the wheel environments install a wheel")
def test_the_wheel_holds_every_file_of_both_packages_and_nothing_else() -> None:
    distribution = metadata.distribution("mlsdk-otel")
    # Besides the packages there is the command, which stands outside.
    no_source = re.compile(r"dist-info|__pycache__|^\.\.")
    installed = {str(file) for file in distribution.files or [] if not no_source.search(str(file))}
    tree = {
        file.relative_to(ROOT).as_posix()
        for package in ("mlsdk", "mlsdk_otel")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert installed == tree
    assert {"mlsdk/py.typed", "mlsdk_otel/py.typed"} <= installed


def test_the_metadata_says_what_to_install() -> None:
    fields = metadata.metadata("mlsdk-otel")
    assert fields["Requires-Python"] == ">=3.10"
    assert set(fields.get_all("Provides-Extra") or []) == {
        "otel",
        "instruments",
        "langchain",
        "langgraph",
        "examples",
        "demo",
    }
    required = [text for text in metadata.requires("mlsdk-otel") or [] if "extra ==" not in text]
    names = sorted(re.split(r"[^\w-]", text)[0] for text in required)
    assert names == ["aiohttp", "opentelemetry-api", "opentelemetry-sdk", "orjson", "pydantic", "wrapt"]
    assert not [text for text in required if "==" in text]


def test_the_version_is_the_same_everywhere() -> None:
    result = child.run("import mlsdk; print(mlsdk.__version__)")
    assert result.stdout.strip() == metadata.version("mlsdk-otel")
