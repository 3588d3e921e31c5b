"""Seeded faults, each with real sockets: the doctor names every one, with its cure, and shows no key."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import pytest
import trustme
from aiohttp import web
from support.live import served

from mlsdk.doctor import collecting
from mlsdk.doctor.__main__ import main
from mlsdk.doctor.collecting import check_settings, gather
from mlsdk.local import Fault, LocalMindlytics

KEY: Final = "the-secret-key"
Reply = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Answering:
    """A server that answers every request by one function, with TLS or without."""

    reply: Reply
    tls: ssl.SSLContext | None = None
    base: str = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(self.reply))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls).start()
            scheme = "http" if self.tls is None else "https"
            self.base = f"{scheme}://localhost:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()


def answer(status: int = 200, text: str = "{}", **headers: str) -> Reply:
    async def reply(request: web.BaseRequest) -> web.Response:
        await request.read()
        response = web.Response(
            status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        response.force_close()  # Python 3.10 complains of a TLS connection that only the other side has closed
        return response

    return reply


def in_turn(*replies: Reply) -> Reply:
    """The first request gets the first answer, and so on; the last one stays."""
    left = list(replies)

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return reply


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the doctor with these variables, and gives its exit status and what it said; the key is not in that."""

    def examine(base: str = "", /, *arguments: str, **variables: str) -> tuple[int, str]:
        given = {"MLSDK_API_KEY": KEY, "MLSDK_PROJECT_ID": "p1", "MLSDK_SERVER_BASE": base, **variables}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        code = main(["--timeout", "30", *arguments])
        captured = capsys.readouterr()
        assert KEY not in captured.out + captured.err
        return code, captured.out

    return examine


Examine = Callable[..., tuple[int, str]]


def complaints(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith(("PROBLEM", "warning"))]


def only(told: str, level: str, check: str) -> str:
    """The one complaint there is."""
    (line,) = complaints(told)
    assert line.startswith(f"{level:<8} {check}: "), told
    assert " -> " in line
    return line


# -- nothing wrong ----------------------------------------------------------------------------------------------------


def test_a_good_set_up_leaves_no_trace_in_the_project(examine: Examine) -> None:
    with LocalMindlytics(api_key=KEY) as service:
        code, told = examine(service.url, MLSDK_WSS_BASE=service.ws_url)
        assert (code, complaints(told)) == (0, [])
        assert service.session_ids == []
        assert service.received == 0
        assert [request.size for request in service.requests if request.path.endswith("/queue")] == [2, 512 * 1024]
    assert told.endswith("0 problems, 0 warnings\n")


# -- settings ---------------------------------------------------------------------------------------------------------


def test_everything_that_is_missing_is_told_at_once(examine: Examine) -> None:
    code, told = examine(MLSDK_API_KEY="", MLSDK_PROJECT_ID="", MLSDK_CA_FILE="/no/such/file")
    assert code == 1
    key, project, file = complaints(told)
    assert "PROBLEM  key: api_key: missing" in key
    assert key.endswith("-> export MLSDK_API_KEY=<the key of your workspace>")
    assert "PROBLEM  project: " in project
    assert project.endswith("-> export MLSDK_PROJECT_ID=<the id of your project>")
    assert file.endswith("-> correct or unset MLSDK_CA_FILE")


@pytest.mark.parametrize(
    ("variable", "value", "cure"),
    [
        ("MLSDK_SERVER_BASE", "app.mindlytics.ai", "correct or unset MLSDK_SERVER_BASE"),
        ("MLSDK_WSS_BASE", "https://app.mindlytics.ai", "correct or unset MLSDK_WSS_BASE"),
        ("MLSDK_PROXY", "proxy:3128", "correct or unset MLSDK_PROXY"),
        ("MLSDK_EXIT_TIMEOUT", "soon", "correct or unset MLSDK_EXIT_TIMEOUT"),
        ("MLSDK_API_KEY", "schl\u00fcssel", "correct or unset MLSDK_API_KEY"),
    ],
)
def test_a_setting_that_cannot_be_used(examine: Examine, variable: str, value: str, cure: str) -> None:
    code, told = examine(**({"MLSDK_SERVER_BASE": "http://127.0.0.1:9"} | {variable: value}))
    assert code == 1
    assert any(line.endswith(f"-> {cure}") for line in complaints(told))


def test_settings_that_only_the_sdk_itself_reads() -> None:
    found = check_settings({"MLSDK_DISABLED": "perhaps", "MLSDK_BEFORE_SEND": "no.such:thing", "MLSDK_API_KEY": KEY})
    assert [problem.variable for problem in found.problems] == [
        *("MLSDK_PROJECT_ID", "MLSDK_DISABLED", "MLSDK_BEFORE_SEND")
    ]
    assert found.config is None


@pytest.mark.parametrize(
    ("key", "text", "cure"),
    [
        (f'"{KEY}"', "in quotes", "without quotes"),
        (f"Bearer {KEY}", "begins with 'Bearer'", "the key alone"),
    ],
)
def test_a_key_that_was_copied_with_something_around_it(examine: Examine, key: str, text: str, cure: str) -> None:
    with LocalMindlytics() as service:
        code, told = examine(service.url, MLSDK_API_KEY=key, MLSDK_WSS_BASE=service.ws_url)
    assert code == 1
    line = only(told, "PROBLEM", "key")
    assert text in line
    assert cure in line


