"""The documentation is true: each of its programs runs as it stands, and what it says arrives does."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from support import child

from mlsdk.local import LocalMindlytics

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
PROGRAM: Final = re.compile(r"^```python\n(?P<text>.*?)^```\n(?:\n<!-- arrives: (?P<names>[^>]*) -->)?", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Program:
    """A program of a page, and the names of the events that its page promises."""

    place: str
    text: str
    names: list[str] | None


PROGRAMS: Final = [
    Program(
        f"{page}:{source[: match.start()].count(chr(10)) + 1}",
        match["text"],
        None if match["names"] is None else match["names"].split(", "),
    )
    for page, source in sorted(PAGES.items())
    for match in PROGRAM.finditer(source)
]


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


def test_each_test_that_the_guarantees_name_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGES["guarantees.md"])
    assert len(named) > 20
    assert [
        f"{file}::{name}"
        for file, name in named
        if not re.search(
            rf"^(?:def |async def |class )?{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE
        )
    ] == []


def test_programs_are_found() -> None:
    assert {program.place.partition(":")[0] for program in PROGRAMS} >= {"index.md", "guide.md", "opentelemetry.md"}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.place)
def test_a_program_runs_and_what_it_promises_arrives(
    program: Program, service: LocalMindlytics, tmp_path: Path
) -> None:
    assert program.names is not None, "a program of the documentation says what arrives"
    file = tmp_path / "app.py"
    file.write_text(program.text, encoding="utf-8")
    variables = {
        "MLSDK_API_KEY": "any",
        "MLSDK_PROJECT_ID": "shop",
        "MLSDK_SERVER_BASE": f"http://localhost:{service.port}",
    }
    result = child.run(file, flags=["-W", "error"], env=variables)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [event.get("event", event["type"]) for event in service.events()] == program.names


def test_links_between_pages_and_to_files_lead_somewhere() -> None:
    broken = [
        f"{page}: {link}"
        for page, source in PAGES.items()
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", source)
        if "://" not in link and not (DOCS / page).parent.joinpath(link).is_file()
    ]
    assert broken == []


def test_the_page_of_settings_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_configuration", DOCS / "make_configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert PAGES["configuration.md"] == module.page()


def test_each_page_can_be_reached() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES if f": {page}" not in navigation] == []
