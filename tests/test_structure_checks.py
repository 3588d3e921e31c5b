"""The checks of ``support.structure`` on small made-up sources: each of them can fail, and says where."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from support import structure

Write = Callable[[dict[str, str]], dict[str, structure.Module]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a package ``app`` and read it back."""

    def write(sources: dict[str, str]) -> dict[str, structure.Module]:
        for name, source in {"__init__": "", **sources}.items():
            file = tmp_path / "app" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(source), encoding="utf-8")
        return structure.read_package(tmp_path / "app")

    return write


ORDER = ["app/low", "app/sub/a", "app/sub/b", "app/free/*", "app/high"]


@pytest.mark.parametrize(
    "statement",
    [
        "import app.high",
        "from app import high",
        "from app.high import name",
        "from . import high",
        "from .high import name",
        "def f():\n    from .high import name",
        "if TYPE_CHECKING:\n    from .high import name",
        "import importlib\nimportlib.import_module('app.high')",
    ],
)
def test_an_import_from_below_is_named(write: Write, statement: str) -> None:
    modules = write({"low": statement, "high": "name = 1"})
    line = statement.count("\n") + 1
    expected = [f"app/low:{line}: imports app/high, which does not stand above it"]
    assert structure.direction_problems(modules, ORDER) == expected


@pytest.mark.parametrize("statement", ["import app.low", "from app.low import name", "from .low import name"])
def test_an_import_from_above_is_fine(write: Write, statement: str) -> None:
    assert structure.direction_problems(write({"low": "name = 1", "high": statement}), ORDER) == []


def test_relative_imports_climb_folders(write: Write) -> None:
    sources = {"sub/__init__": "", "sub/a": "from .b import x\nfrom ..high import y", "sub/b": "x = 1", "high": "y = 1"}
    assert structure.direction_problems(write(sources), ORDER) == [
        "app/sub/a:1: imports app/sub/b, which does not stand above it",
        "app/sub/a:2: imports app/high, which does not stand above it",
    ]


def test_a_module_without_a_place_is_named(write: Write) -> None:
    assert structure.direction_problems(write({"stray": ""}), ORDER) == [
        "app/stray: not in the order; say where it stands"
    ]


def test_an_init_is_apart_but_gives_no_way_round_the_order(write: Write) -> None:
    modules = write(
        {
            "sub/__init__": "from .b import x",
            "sub/a": "from app.sub import x",
            "sub/b": "x = 1",
            "low": "from app.sub import x",
            "high": "from app.sub import x",
        }
    )
    assert structure.direction_problems(modules, ORDER) == [
        "app/low:1: imports app/sub, which does not stand above it",
        "app/sub/a:1: imports app/sub, which does not stand above it",
    ]


def test_of_the_topmost_package_only_dunder_names_may_be_taken(write: Write) -> None:
    modules = write({"low": "from app import __version__", "high": "from app import Client\nimport app"})
    assert structure.direction_problems(modules, ORDER) == [
        "app/high:1: imports Client of app, not the module it is in",
        "app/high:2: imports app, not the module it is in",
    ]


def test_a_free_folder_has_any_order_but_no_cycle(write: Write) -> None:
    assert structure.direction_problems(write({"free/x": "import app.free.y", "free/y": ""}), ORDER) == []
    assert structure.direction_problems(
        write({"free/x": "import app.free.y", "free/y": "import app.free.x"}), ORDER
    ) == ["import cycle: app/free/x -> app/free/y -> app/free/x"]


@pytest.mark.parametrize(
    "statement", ["import other", "import other.part", "from other.part import x", "from other import part, loose"]
)
def test_a_foreign_package_is_named(write: Write, statement: str) -> None:
    assert structure.foreign_problems(write({"low": statement}), "other", {}) != []
    assert structure.foreign_problems(write({"low": statement.replace("other", "others")}), "other", {}) == []


def test_foreign_modules_are_allowed_by_place(write: Write) -> None:
    source = (
        "from other import __version__, good\nfrom other.good import x\nfrom other.deep.er import x\nimport other.bad"
    )
    modules = write({"low": source, "sub/a": source})
    allowed = {"app": ["other/good", "other/deep"], "app/sub": ["other/bad"]}
    assert structure.foreign_problems(modules, "other", allowed) == ["app/low:4: imports other.bad"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import time", "1: imports time"),
        ("import os.path", "1: imports os.path"),
        ("def f():\n    from random import random", "2: imports random"),
        ("from datetime import datetime\ndatetime.now()", "2: asks a clock: .now()"),
        ("import datetime as d\nd.datetime.utcnow()", "2: asks a clock: .utcnow()"),
        ("import datetime as d\nd.date.today()", "2: asks a clock: .today()"),
        ("open('x')", "1: calls open()"),
        ("print(1)", "1: calls print()"),
        ("async def f(): ...", "1: is asynchronous"),
        ("if not TYPE_CHECKING:\n    import time", "2: imports time"),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import time", "4: imports time"),
        ("from app import clock", "1: imports app/clock, which is not pure"),
    ],
)
def test_impurity_is_named(write: Write, source: str, problem: str) -> None:
    modules = write({"low": source, "clock": "import time"})
    assert structure.purity_problems(modules, ["app/low"]) == [f"app/low:{problem}"]
    assert structure.purity_problems(modules, ["app/high"]) == []


def test_what_only_a_type_checker_sees_is_pure(write: Write) -> None:
    source = """
        import typing
        from app import data, twin
        if typing.TYPE_CHECKING:
            import asyncio
            from app.clock import Clock
    """
    modules = write({"low": source, "twin": "", "data": "", "clock": "import time"})
    assert structure.purity_problems(modules, ["app/low", "app/twin"], also=["app/data"]) == []


def test_purity_of_a_folder_covers_all_below_it(write: Write) -> None:
    modules = write({"sub/__init__": "import os", "sub/deep/er": "import io", "subway": "import io"})
    assert structure.purity_problems(modules, ["app/sub"]) == ["app/sub:1: imports os", "app/sub/deep/er:1: imports io"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [("__all__ = ['b', 'a']", ["b", "a"]), ("__all__: list[str] = []", []), ("b = 1", None)],
)
def test_exports_are_read_from_the_source(write: Write, source: str, expected: list[str] | None) -> None:
    assert structure.exports(write({"low": source})["app/low"]) == expected


def test_tests_mirror_modules() -> None:
    roots = {"app/local": "tests/local", "app": "tests/sdk"}
    assert structure.mirrored_test("app/sub/a", roots) == "tests/sdk/sub/test_a.py"
    assert structure.mirrored_test("app/low", roots) == "tests/sdk/test_low.py"
    assert structure.mirrored_test("app/local/store", roots) == "tests/local/test_store.py"
    with pytest.raises(ValueError, match="other/x"):
        structure.mirrored_test("other/x", roots)
