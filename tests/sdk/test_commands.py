"""The first word chooses, the rest is the command's own."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence

import pytest
from support import child

from mlsdk.commands import Command, run


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the command `talk` was given; `missing` cannot even be loaded."""
    given: list[list[str]] = []

    def main(arguments: Sequence[str]) -> int:
        given.append(list(arguments))
        return 7

    module = types.ModuleType("a_command_of_this_test")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return given


COMMANDS = {
    "talk": Command("a_command_of_this_test", "says something"),
    "missing": Command("there.is.no.such.module", "cannot be loaded"),
}


@pytest.mark.parametrize("rest", [[], ["--help"], ["-x", "talk", "--", "y"]])
def test_all_behind_the_first_word_is_the_commands(heard: list[list[str]], rest: list[str]) -> None:
    assert run("me", COMMANDS, ["talk", *rest]) == 7
    assert heard == [rest]


def test_help_tells_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("me", COMMANDS, ["--help"])
    assert exit_.value.code == 0
    told = capsys.readouterr().out
    assert "usage: me " in told
    assert "  talk     says something\n  missing  cannot be loaded\n" in told


@pytest.mark.parametrize("arguments", [[], ["tolk"]])
def test_no_such_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("me", COMMANDS, arguments)
    assert exit_.value.code == 2
    assert "usage: me " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "command"),
    [("mlsdk", each) for each in ("local", "doctor", "import")]
    + [("mlsdk_otel", each) for each in ("local", "doctor", "explain", "import")],
)
def test_each_command_has_help(package: str, command: str) -> None:
    program = f"import runpy; runpy.run_module({package!r}, run_name='__main__')"
    result = child.run(program, command, "--help", flags=["-W", "error"])
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: ")
    assert command in result.stdout


PROGRAM = """
    import sys
    import types

    from mlsdk.commands import Command, run

    def main(arguments):
        for _ in range(int(arguments[0])):
            print("said: Gr\\u00fc\\u00dfe")
        return 0

    sys.modules["talking"] = types.SimpleNamespace(main=main)
    sys.exit(run("me", {"talk": Command("talking", "says something")}, ["talk", *sys.argv[1:]]))
    """


def test_what_the_encoding_of_the_output_has_not_is_escaped() -> None:
    result = child.run(PROGRAM, "1", env={"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stdout, result.stderr) == (0, "said: Gr\\xfc\\xdfe\n", "")


def test_a_reader_that_has_enough_is_no_reason_to_complain() -> None:
    with child.started(PROGRAM, "100000") as talking:
        assert talking.stdout is not None
        assert talking.stderr is not None
        assert talking.stdout.readline().startswith("said: ")
        talking.stdout.close()
        assert talking.stderr.read() == ""
        assert talking.wait(30) == 1
