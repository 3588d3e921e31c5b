"""Settings: argument over environment over default; what cannot be used is named, and a key is never shown."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from support import child

from mlsdk import Client, ConfigurationError
from mlsdk.config import Config, Connection, Limits, resolve, websocket_base

GIVEN = {"api_key": "secret-api-key", "project_id": "p1"}


def settings(environ: dict[str, str] | None = None, **arguments: Any) -> Config:
    return resolve(environ=environ or {}, **{**GIVEN, **arguments})


# -- where a value comes from -----------------------------------------------------------------------------------------


def test_defaults() -> None:
    assert settings() == Config(
        connection=Connection(
            api_key="secret-api-key",
            project_id="p1",
            server_endpoint="https://app.mindlytics.ai",
            wss_endpoint="wss://wss.mindlytics.ai",
        ),
        limits=Limits(
            queue_events=10_000,
            queue_bytes=32 * 1024 * 1024,
            flush_timeout=30.0,
            exit_timeout=10.0,
            session_ended_timeout=30.0,
        ),
        enabled=True,
        debug=False,
    )


@pytest.mark.parametrize(
    ("variable", "argument", "value", "other"),
    [
        ("MLSDK_API_KEY", "api_key", "k1", "k2"),
        ("MLSDK_PROJECT_ID", "project_id", "p1", "p2"),
        ("MLSDK_SERVER_BASE", "server_endpoint", "http://one:1", "http://two:2"),
        ("MLSDK_WSS_BASE", "wss_endpoint", "ws://one:1", "wss://two:2"),
        ("MLSDK_PROXY", "proxy", "http://one:1", "http://two:2"),
    ],
)
def test_an_argument_stands_over_its_variable(variable: str, argument: str, value: str, other: str) -> None:
    arguments = {name: given for name, given in GIVEN.items() if name != argument}

    from_environment = resolve(environ={variable: f" {value}\n"}, **arguments)  # type: ignore[arg-type]
    from_argument = resolve(environ={variable: value}, **{**arguments, argument: other})  # type: ignore[arg-type]

    assert getattr(from_environment.connection, argument) == value
    assert getattr(from_argument.connection, argument) == other


def test_exit_timeout_and_authorities_come_from_the_environment_too(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text("none")
    found = settings({"MLSDK_EXIT_TIMEOUT": " 2.5", "MLSDK_CA_FILE": str(authorities)})

    assert found.limits.exit_timeout == 2.5
    assert found.connection.ca_file == str(authorities)
    assert settings({"MLSDK_EXIT_TIMEOUT": "2.5"}, exit_timeout=0).limits.exit_timeout == 0


def test_the_process_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_API_KEY", "k1")
    monkeypatch.setenv("MLSDK_PROJECT_ID", "p1")
    monkeypatch.setenv("MLSDK_DISABLED", "true")
    client = Client()
    monkeypatch.setenv("MLSDK_PROJECT_ID", "p2")
    monkeypatch.setenv("MLSDK_DISABLED", "false")

    assert (client.project_id, client.enabled) == ("p1", False)


@pytest.mark.parametrize(
    ("server", "websocket"),
    [
        ("https://app.mindlytics.ai", "wss://wss.mindlytics.ai"),
        ("https://app.mindlytics.ai/base", "wss://wss.mindlytics.ai/base"),
        ("http://localhost:3000", "ws://localhost:4000"),
        ("http://localhost:3009/", "ws://localhost:4009"),
        ("http://127.0.0.1:30001", "ws://127.0.0.1:30001"),
        ("http://[::1]:3001", "ws://[::1]:4001"),
        ("https://mindlytics.example.com:8443", "wss://mindlytics.example.com:8443"),
        ("http://http.app.example.com", "ws://http.app.example.com"),
        ("HTTP://localhost:3000", "ws://localhost:4000"),
    ],
)
def test_the_websocket_of_a_server(server: str, websocket: str) -> None:
    assert settings(server_endpoint=server).connection.wss_endpoint == websocket
    assert websocket_base(server).rstrip("/") == websocket


@pytest.mark.parametrize("text", ["true", "1", "YES", " on "])
def test_disabled_by_the_environment(text: str) -> None:
    assert not settings({"MLSDK_DISABLED": text}).enabled
    assert settings({"MLSDK_DISABLED": text}, enabled=True).enabled


@pytest.mark.parametrize("text", ["false", "0", "No", "off", ""])
def test_not_disabled_by_the_environment(text: str) -> None:
    assert settings({"MLSDK_DISABLED": text}).enabled
    assert not settings({"MLSDK_DISABLED": text}, enabled=False).enabled


# -- what cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("argument", "variable"), [("api_key", "MLSDK_API_KEY"), ("project_id", "MLSDK_PROJECT_ID")])
@pytest.mark.parametrize("given", [None, "", "  "])
def test_what_is_missing_is_named_with_its_variable(argument: str, variable: str, given: str | None) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument}.*{variable}") as problem:
        settings(**{argument: given})
    assert isinstance(problem.value, ValueError)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"api_key": 5}, "api_key"),
        ({"project_id": b"p1"}, "project_id"),
        ({"server_endpoint": "app.mindlytics.ai"}, "server_endpoint"),
        ({"server_endpoint": "ftp://app.mindlytics.ai"}, "server_endpoint"),
        ({"server_endpoint": "http://"}, "server_endpoint"),
        ({"server_endpoint": "http://host:port"}, "server_endpoint"),
        ({"server_endpoint": "http://host:99999"}, "server_endpoint"),
        ({"server_endpoint": "http://[::1"}, "server_endpoint"),
        ({"server_endpoint": "http://local host:3000"}, "server_endpoint"),
        ({"server_endpoint": "http://host/?key=value"}, "server_endpoint"),
        ({"server_endpoint": "http://host/#part"}, "server_endpoint"),
        ({"server_endpoint": "http://user:password@host"}, "server_endpoint"),
        ({"wss_endpoint": "ws://user:password@host"}, "wss_endpoint"),
        ({"wss_endpoint": "https://wss.mindlytics.ai"}, "wss_endpoint"),
        ({"wss_endpoint": "wss://someone@wss.mindlytics.ai"}, "wss_endpoint"),
        ({"proxy": "socks5://proxy"}, "proxy"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"flush_timeout": -1}, "flush_timeout"),
        ({"flush_timeout": float("nan")}, "flush_timeout"),
        ({"flush_timeout": "30"}, "flush_timeout"),
        ({"exit_timeout": float("inf")}, "exit_timeout"),
        ({"session_ended_timeout": True}, "session_ended_timeout"),
        ({"queue_events": -5}, "queue_events"),
        ({"queue_events": 0}, "queue_events"),
        ({"queue_events": 0.5}, "queue_events"),
        ({"queue_bytes": "many"}, "queue_bytes"),
        ({"queue_bytes": 0}, "queue_bytes"),
        ({"enabled": "maybe"}, "enabled"),
        ({"enabled": 2}, "enabled"),
        ({"debug": "loudly"}, "debug"),
        ({"debug": []}, "debug"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        settings(**arguments)


SWITCHES = [("false", False), ("0", False), ("true", True), (False, False), (0, False), (1, True)]


@pytest.mark.parametrize(("given", "enabled"), [*SWITCHES, ("", True)])
def test_enabled_may_come_as_text_or_number(given: Any, enabled: bool) -> None:
    assert settings(enabled=given).enabled is enabled


@pytest.mark.parametrize(("given", "debug"), [*SWITCHES, ("no", False), ("", False), (None, False)])
def test_debug_may_come_as_text_or_number(given: Any, debug: bool) -> None:
    assert settings(debug=given).debug is debug


def test_debug_as_text_that_is_false_logs_nothing() -> None:
    with fresh_loggers() as ours:
        Client(**GIVEN, enabled=False, debug=cast("Any", "no"))
        assert (ours.level, ours.handlers) == (logging.NOTSET, [])


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MLSDK_SERVER_BASE", "app.mindlytics.ai"),
        ("MLSDK_WSS_BASE", "wss.mindlytics.ai"),
        ("MLSDK_PROXY", "proxy:8080"),
        ("MLSDK_CA_FILE", "/nowhere/ca.pem"),
        ("MLSDK_EXIT_TIMEOUT", "ten"),
        ("MLSDK_EXIT_TIMEOUT", "-1"),
        ("MLSDK_EXIT_TIMEOUT", "nan"),
        ("MLSDK_DISABLED", "maybe"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        settings({variable: text})


@pytest.mark.parametrize("argument", ["api_key", "project_id"])
@pytest.mark.parametrize("text", ["secret\u20ac", "secret\nX-Evil: 1", "secret\x00"])
def test_what_no_header_can_carry_is_refused_and_not_shown(argument: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=argument) as problem:
        settings(**{argument: text})
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("argument", "address"),
    [("proxy", "socks5://user:secret@proxy"), ("server_endpoint", "https://user:secret@host")],
)
def test_a_password_in_an_address_is_not_shown(argument: str, address: str) -> None:
    with pytest.raises(ConfigurationError, match=argument) as problem:
        settings(**{argument: address})
    assert "secret" not in str(problem.value)


def test_no_key_nor_password_in_a_repr() -> None:
    shown = repr(settings(proxy="http://user:password@proxy:1"))

    assert "secret" not in shown
    assert "password" not in shown


def test_nothing_is_required_of_who_is_disabled() -> None:
    found = resolve(environ={}, enabled=False)

    assert not found.enabled
    assert (found.connection.api_key, found.connection.project_id) == ("", "")


# -- debug ------------------------------------------------------------------------------------------------------------


@contextmanager
def fresh_loggers() -> Iterator[logging.Logger]:
    """The SDK's logger, as it is before anybody sets anything, beneath a root that has no handler."""
    ours, root = logging.getLogger("mlsdk"), logging.getLogger()
    before = (ours.level, ours.handlers[:], root.handlers[:], root.level)
    ours.setLevel(logging.NOTSET)
    ours.handlers[:], root.handlers[:] = [], []
    try:
        yield ours
    finally:
        ours.setLevel(before[0])
        ours.handlers[:], root.handlers[:] = before[1], before[2]
        root.setLevel(before[3])


