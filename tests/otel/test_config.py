"""Settings of the OpenTelemetry road."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanLimits

from mlsdk import ConfigurationError
from mlsdk_otel.config import resolve, what_cuts_texts

KEYS = {"MLSDK_API_KEY": "k", "MLSDK_PROJECT_ID": "p"}


def test_arguments_over_environment_over_defaults() -> None:
    found = resolve(environ={**KEYS, "MLSDK_CAPTURE_CONTENT": "false"})
    assert (found.config.connection.project_id, found.captures_content, found.before_send) == ("p", False, None)
    found = resolve(project_id="q", capture_content=True, environ={**KEYS, "MLSDK_CAPTURE_CONTENT": "false"})
    assert (found.config.connection.project_id, found.captures_content) == ("q", True)
    assert resolve(environ=KEYS).captures_content is True


@pytest.mark.parametrize(("given", "captures"), [("false", False), ("False ", False), ("true", True), (False, False)])
def test_content_may_come_as_text_from_a_configuration_file(given: Any, captures: bool) -> None:
    assert resolve(capture_content=given, environ=KEYS).captures_content is captures


def test_a_hook_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("some_hooks")
    module.hook = lambda event: event  # type: ignore[attr-defined]
    module.Hooks = types.SimpleNamespace(hook=module.hook)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_hooks", module)
    for path in ("some_hooks:hook", "some_hooks:Hooks.hook"):
        assert resolve(environ={**KEYS, "MLSDK_BEFORE_SEND": path}).before_send is module.hook


@pytest.mark.parametrize("path", ["nosuch:hook", "json", "json:", "json:nosuch", "json:__name__", ":", "asyncio:sleep"])
def test_a_hook_that_cannot_be_loaded_stops_everything(path: str) -> None:
    with pytest.raises(ConfigurationError, match="MLSDK_BEFORE_SEND"):
        resolve(environ={**KEYS, "MLSDK_BEFORE_SEND": path})


def test_a_module_that_fails_does_not_take_the_application_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "failing_hooks.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        resolve(environ={**KEYS, "MLSDK_BEFORE_SEND": "failing_hooks:hook"})


def test_nothing_is_looked_at_while_the_sdk_is_disabled() -> None:
    found = resolve(environ={"MLSDK_DISABLED": "true", "MLSDK_BEFORE_SEND": "nosuch:hook", "MLSDK_EXIT_TIMEOUT": "x"})
    assert found.config.enabled is False


@pytest.mark.parametrize(
    ("limits", "environ", "named"),
    [
        (None, {}, ""),
        (None, {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": " "}, ""),
        (None, {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        (SpanLimits(), {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}, ""),
        (SpanLimits(max_attribute_length=0), {}, "the provider's max_attribute_length"),
        (SpanLimits(max_span_attribute_length=9), {}, "the provider's max_span_attribute_length"),
    ],
)
def test_what_cuts_texts(limits: SpanLimits | None, environ: dict[str, str], named: str) -> None:
    assert what_cuts_texts(limits, environ) == named


def test_how_spans_of_others_are_read_comes_from_the_environment() -> None:
    found = resolve(environ=KEYS)
    assert (found.hold, found.session_idle, found.ends_on_shutdown, found.device_id) == (30, 1800, True, None)
    given = {
        "MLSDK_OTEL_HOLD_SECONDS": "0",
        "MLSDK_OTEL_SESSION_IDLE_SECONDS": " 60.5 ",
        "MLSDK_OTEL_END_ON_SHUTDOWN": "false",
        "MLSDK_DEVICE_ID": "mine",
    }
    found = resolve(environ={**KEYS, **given})
    assert (found.hold, found.session_idle, found.ends_on_shutdown, found.device_id) == (0, 60.5, False, "mine")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLSDK_OTEL_HOLD_SECONDS", "soon"),
        ("MLSDK_OTEL_HOLD_SECONDS", "-1"),
        ("MLSDK_OTEL_SESSION_IDLE_SECONDS", "inf"),
        ("MLSDK_OTEL_END_ON_SHUTDOWN", "maybe"),
        ("MLSDK_DEVICE_ID", "x" * 101),
    ],
)
def test_a_setting_that_does_not_do_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        resolve(environ={**KEYS, variable: value})