def test_a_switch_that_is_off(examine: Examine) -> None:
    with LocalMindlytics() as service:
        code, told = examine(service.url, MLSDK_DISABLED="true", MLSDK_WSS_BASE=service.ws_url)
    assert code == 0
    assert only(told, "warning", "settings").endswith("-> unset MLSDK_DISABLED")


# -- the way ----------------------------------------------------------------------------------------------------------


def test_a_name_that_nobody_knows(examine: Examine) -> None:
    code, told = examine("https://no-such-host.invalid")
    assert code == 1
    line = only(told, "PROBLEM", "DNS")
    assert "no-such-host.invalid cannot be resolved" in line
    assert "correct MLSDK_SERVER_BASE" in line


def test_nobody_listens(examine: Examine, closed_port: int) -> None:
    code, told = examine(f"http://127.0.0.1:{closed_port}")
    assert code == 1
    line = only(told, "PROBLEM", "connection")
    assert "no connection" in line
    assert f"see whether the service at http://127.0.0.1:{closed_port} runs" in line


def test_nobody_answers(examine: Examine) -> None:
    with LocalMindlytics() as service:
        service.plan(Fault.hang(), path="/bc/")
        code, told = examine(service.url, "--timeout", "3")
        service.release()
    assert code == 1
    assert "no answer in time" in only(told, "PROBLEM", "connection")


def test_the_connection_is_cut(examine: Examine) -> None:
    with LocalMindlytics() as service:
        service.plan(Fault.reset(), times=3, path="/bc/")
        code, told = examine(service.url)
    assert code == 1
    assert "what firewall is in between" in only(told, "PROBLEM", "connection")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str, **options: datetime.datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **options).configure_cert(context)
    return context


def test_a_trusted_certificate(
    examine: Examine, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_LAST_WORDS", 2.0)  # the other side is in this process, which may stand still
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with served(Answering(answer(), server_context(authority, "localhost"))) as server:
        _, told = examine(server.base, MLSDK_CA_FILE=str(tmp_path / "ca.pem"))
    assert "ok       TLS: the certificate is trusted" in told


def test_a_certificate_of_an_unknown_authority(examine: Examine, authority: trustme.CA) -> None:
    with served(Answering(answer(), server_context(authority, "localhost"))) as server:
        code, told = examine(server.base)
    assert code == 1
    assert "export MLSDK_CA_FILE=<file>" in only(told, "PROBLEM", "TLS")


def test_a_certificate_for_another_name(examine: Examine, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with served(Answering(answer(), server_context(authority, "elsewhere.test"))) as server:
        code, told = examine(server.base, MLSDK_CA_FILE=str(tmp_path / "ca.pem"))
    assert code == 1
    assert "put the name that the certificate is for into MLSDK_SERVER_BASE" in only(told, "PROBLEM", "TLS")


def test_a_certificate_that_has_expired(examine: Examine, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    expired = datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)
    context = server_context(authority, "localhost", not_before=expired.replace(day=1), not_after=expired)
    with served(Answering(answer(), context)) as server:
        code, told = examine(server.base, MLSDK_CA_FILE=str(tmp_path / "ca.pem"))
    assert code == 1
    assert "renew its certificate" in only(told, "PROBLEM", "TLS")


def test_no_tls_where_https_is_asked_for(examine: Examine) -> None:
    with LocalMindlytics() as service:
        code, told = examine(service.url.replace("http:", "https:"))
    assert code == 1
    assert only(told, "PROBLEM", "TLS").endswith(f"export MLSDK_SERVER_BASE={service.url}")


# -- proxies ----------------------------------------------------------------------------------------------------------


def test_a_proxy_that_is_not_there(examine: Examine, closed_port: int) -> None:
    code, told = examine("https://app.mindlytics.test", HTTPS_PROXY=f"http://user:hush-hush@127.0.0.1:{closed_port}")
    assert code == 1
    line = only(told, "PROBLEM", "proxy")
    assert "the proxy cannot be reached" in line
    assert "correct or unset HTTPS_PROXY" in line
    assert "hush-hush" not in told
    assert f"ok       proxy: http://127.0.0.1:{closed_port}, from HTTPS_PROXY" in told


@pytest.mark.parametrize(
    ("status", "cure"), [(407, "put user and password into MLSDK_PROXY"), (403, "allow app.mindlytics.test")]
)
def test_a_proxy_that_refuses(examine: Examine, status: int, cure: str) -> None:
    with served(Answering(answer(status))) as server:
        code, told = examine("https://app.mindlytics.test", MLSDK_PROXY=server.base)
    assert code == 1
    line = only(told, "PROBLEM", "proxy")
    assert f"HTTP status {status}" in line
    assert cure in line


def test_a_proxy_of_another_kind(examine: Examine) -> None:
    code, told = examine("https://app.mindlytics.test", HTTPS_PROXY="socks5://127.0.0.1:1080")
    assert code == 1
    line = only(told, "PROBLEM", "proxy")
    assert "'socks5', which the SDK does not speak" in line
    assert "name an HTTP proxy in MLSDK_PROXY" in line


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "place", "cure"),
    [
        (400, 0, ("warning", "batches"), "a service of the published interface takes arrays"),
        (401, 1, ("PROBLEM", "key"), "export MLSDK_API_KEY and MLSDK_PROJECT_ID of the same workspace"),
        (403, 1, ("PROBLEM", "key"), "export MLSDK_API_KEY and MLSDK_PROJECT_ID of the same workspace"),
        (404, 1, ("PROBLEM", "host"), "export MLSDK_SERVER_BASE=<the base address of the service>"),
        (413, 1, ("PROBLEM", "batches"), "raise the limit for request bodies"),
        (429, 0, ("warning", "batches"), "ask for a higher rate"),
        (503, 1, ("PROBLEM", "service"), "try later"),
    ],
)
def test_an_answer_other_than_yes(examine: Examine, status: int, code: int, place: tuple[str, str], cure: str) -> None:
    with LocalMindlytics() as service:
        service.fail_next(status, body=f"no, {KEY} will not do")
        got, told = examine(service.url)
    assert got == code
    line = only(told, *place)
    assert f"({status}: no, *** will not do)" in line
    assert cure in line


