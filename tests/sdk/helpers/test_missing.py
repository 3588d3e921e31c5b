"""Without the frameworks an import names the extra that brings them; the hook needs no LangChain agents."""

from __future__ import annotations

import importlib.util

import pytest
from support import child


@pytest.mark.parametrize("name", ["langchain", "langgraph"])
def test_the_extra_is_named(name: str) -> None:
    result = child.run(f"import sys\nsys.modules['langchain_core'] = None\nimport mlsdk.helpers.{name}")
    assert result.returncode == 1
    assert result.stderr.endswith(f"needs langchain-core; the extra '{name}' of mlsdk-otel brings it\n")


@pytest.mark.skipif(importlib.util.find_spec("langchain_core") is None, reason="langchain-core is not installed")
def test_the_hook_needs_no_langchain() -> None:
    source = """
        import sys
        sys.modules["langchain"] = None
        from mlsdk.helpers.langgraph import MLPostModellHook
        MLPostModellHook()
        print("ok")
    """
    result = child.run(source)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")
