"""Neither the key nor what people say turns up where it has no business: logs, errors, names, representations."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from support import child, lifecycle

from mlsdk.config import resolve
from mlsdk.errors import ConfigurationError
from mlsdk.local import Fault, LocalMindlytics, RequestInfo
from mlsdk.sync import Client
from mlsdk_otel import MindlyticsSpanExporter
from mlsdk_otel.config import resolve as resolve_otel

KEY: Final = "canary-key-0451"
TEXT: Final = "canary-text-1984"
ANSWER: Final = "canary-answer-2001"
USER: Final = "canary-user-42"
TRAIT: Final = "canary-trait-88"
SAID: Final = (TEXT, ANSWER, USER, TRAIT)


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics.in_thread(port=0) as running:
        yield running


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """All that any library here logs, at its most talkative."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(exc_info)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def bytes_below(folder: Path) -> bytes:
    """What all files hold; the spool may clear some away meanwhile."""
    held = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            held.append(path.read_bytes())
    return b"".join(held)


TROUBLE: Final = {
    "nothing": lambda _: None,
    "errors": lambda info: Fault.answer(500) if info.number % 2 else None,
    "busy": lambda info: Fault.answer(503) if info.number < 4 else None,
    "resets": lambda info: Fault.reset() if info.number < 4 else None,
    "refused": lambda _: Fault.answer(400, body="Bad Request"),
    "key refused": lambda _: Fault.answer(401, body="no"),
    "key refused, and quoted": lambda info: Fault.answer(403, body=f"who is {info.headers.get('authorization')}?"),
    "too large": lambda info: Fault.answer(413) if len(info.body) > 600 else None,
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_nothing_that_is_said_or_shown_holds_the_key_or_a_text(
    service: LocalMindlytics, tmp_path: Path, trouble: str
) -> None:
    def hook(info: RequestInfo) -> Fault | None:
        return TROUBLE[trouble](info)

    told: list[Any] = []
    with everything_logged() as said:
        service.on_request(hook)
        client = Client(
            api_key=KEY,
            project_id="p",
            server_endpoint=service.url,
            wss_endpoint=service.ws_url,
            spool_dir=str(tmp_path / "spool"),
            spool_mode="write-ahead",
        )
        session = client.create_session(id=USER, device_id="d", on_error=told.append)
        for _ in range(3):
            session.track_conversation_turn(user=TEXT, assistant=ANSWER, properties={"note": TRAIT})
        session.user_identify(id=USER, traits={"note": TRAIT})
        client.flush(3)
        shown = [repr(client), repr(session), str(client.stats()), *map(repr, told), *map(str, told)]
        shown += [str(vars(error)) for error in told] + [str(session.get_errors())]
        names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
        spooled = bytes_below(tmp_path)
        service.on_request(None)
        session.end_session()
        client.close(3)
    assert names
    for canary in (KEY, *SAID):
        assert canary not in said.getvalue()
        assert not [each for each in shown + names if canary in each]
    assert KEY.encode() not in spooled
    assert "Bearer" not in said.getvalue()


def test_what_before_send_takes_out_is_not_on_disk_either(service: LocalMindlytics, tmp_path: Path) -> None:
    def mask(event: dict[str, Any]) -> dict[str, Any] | None:
        if "properties" in event:
            event["properties"] = {"user": "?", "assistant": "?"}
        if event["type"] == "identify":
            raise RuntimeError(TRAIT)  # fail closed
        return event

    service.on_request(lambda _: Fault.answer(503))
    client = Client(
        api_key=KEY,
        project_id="p",
        server_endpoint=service.url,
        before_send=mask,
        spool_dir=tmp_path,
        spool_mode="write-ahead",
    )
    with everything_logged() as said:
        session = client.create_session(device_id="d")
        session.track_conversation_turn(user=TEXT, assistant=ANSWER)
        session.user_identify(id="ann", traits={"note": TRAIT})
        client.flush(1)
        end = time.monotonic() + 30
        while b"Conversation Turn" not in bytes_below(tmp_path) and time.monotonic() < end:
            time.sleep(0.05)
    spooled = bytes_below(tmp_path)
    assert b"Conversation Turn" in spooled
    for canary in SAID:
        assert canary.encode() not in spooled
        assert canary not in said.getvalue()
    assert client.stats()["dropped"] == {"before_send_failed": 1}
    service.on_request(None)
    session.end_session()


def test_settings_do_not_show_the_key() -> None:
    settings = {"api_key": KEY, "project_id": "p", "proxy": f"http://user:{TEXT}@localhost:1"}
    for made in (resolve(**settings, environ={}), resolve_otel(**settings, environ={})):  # type: ignore[arg-type]
        assert KEY not in repr(made) + str(made)
        assert TEXT not in repr(made) + str(made)


@pytest.mark.parametrize(
    "wrong", [{"api_key": f"{KEY}\n\x00"}, {"proxy": f"ftp://user:{KEY}@host"}, {"server_endpoint": f"x://u:{KEY}@h"}]
)
def test_a_setting_that_cannot_be_used_does_not_show_the_key(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Client(**{"api_key": "k", "project_id": "p", **wrong})
    assert KEY not in f"{raised.value} {raised.value!r}"


def test_an_exporter_does_not_show_the_key(service: LocalMindlytics) -> None:
    with everything_logged() as said:
        exporter = MindlyticsSpanExporter(api_key=KEY, project_id="p", server_endpoint=service.url)
        exporter.force_flush(1000)
        assert KEY not in repr(exporter) + str(vars(exporter)) + said.getvalue()


@pytest.mark.lifecycle
def test_a_program_that_ends_badly_shows_neither_on_its_streams(service: LocalMindlytics, tmp_path: Path) -> None:
    service.on_request(lambda _: Fault.answer(503))
    program = f"""
import logging
logging.basicConfig(level=logging.DEBUG)
from mlsdk.sync import Client

client = Client(api_key={KEY!r}, exit_timeout=0.5, debug=True)
session = client.create_session(id={USER!r}, device_id="d", on_error=print)
session.track_conversation_turn(user={TEXT!r}, assistant={ANSWER!r})
raise SystemExit(1)
"""
    done = child.run(program, env=lifecycle.address(service), timeout=50)
    assert "events lost" in done.stderr
    for canary in (KEY, *SAID):
        assert canary not in done.stdout + done.stderr
