"""Ground rules of every test: a clean environment, repeatable random tests, no traffic beyond this machine."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support import environment

# The fixtures that users have; not beside another distribution's `mlsdk`, which has none.
pytest_plugins = [] if importlib.util.find_spec("mlsdk_otel") is None else ["mlsdk.testing"]

# Before any fixture: a server of session scope must not see the variables either.
environment.clean()

if pytest_plugins:
    from support import leftovers, ports

    # What a test leaves undelivered is tried for as long as its process lives, and must not reach another's service.
    ports.share_out(os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

# Who starts tests in the background has SIGINT ignored, and so have the programs that tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# `ci` is repeatable: the same examples in each run, no clock. `dev` looks for new ones. `thorough` is for a long look.
# In none does the machine's speed count, which may have other things to do.
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", any_speed, derandomize=True, database=None, print_blob=True)
settings.register_profile("dev", any_speed)
settings.register_profile("thorough", any_speed, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

# These run in environments of their own, beside another distribution's `mlsdk` (see tox.ini).
collect_ignore = [] if importlib.util.find_spec("mlsdk_otel") is None else ["upstream"]
# A browser is driven in an environment of its own too.
if importlib.util.find_spec("playwright") is None:
    collect_ignore.append("local/browser")
# So are notebooks and frameworks.
if importlib.util.find_spec("nbclient") is None:
    collect_ignore.append("frameworks")
# So do these, beside the libraries that instrument clients of models.
if importlib.util.find_spec("openai") is None:
    collect_ignore.append("live")


def _refuse_foreign_hosts(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if not isinstance(address, tuple):  # a Unix socket's path
        return
    host = str(address[0])
    try:
        is_local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name: what it resolves to is not known here
        is_local = host == "localhost"
    if not is_local:
        raise AssertionError(f"a test connects to {host}: only this machine's loopback addresses are allowed")


sys.addaudithook(_refuse_foreign_hosts)


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """Start without the variables that configure us, and leave none behind for the next test."""
    environment.clean()
    yield
    environment.clean()


if pytest_plugins:

    @pytest.fixture(autouse=True)
    def nothing_left_over() -> Iterator[None]:
        """End what the test left undelivered; its service is gone by then."""
        yield
        leftovers.drop()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """One where nobody listens, and nobody else can meanwhile."""
    from mlsdk.local.ports import kept  # not at the top: beside another distribution's `mlsdk` there is none

    with kept("127.0.0.1", 0) as held:
        yield held.getsockname()[1]
