"""The notebooks, cell by cell in a kernel of their own, with the local Mindlytics and a stand-in for the model."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from model_stand_in import ModelStandIn
from support import child

from mlsdk.local import LocalMindlytics

pytestmark = pytest.mark.timeout(180)

NAMES: Final = ["01-chatbot.ipynb", "02-langgraph.ipynb"]


# In a process of its own: Jupyter's client leaves sockets to the garbage collector, which is an error in a test.
EXECUTE: Final = """
import json, sys
import nbformat
from nbclient import NotebookClient

_, notebook, folder = sys.argv
copy = nbformat.read(notebook, as_version=4)
NotebookClient(copy, timeout=120, resources={"metadata": {"path": folder}}).execute()
outputs = [output for cell in copy.cells if cell.cell_type == "code" for output in cell.outputs]
print(json.dumps(outputs))
"""


@pytest.fixture(scope="session")
def kernels(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the kernel is that the notebooks ask for, installed by the command that the documents give."""
    place = tmp_path_factory.mktemp("kernels")
    document = (examples / "README.md").read_text(encoding="utf-8")
    (command,) = [shlex.split(line) for line in document.splitlines() if "ipykernel install" in line]
    assert command[0] == ".venv/bin/python"
    subprocess.run(
        [sys.executable, *command[1:]],
        env=child.environment({"HOME": str(place), "JUPYTER_DATA_DIR": str(place)}),
        check=True,
        capture_output=True,
    )
    return place


@pytest.fixture
def variables(service: LocalMindlytics, models: ModelStandIn, tmp_path: Path, kernels: Path) -> dict[str, str]:
    """The environment of the README, with both services on this machine, and nothing of the user's own Jupyter."""
    folders = {"HOME": tmp_path, "JUPYTER_DATA_DIR": kernels, "IPYTHONDIR": tmp_path, "JUPYTER_CONFIG_DIR": tmp_path}
    return {**service.environment, **models.environment, **{name: str(path) for name, path in folders.items()}}


def notebook(examples: Path, name: str) -> Any:
    return nbformat.read(examples / "langchain" / name, as_version=4)


def execute(examples: Path, name: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    file = examples / "langchain" / name
    return child.run(EXECUTE, str(file), str(file.parent), env=variables, timeout=150)


def run(examples: Path, name: str, variables: Mapping[str, str]) -> str:
    """Executes a copy; returns all that it printed."""
    result = execute(examples, name, variables)
    assert result.returncode == 0, result.stderr
    outputs = json.loads(result.stdout)
    assert [output for output in outputs if output["output_type"] != "stream" or output["name"] != "stdout"] == []
    return "".join(output["text"] for output in outputs)


def functions(service: LocalMindlytics, session_id: str) -> list[tuple[str, str, str]]:
    found = [e["properties"] for e in service.events(session_id) if e.get("event") == "Conversation Function"]
    return [(each["name"], each["args"], each["result"]) for each in found]


def test_a_chatbot(examples: Path, service: LocalMindlytics, models: ModelStandIn, variables: dict[str, str]) -> None:
    printed = run(examples, "01-chatbot.ipynb", variables)
    assert len(models.requests) == 3
    (session_id,) = service.session_ids
    session = service.session(session_id)
    assert session.ended_at is not None
    (conversation,) = session.conversations
    assert [turn.user for turn in conversation.turns] == [
        "Hello! I need a bicycle for the city.",
        "It has to go on a train, too.",
    ]
    for turn in conversation.turns:
        assert turn.assistant
        assert f"assistant: {turn.assistant}\n" in printed
        assert turn.model == "gpt-4o-mini"
        assert turn.prompt_tokens
        assert turn.completion_tokens
    told = [event["event"] for event in service.live_events(session_id)]
    # What a callback prints belongs to the cell that made the session, which a client without a page does not show.
    assert {"Conversation Turn", "Brochure Sent", "Conversation Summary", "Session Ended"} <= set(told)
    for name in told:
        assert f"\n{name:<22} {{" in printed
    assert printed.endswith("errors: []\n")


def test_an_agent_that_learns_who_it_talks_to(
    examples: Path, service: LocalMindlytics, variables: dict[str, str]
) -> None:
    printed = run(examples, "02-langgraph.ipynb", variables)
    first, second = service.session_ids
    session = service.session(first)
    (conversation,) = session.conversations
    assert [turn.user for turn in conversation.turns] == [
        "Where is my order 4711?",
        "By the way, my customer number is 42.",
        "And where is order 4712?",
    ]
    for turn in conversation.turns:
        assert f"agent: {turn.assistant}\n" in printed
    assert functions(service, first) == [
        ("find_order", '{"number": 4711}', "Order 4711 left our store this morning."),
        ("identify_customer", '{"number": 42}', "This is Ann."),
        ("find_order", '{"number": 4712}', "Order 4712 waits for the payment."),
    ]
    users = [event.get("user_id") for event in service.events(first) if event["type"] == "track"]
    assert "user: None\n" in printed
    assert "user: customer-42\n" in printed
    assert users[:3] == [None] * 3
    assert set(users[3:]) == {"customer-42"}
    assert session.user is not None
    (turn,) = service.session(second).conversations[0].turns
    assert turn.user == "Where is order 4711?"
    assert functions(service, second) == [("find_order", '{"number": 4711}', "Order 4711 left our store this morning.")]
    assert "'dropped': {}" in printed


def test_a_key_that_is_missing_is_named(examples: Path, variables: dict[str, str]) -> None:
    del variables["MLSDK_PROJECT_ID"]
    result = execute(examples, NAMES[0], variables)
    assert result.returncode != 0
    assert "Set MLSDK_PROJECT_ID before you start Jupyter" in result.stderr
    first, second = (notebook(examples, name).cells[1].source for name in NAMES)
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_kept_without_outputs(examples: Path, name: str) -> None:
    cells = [cell for cell in notebook(examples, name).cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in cells] == [[]] * len(cells)
    assert [cell.execution_count for cell in cells] == [None] * len(cells)


def test_these_are_all_notebooks(examples: Path) -> None:
    assert sorted(file.name for file in (examples / "langchain").glob("*.ipynb")) == NAMES
