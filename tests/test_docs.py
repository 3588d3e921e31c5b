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

from mlsdk.config import DEFAULT_SERVER, Limits
from mlsdk.local import LocalMindlytics
from mlsdk_otel import attributes
from mlsdk_otel.translation.conventions import native

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
        None if match["names"] is None else [name for name in match["names"].split(", ") if name != "nothing"],
    )
    for page, source in sorted(PAGES.items())
    for match in PROGRAM.finditer(source)
    if page != "frameworks.md"  # whose program tests/frameworks runs, where the frameworks are
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


def test_the_defaults_of_the_settings_are_these() -> None:
    listed = {
        cells[0]: cells[2]
        for line in PAGES["configuration.md"].splitlines()
        if len(cells := [cell.strip(" `") for cell in line.strip("|").split("|")]) == 3
    }
    limits = Limits()
    for name in ("exit_timeout", "flush_timeout", "session_ended_timeout", "queue_events"):
        assert f"default {getattr(limits, name):,g}" in listed[name], name
    assert f"default {limits.queue_bytes >> 20} MiB" in listed["queue_bytes"]
    assert f"default {DEFAULT_SERVER}" in listed["server_endpoint"]


def test_each_variable_that_is_read_is_listed() -> None:
    read = {
        name
        for package in ("mlsdk", "mlsdk_otel")
        for file in (ROOT / package).rglob("*.py")
        if not {"local", "doctor"} & set(file.parts)
        for name in re.findall(r"\"(MLSDK_[A-Z_]+)\"", file.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"`(MLSDK_\w+)`", PAGES["configuration.md"])) == read


def test_the_names_in_short_are_these() -> None:
    told = set(re.findall(r"^\| (?:span|event) `(mindlytics[\w.]+)`", PAGES["opentelemetry.md"], re.MULTILINE))
    only_in_joined_sessions = {
        attributes.CONVERSATION_STARTED,
        attributes.CONVERSATION_ENDED,
        attributes.SESSION_ENDED,
    }
    assert told == {*native.SPAN_NAMES, *native.EVENT_NAMES} - only_in_joined_sessions


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