def test_a_key_that_the_service_refuses(examine: Examine) -> None:
    with LocalMindlytics(api_key="another") as service:
        code, told = examine(service.url)
    assert code == 1
    assert "No organization found" in only(told, "PROBLEM", "key")


def test_a_redirect_is_told_and_not_followed(examine: Examine) -> None:
    elsewhere = "https://eu.mindlytics.test/bc/v1/events/queue"
    with served(Answering(answer(308, Location=elsewhere))) as server:
        code, told = examine(server.base)
    assert code == 1
    assert only(told, "PROBLEM", "host").endswith("-> export MLSDK_SERVER_BASE=https://eu.mindlytics.test")


def test_a_page_to_sign_in_at(examine: Examine) -> None:
    with served(Answering(answer(200, "<html>", Content_Type="text/html"))) as server:
        code, told = examine(server.base)
    assert code == 1
    page = complaints(told)[0]
    assert page.startswith("PROBLEM  batches: a web page answers")
    assert "check MLSDK_SERVER_BASE" in page


@pytest.mark.parametrize(("hours", "how"), [(2, "behind"), (-2, "ahead of")])
def test_a_clock_that_is_wrong(examine: Examine, hours: int, how: str) -> None:
    date = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    with served(Answering(answer(403, Date=format_datetime(date, usegmt=True)))) as server:
        code, told = examine(server.base)
    assert code == 1
    clock = complaints(told)[0]
    assert clock.startswith("PROBLEM  clock: this machine's clock is ")
    assert f" s {how} the service's" in clock
    assert "NTP" in clock


def test_a_gateway_that_takes_small_bodies_only(examine: Examine) -> None:
    with LocalMindlytics(max_body=100_000) as service:
        code, told = examine(service.url, MLSDK_WSS_BASE=service.ws_url)
    assert code == 0
    line = only(told, "warning", "batches")
    assert "a body of 512 KiB is too large" in line
    assert "client_max_body_size" in line


@pytest.mark.parametrize(
    ("status", "cure"),
    [(403, "ask for live events to be allowed"), (502, "have proxies and firewalls pass websockets")],
)
def test_a_websocket_that_is_refused(examine: Examine, status: int, cure: str) -> None:
    with LocalMindlytics() as service, served(Answering(answer(status, "no"))) as gate:
        code, told = examine(service.url, MLSDK_WSS_BASE=gate.base.replace("http", "ws"))
    assert code == 0
    line = only(told, "warning", "websocket")
    assert f"HTTP status {status}" in line
    assert cure in line


def test_a_websocket_at_another_port(examine: Examine, closed_port: int) -> None:
    with LocalMindlytics() as service:
        code, told = examine(service.url, MLSDK_WSS_BASE=f"ws://127.0.0.1:{closed_port}")
    assert code == 0
    assert "export MLSDK_WSS_BASE" in only(told, "warning", "websocket")


# -- the command line -------------------------------------------------------------------------------------------------


def test_arguments_win_over_the_environment(examine: Examine) -> None:
    with LocalMindlytics() as service:
        _, told = examine("http://127.0.0.1:9", "--server", service.url, "--project", "p2")
        assert {request.headers["x-app-id"] for request in service.requests if request.path.endswith("/queue")} == {
            "p2"
        }
    assert f"ok       host: {service.url}" in told


def test_facts_show_no_key_by_accident() -> None:
    with LocalMindlytics() as service:
        gathered = gather({**service.environment, "MLSDK_API_KEY": KEY})
    assert gathered.secrets == (KEY,)
    assert gathered.facts.variables["MLSDK_API_KEY"] == KEY
    assert KEY not in repr(gathered)
