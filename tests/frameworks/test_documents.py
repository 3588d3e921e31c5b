"""What the documents say of frameworks and of the examples."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from model_stand_in import ModelStandIn
from support import child

from mlsdk.local import LocalMindlytics

pytestmark = pytest.mark.timeout(180)

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
EXAMPLES: Final = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


def test_the_program_with_an_agent(service: LocalMindlytics, models: ModelStandIn, tmp_path: Path) -> None:
    pytest.importorskip("langchain")
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "app.py"
    program.write_text(source, encoding="utf-8")
    result = child.run(program, env={**service.environment, **models.environment}, timeout=150)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    (session_id,) = service.session_ids
    (turn,) = service.session(session_id).conversations[0].turns
    assert turn.user == "Where is order 4711?"
    assert "Order 4711 left our store this morning." in turn.assistant
    (call,) = [e["properties"] for e in service.events() if e.get("event") == "Conversation Function"]
    assert (call["name"], call["args"]) == ("find_order", '{"number": 4711}')


def test_the_examples_are_these() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", EXAMPLES, re.MULTILINE)
    assert [name for name in listed if not (ROOT / "examples" / name).exists()] == []
    assert listed


@pytest.mark.parametrize("number", [0, 1], ids=["with keys", "without"])
def test_the_file_of_keys_becomes_the_environment(tmp_path: Path, number: int) -> None:
    """As the command for Jupyter uses it."""
    blocks = [text for text in re.findall(r"```sh\n(.*?)```", EXAMPLES, re.DOTALL) if text.startswith("OPENAI_API_KEY")]
    sample = (ROOT / ".env.examples.sample").read_text(encoding="utf-8")
    assert blocks[0] == sample
    (tmp_path / ".env.examples").write_text(blocks[number], encoding="utf-8")
    (prefix,) = {
        line.partition("`")[2].partition("`")[0] for line in EXAMPLES.splitlines() if "jupyter lab" in line
    } - {""}
    assert prefix == "cat .env.examples"
    shown = subprocess.run(
        ["sh", "-c", f"eval `{prefix}` env"],
        cwd=tmp_path,
        env=child.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    expected = [line.replace('"', "") for line in blocks[number].splitlines()]
    assert [line for line in expected if line not in shown] == []