def test_nobody_sets_levels_unasked() -> None:
    with fresh_loggers() as ours:
        Client(**GIVEN, enabled=False)
        assert (ours.level, ours.handlers) == (logging.NOTSET, [])


def test_debug_shows_everything_on_stderr_once() -> None:
    with fresh_loggers() as ours:
        for _ in range(2):
            Client(**GIVEN, enabled=False, debug=True)
        (handler,) = ours.handlers
        assert ours.level == logging.DEBUG
        assert isinstance(handler, logging.StreamHandler)
        assert handler.stream is sys.stderr
        assert logging.getLogger().level == logging.WARNING


@pytest.mark.parametrize("name", ["", "mlsdk"])
def test_debug_adds_no_handler_where_one_is(name: str) -> None:
    with fresh_loggers() as ours:
        logging.getLogger(name).addHandler(logging.NullHandler())
        Client(**GIVEN, enabled=False, debug=True)
        assert [type(handler) for handler in ours.handlers] == ([logging.NullHandler] if name else [])
        assert ours.level == logging.DEBUG


def test_debug_shows_neither_key_nor_text() -> None:
    program = """
        from mlsdk.local import LocalMindlytics
        from mlsdk.sync import Client

        with LocalMindlytics.in_thread(port=0) as service:
            client = Client("secret-api-key", "p1", service.url, service.ws_url, debug=True)
            service.fail_next(503, times=2)
            service.fail_next(400, times=2)
            with client.create_session(device_id="d", on_event=lambda event: None) as session:
                session.track_conversation_turn(user="secret text", assistant="secret text")
        """
    result = child.run(program)

    assert result.returncode == 0, result.stderr
    assert "mlsdk" in result.stderr
    assert "secret" not in result.stderr
