"""How connections are made: names, proxies, certificates, and what every request carries."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support import child

from mlsdk import http
from mlsdk.config import Connection
from mlsdk.errors import ConfigurationError
from mlsdk.http import ExitSafeResolver, check_trust, open_session, proxy_for


def connection(base: str = "http://localhost:1", **options: Any) -> Connection:
    websocket = base.replace("http", "ws", 1)
    return Connection(
        api_key="the-key", project_id="the-project", **{"server_endpoint": base, "wss_endpoint": websocket, **options}
    )


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_name_resolves_to_all_its_addresses() -> None:
    found = asyncio.run(ExitSafeResolver().resolve("localhost", 80))
    assert {(each["hostname"], each["port"]) for each in found} == {("localhost", 80)}
    families = {each["family"] for each in found}
    assert families <= {socket.AF_INET, socket.AF_INET6}
    assert "127.0.0.1" in {each["host"] for each in found} or "::1" in {each["host"] for each in found}


def test_a_name_resolves_in_place_when_the_loop_has_no_executor_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the interpreter exits; the lifecycle tests show the real thing."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()

        async def refuses(*_arguments: object, **_options: object) -> Any:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

        monkeypatch.setattr(loop, "getaddrinfo", refuses)
        return list(await ExitSafeResolver().resolve("localhost", 80))

    assert asyncio.run(main())


def test_a_name_that_is_none_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r"."):
        asyncio.run(ExitSafeResolver().resolve("no-such-host.invalid", 80))


def test_an_ipv6_address_alone_will_do() -> None:
    async def main() -> int:
        async def answer(_request: web.BaseRequest) -> web.Response:
            return web.Response()

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "::1", 0)
            try:
                await site.start()
            except OSError:
                pytest.skip("no IPv6 here")
            base = f"http://[::1]:{runner.addresses[0][1]}"
            async with open_session(connection(base)) as session, session.get(base) as response:
                return response.status
        finally:
            await runner.cleanup()

    assert asyncio.run(main()) == 200


# -- what requests carry ----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def echo(seen: list[tuple[str, dict[str, str]]]) -> AsyncIterator[str]:
    """A server, or a plain proxy, that notes what it is asked for."""

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append((request.raw_path, dict(request.headers)))
        response = web.Response(text="ok")
        response.set_cookie("spy", "1")
        return response

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_requests_carry_the_credentials_and_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    async def main() -> None:
        async with echo(seen) as base:
            for with_credentials in (True, False):
                async with open_session(connection(base), with_credentials=with_credentials) as session:
                    for _ in range(2):
                        async with session.get(f"{base}/x"):
                            pass

    asyncio.run(main())
    assert len(seen) == 4
    for number, (_, headers) in enumerate(seen):
        assert ("Authorization" in headers, "X-App-ID" in headers) == (number < 2,) * 2
        assert "Cookie" not in headers
        assert headers["Accept-Encoding"] == "identity"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert headers["User-Agent"] == f"mlsdk-otel python/{version}"


# -- proxies ----------------------------------------------------------------------------------------------------------

SERVER = "https://app.mindlytics.test/bc"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, SERVER, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, SERVER, "http://proxy:1"),
        ({"https_proxy": "http://proxy:1"}, SERVER, "http://proxy:1"),
        ({"HTTP_PROXY": "http://proxy:1"}, SERVER, None),
        ({"HTTP_PROXY": "http://proxy:1"}, "http://app.test/", "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:1"}, "wss://app.test/", "http://proxy:1"),
        ({"HTTP_PROXY": "http://proxy:1"}, "ws://app.test:4000/", "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "mindlytics.test"}, SERVER, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": ".mindlytics.test"}, SERVER, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "other.test, localhost"}, SERVER, "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, SERVER, None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "localhost"}, "http://localhost:3000/", None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "localhost:3000"}, "http://localhost:3000/", None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "localhost:3000"}, "http://localhost:4000/", "http://proxy:1"),
        # As curl and requests take it.
        ({"HTTPS_PROXY": "proxy.test:3128"}, SERVER, "http://proxy.test:3128"),
        ({"HTTPS_PROXY": ""}, SERVER, None),
    ],
)
def test_the_environment_names_a_proxy_unless_one_is_configured(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(connection(), url) == proxy
    assert proxy_for(connection(proxy="http://mine:2"), url) == "http://mine:2"


@pytest.mark.parametrize("way", ["argument", "environment", "bypassed"])
def test_requests_go_through_a_real_proxy(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    proxied: list[tuple[str, dict[str, str]]] = []
    direct: list[tuple[str, dict[str, str]]] = []

    async def main() -> None:
        async with echo(proxied) as proxy, echo(direct) as server:
            if way != "argument":
                monkeypatch.setenv("HTTP_PROXY", proxy)
            if way == "bypassed":
                monkeypatch.setenv("NO_PROXY", "localhost")
            to = connection(server, proxy=proxy if way == "argument" else None)
            url = f"{server}/path"
            async with open_session(to) as session, session.get(url, proxy=proxy_for(to, url)) as response:
                assert response.status == 200
            if way == "bypassed":
                assert [path for path, _ in direct] == ["/path"]
                assert proxied == []
            else:  # asked for the whole address, as a proxy is
                assert [path for path, _ in proxied] == [url]
                assert direct == []

    asyncio.run(main())


def test_aiohttp_itself_reads_no_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    seen: list[tuple[str, dict[str, str]]] = []

    async def main() -> None:
        async with echo(seen) as base, open_session(connection(base)) as session, session.get(base) as response:
            assert response.status == 200

    asyncio.run(main())


# -- certificates -----------------------------------------------------------------------------------------------------


def test_a_ca_file_without_certificates_is_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing of the kind")
    with pytest.raises(ConfigurationError, match="ca_file"):
        check_trust(connection("https://app.test", ca_file=str(file)))
    with pytest.raises(ConfigurationError, match="ca_file"):
        check_trust(connection("https://app.test", ca_file=str(tmp_path / "missing.pem")))


def test_without_tls_no_authorities_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr(http.ssl, "create_default_context", refuse)

    async def main() -> None:
        async with open_session(connection("http://localhost:1")):
            pass

    asyncio.run(main())


def test_a_redirect_of_a_request_without_fixed_credentials_fails() -> None:
    """A websocket's handshake cannot be told not to follow one."""

    async def main() -> None:
        async def answer(_request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": "/elsewhere"})

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with open_session(connection(base), with_credentials=False) as session:
                with pytest.raises(http.RedirectError) as caught:
                    await session.ws_connect(base)
                assert caught.value.status == 302
                assert isinstance(caught.value, aiohttp.ClientError)
        finally:
            await runner.cleanup()

    asyncio.run(main())


@pytest.mark.lifecycle
def test_a_host_name_resolves_while_the_interpreter_exits() -> None:
    result = child.run(
        """
        import asyncio, atexit
        from mlsdk.http import ExitSafeResolver

        loop = asyncio.SelectorEventLoop()
        loop.slow_callback_duration = 60  # the development mode tells of a busy machine

        def last() -> None:
            found = loop.run_until_complete(ExitSafeResolver().resolve("localhost", 80))
            print(len(found) > 0)
            loop.close()

        atexit.register(last)
        """,
        flags=["-X", "dev", "-W", "error"],
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")
