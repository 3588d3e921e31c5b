"""What tests/conftest.py and support.child promise to every test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from support import child, environment

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["MLSDK_API_KEY", "OTEL_TRACES_EXPORTER", "https_proxy", "NO_PROXY"])
def test_a_variable_that_configures_us_reaches_no_child(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "from this machine")
    assert name not in child.environment()
    assert child.environment({name: "asked for"})[name] == "asked for"
    environment.clean()
    assert name not in os.environ


def test_other_variables_stay() -> None:
    assert child.environment()["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), ("example.com", 80)])
def test_another_machine_is_refused_before_anything_is_sent(address: tuple[object, ...]) -> None:
    with pytest.raises(AssertionError, match="loopback"):
        sys.audit("socket.connect", None, address)


@pytest.mark.parametrize("address", [("127.0.0.1", 80), ("::1", 80, 0, 0), ("localhost", 80), "/run/socket"])
def test_this_machine_is_allowed(address: object) -> None:
    sys.audit("socket.connect", None, address)


@pytest.mark.wheel
def test_a_child_imports_what_the_test_imports(tmp_path: Path) -> None:
    source = """
        import json, sys
        import mlsdk
        import support
        print(json.dumps([mlsdk.__file__, support.__file__, sys.argv[1:]]))
    """
    import mlsdk

    expected = [mlsdk.__file__, str(ROOT / "tests" / "support" / "__init__.py"), ["an argument"]]
    assert json.loads(child.run(source, "an argument").stdout) == expected
    script = tmp_path / "script.py"
    script.write_text(source.replace("\n        ", "\n"), encoding="utf-8")
    assert json.loads(child.run(script, "an argument").stdout) == expected


def test_a_started_child_is_gone_after_the_block() -> None:
    with child.started("print('ready'); input()") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        assert running.poll() is None
    assert running.returncode is not None
