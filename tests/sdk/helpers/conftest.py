"""The frameworks are no dependencies of ours: their tests run where they are installed (tox: frameworks)."""

from __future__ import annotations

import importlib.util

_NEEDS = {"test_langchain.py": "langchain_core", "test_langgraph.py": "langgraph"}

collect_ignore = [name for name, package in _NEEDS.items() if importlib.util.find_spec(package) is None]
