"""Judges facts about settings, the way to the service and its answers. Pure: `collecting` gathers the facts.

Each check is a function of the facts; what it cannot judge for want of them, because something before it failed, it
says nothing about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from enum import Enum
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from mlsdk.doctor.findings import Finding, fine, problem, warning

PREFIX: Final = "MLSDK_"
KNOWN_VARIABLES: Final = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("API_KEY", "PROJECT_ID", "SERVER_BASE", "WSS_BASE", "DISABLED", "EXIT_TIMEOUT", "PROXY", "CA_FILE"),
        *(
            "BEFORE_SEND",
            "SPOOL_DIR",
            "SPOOL_MODE",
            "SPOOL_BYTES",
            "SPOOL_WINDOW",
            "DEVICE_ID",
            "CAPTURE_CONTENT",
            "OTEL_DELIVERY",
            "OTEL_PROCESSOR",
        ),
        *("OTEL_BAGGAGE", "OTEL_HOLD_SECONDS", "OTEL_SESSION_IDLE_SECONDS", "OTEL_END_ON_SHUTDOWN"),
    )
)
"""Of the SDK and of the OpenTelemetry road, which reads the same environment."""
SKEW_PROBLEM: Final = 300.0
"""Seconds of difference between two clocks from which timestamps mislead whoever reads the analysis."""
SKEW_WARNING: Final = 30.0


class Failure(Enum):
    """Where a request got stuck that has no answer."""

    PROXY = "the proxy cannot be reached"
    PROXY_ANSWER = "the proxy refuses"
    CONNECT = "no connection"
    CERTIFICATE = "the certificate is not trusted"
    TLS = "no TLS"
    TIMEOUT = "no answer in time"
    CUT = "the connection was cut"
    ADDRESS = "the address cannot be used"


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable that cannot be used, and why, in the words of the SDK's error."""

    variable: str
    message: str


@dataclass(frozen=True, slots=True)
class Route:
    """How requests get to the service.

    Attributes:
        host: The host that a connection is made to: the service's, or the proxy's.
        proxy: The proxy's address without its credentials; None for the direct way.
        variable: Which variable names the proxy.
        addresses: What the name of `host` resolves to.
        name_error: Why it does not.
    """

    host: str
    proxy: str | None = None
    variable: str = ""
    addresses: tuple[str, ...] = ()
    name_error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    Attributes:
        status: The HTTP status, also a proxy's; -1 without an answer.
        text: The start of the body, or the words of the error.
        failure: Where it got stuck; None if the service answered.
        verify_code: OpenSSL's number for what is wrong with the certificate.
        location: Where a redirect leads.
        content_type: The kind of the body.
        date: The header `Date`.
        at: This machine's time while the request was under way, in seconds since the Unix epoch.
    """

    status: int = -1
    text: str = ""
    failure: Failure | None = None
    verify_code: int = 0
    location: str = ""
    content_type: str = ""
    date: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was gathered, in the order in which one thing needs the other; None where it was not got to.

    Attributes:
        version: This distribution's.
        upstream: The version of `mlsdk-python`, where that is installed beside.
        variables: The `MLSDK_*` variables that are set. Secrets among them: judge, do not show.
        settings: Those that cannot be used.
        is_disabled: Whether `MLSDK_DISABLED` is true.
        server: The service's base address.
        websocket: That of its live events.
        route: The way there.
        probe: The answer to an array without events.
        large: The answer to one as large as a full batch, without events too: blanks between the brackets.
        large_bytes: How large that was.
        live_error: Why no websocket was opened; empty if one was.
        live_status: The HTTP status behind it, or -1.
    """

    version: str
    upstream: str | None
    variables: Mapping[str, str] = field(repr=False)
    settings: tuple[Setting, ...] = ()
    is_disabled: bool = False
    server: str | None = None
    websocket: str | None = None
    route: Route | None = None
    probe: Answer | None = None
    large: Answer | None = None
    large_bytes: int = 0
    live_error: str | None = None
    live_status: int = -1


Check = Callable[[Facts], Iterator[Finding]]


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order in which they are best cured."""
    return [finding for check in CHECKS for finding in check(facts)]


# -- what is installed and set ----------------------------------------------------------------------------------------


def upstream(facts: Facts) -> Iterator[Finding]:
    """Another distribution with a package of our name."""
    if facts.upstream is None:
        yield fine("packages", f"mlsdk-otel {facts.version}, and no mlsdk-python beside it")
    else:
        yield problem(
            "packages",
            f"mlsdk-python {facts.upstream} is installed too, and has a package 'mlsdk' of its own: files of both may "
            "be mixed",
            "pip uninstall mlsdk-python, then install mlsdk-otel again",
        )


def misspelt(facts: Facts) -> Iterator[Finding]:
    """Variables with our prefix that nobody reads."""
    for name in sorted(facts.variables.keys() - KNOWN_VARIABLES):
        known = [each.removeprefix(PREFIX) for each in sorted(KNOWN_VARIABLES)]
        meant = get_close_matches(name.removeprefix(PREFIX), known, n=1)
        cure = f"rename it to {PREFIX}{meant[0]}" if meant else "unset it, or see docs/configuration.md"
        yield warning("settings", f"{name} is set, but there is no such setting", cure)


def switch(facts: Facts) -> Iterator[Finding]:
    """Whether everything is turned off."""
    if facts.is_disabled:
        yield warning("settings", "MLSDK_DISABLED is true: nothing is sent at all", "unset MLSDK_DISABLED")


_WHAT: Final = {"MLSDK_API_KEY": "key", "MLSDK_PROJECT_ID": "project", "MLSDK_SERVER_BASE": "host"}
_WHOSE: Final = {"MLSDK_API_KEY": "the key of your workspace", "MLSDK_PROJECT_ID": "the id of your project"}


def settings(facts: Facts) -> Iterator[Finding]:
    """Settings that are missing or cannot be used."""
    for each in facts.settings:
        is_missing = each.variable in _WHOSE and not facts.variables.get(each.variable, "").strip()
        cure = f"correct or unset {each.variable}"
        if is_missing:
            cure = f"export {each.variable}=<{_WHOSE[each.variable]}>"
        yield problem(_WHAT.get(each.variable, "settings"), each.message, cure)


def credentials(facts: Facts) -> Iterator[Finding]:
    """Key and project as they were typed."""
    wrong = {each.variable for each in facts.settings}
    for variable, whose in _WHOSE.items():
        value = facts.variables.get(variable, "").strip()
        if variable in wrong or not value:
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            yield problem(
                _WHAT[variable],
                f"the value of {variable} is in quotes, which are sent along",
                f"export {variable}=<{whose}>, without quotes; a file for `docker --env-file` has none",
            )
        elif value.lower().startswith("bearer "):
            yield problem(
                _WHAT[variable],
                f"the value of {variable} begins with 'Bearer', which the SDK adds itself",
                f"export {variable}=<{whose}>, the key alone",
            )
        else:
            yield fine(_WHAT[variable], f"{variable} is set")


def address(facts: Facts) -> Iterator[Finding]:
    """The base address."""
    if facts.server is None:
        return
    parts = urlsplit(facts.server)
    if "/bc/" in f"{parts.path}/":
        yield problem(
            "host",
            f"{facts.server} is the address of an endpoint; the SDK adds the path itself",
            f"export MLSDK_SERVER_BASE={_base(facts.server)}",
        )
    elif parts.scheme == "http" and not _is_here(parts.hostname):
        yield warning(
            "host",
            f"{facts.server}: the key and all texts travel unencrypted",
            f"export MLSDK_SERVER_BASE=https://{parts.netloc}",
        )
    else:
        yield fine("host", facts.server)


# -- the way ----------------------------------------------------------------------------------------------------------


def proxy(facts: Facts) -> Iterator[Finding]:
    """The proxy that requests go through."""
    route = facts.route
    if route is None or route.proxy is None or facts.server is None:
        return
    scheme = urlsplit(route.proxy).scheme
    if scheme not in ("http", "https"):
        yield problem(
            "proxy",
            f"{route.variable} names a proxy of the kind '{scheme}', which the SDK does not speak",
            f"name an HTTP proxy in MLSDK_PROXY, or add {_host(facts.server)} to NO_PROXY",
        )
    elif _is_here(_host(facts.server)):
        yield warning(
            "proxy",
            f"requests to this machine itself go through the proxy {route.proxy} of {route.variable}",
            f"add {_host(facts.server)} to NO_PROXY",
        )
    else:
        yield fine("proxy", f"{route.proxy}, from {route.variable}")


def name(facts: Facts) -> Iterator[Finding]:
    """The name of the host, or of its proxy."""
    route = facts.route
    if route is None:
        return
    variable = route.variable if route.proxy is not None else "MLSDK_SERVER_BASE"
    if route.name_error:
        yield problem(
            "DNS",
            f"the name {route.host} cannot be resolved ({route.name_error})",
            f"correct {variable}, or see to it that this machine can resolve names",
        )
    elif route.addresses:
        yield fine("DNS", f"{route.host} is {', '.join(route.addresses[:3])}")


_CERTIFICATE_CURES: Final = {
    10: "have the service renew its certificate, or set this machine's clock right",
    9: "set this machine's clock right; the certificate begins later",
    62: "put the name that the certificate is for into MLSDK_SERVER_BASE",
    64: "put the name that the certificate is for, rather than an IP address, into MLSDK_SERVER_BASE",
}


def connection(facts: Facts) -> Iterator[Finding]:
    """Connection, TLS, and what stands in between."""
    probe, server = facts.probe, facts.server
    if probe is None or server is None:
        return
    check, cure = "connection", ""
    via = facts.route.variable if facts.route is not None and facts.route.proxy is not None else ""
    if probe.failure is None:
        if server.startswith("https:"):
            yield fine("TLS", "the certificate is trusted")
        return
    if probe.failure is Failure.PROXY:
        check, cure = "proxy", f"correct or unset {via}, or start the proxy"
    elif probe.failure is Failure.PROXY_ANSWER:
        check = "proxy"
        cure = (
            f"put user and password into {via}: http://user:password@host:port"
            if probe.status == 407
            else f"have the proxy of {via} allow {_host(server)}, or add that to NO_PROXY"
        )
    elif probe.failure is Failure.CERTIFICATE:
        check = "TLS"
        cure = _CERTIFICATE_CURES.get(
            probe.verify_code, "name the PEM file of the authority that signed it: export MLSDK_CA_FILE=<file>"
        )
    elif probe.failure is Failure.TLS:
        check = "TLS"
        cure = f"no TLS is spoken there: check the port, or export MLSDK_SERVER_BASE={_in_plain(server)}"
    elif probe.failure is Failure.ADDRESS:
        check, cure = "host", "correct MLSDK_SERVER_BASE"
    elif probe.failure is Failure.CUT:
        cure = f"see whether a service listens at {server}, whether it wants https, and what firewall is in between"
    else:
        cure = f"see whether the service at {server} runs, and whether a firewall is in the way, or MLSDK_PROXY missing"
    yield problem(check, f"{probe.failure.value}: {probe.text}" if probe.text else probe.failure.value, cure)


# -- the answers ------------------------------------------------------------------------------------------------------


def clock(facts: Facts) -> Iterator[Finding]:
    """This machine's clock against the service's."""
    probe = facts.probe
    if probe is None or not probe.date:
        return
    try:
        theirs = parsedate_to_datetime(probe.date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return  # nobody can compare to a date that is none
    skew = probe.at - theirs
    told = f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the service's"
    cure = "set it by NTP (`timedatectl set-ntp true`); in a virtual machine, have it synchronised with its host"
    if abs(skew) >= SKEW_PROBLEM:
        yield problem("clock", told, cure)
    elif abs(skew) >= SKEW_WARNING:
        yield warning("clock", told, cure)
    else:
        yield fine("clock", f"within {SKEW_WARNING:.0f} s of the service's")


def batches(facts: Facts) -> Iterator[Finding]:
    """Whether arrays of events are taken."""
    probe = facts.probe
    if probe is None or probe.failure is not None:
        return
    told = f"{probe.status}: {probe.text}" if probe.text else f"HTTP status {probe.status}"
    if 200 <= probe.status < 300:
        if "html" in probe.content_type.lower():
            yield problem(
                "batches",
                "a web page answers, not the service: a portal to sign in at, or another server",
                "check MLSDK_SERVER_BASE, and open the address in a browser",
            )
        else:
            yield fine("batches", "an empty batch was taken")
        return
    yield _refusal(facts, probe.status, told, probe.location)


def _refusal(facts: Facts, status: int, told: str, location: str) -> Finding:  # noqa: PLR0911 - one for each meaning
    if status in (401, 403):
        return problem(
            "key",
            f"the service refuses the key for this project ({told})",
            "export MLSDK_API_KEY and MLSDK_PROJECT_ID of the same workspace",
        )
    if 300 <= status < 400:
        base = _base(location) if location.startswith(("http://", "https://")) else ""
        return problem(
            "host",
            f"the service sends requests elsewhere ({status}), which are not followed, to keep the key safe",
            f"export MLSDK_SERVER_BASE={base or '<the address that it is moved to>'}",
        )
    if status in (404, 405, 410):
        return problem(
            "host",
            f"there is no Mindlytics at {facts.server} ({told})",
            "export MLSDK_SERVER_BASE=<the base address of the service>",
        )
    if status == 413:
        return problem(
            "batches",
            f"even an empty batch is too large ({told})",
            "raise the limit for request bodies of the proxy or gateway in front of the service",
        )
    if status in (400, 422):
        return warning(
            "batches",
            f"arrays of events are not taken ({told}); events go one by one, which is slow",
            "check MLSDK_SERVER_BASE; a service of the published interface takes arrays",
        )
    if status == 429:
        return warning(
            "batches",
            f"too many requests ({told}); events wait and are tried again",
            "send less, or ask for a higher rate for this key",
        )
    if status >= 500 or status in (408, 425):
        return problem(
            "service",
            f"the service cannot work now ({told}); events wait and are tried again",
            "try later; if it stays so, tell the service's operators",
        )
    return problem("service", f"an answer that nobody expects ({told})", "check MLSDK_SERVER_BASE and the proxy")


def large_batches(facts: Facts) -> Iterator[Finding]:
    """Whether a batch of full size gets through."""
    large = facts.large
    if large is None or large.failure is not None or 200 <= large.status < 300:
        return
    size = f"{facts.large_bytes // 1024} KiB"
    if large.status == 413:
        yield warning(
            "batches",
            f"a body of {size} is too large (413); batches shrink, and a long text may be refused",
            "raise the limit for request bodies of the gateway in front to 1 MiB (nginx: client_max_body_size 1m)",
        )
    elif large.status not in (429, 503):
        yield warning(
            "batches",
            f"a body of {size} is answered {large.status}: {large.text}",
            "see what stands between here and the service",
        )


def live(facts: Facts) -> Iterator[Finding]:
    """The websocket of live events."""
    if facts.live_error is None:
        return
    if not facts.live_error:
        yield fine("websocket", f"{facts.websocket} is open")
        return
    if facts.live_status in (401, 403):
        cure = "ask for live events to be allowed for this key; without them leave out on_event"
    elif 300 <= facts.live_status < 400:
        cure = "export MLSDK_WSS_BASE=<the address that it is moved to>"
    else:
        cure = (
            "export MLSDK_WSS_BASE=<the websocket's address>, and have proxies and firewalls pass websockets; "
            "only on_event and start_listening need it"
        )
    yield warning("websocket", f"{facts.websocket}: {facts.live_error}", cure)


CHECKS: Final[tuple[Check, ...]] = (
    upstream,
    misspelt,
    switch,
    settings,
    credentials,
    address,
    proxy,
    name,
    connection,
    clock,
    batches,
    large_batches,
    live,
)


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.partition('/bc/')[0]}"


def _in_plain(server: str) -> str:
    return server.replace("https:", "http:", 1)


def _host(server: str) -> str:
    return urlsplit(server).hostname or server


def _is_here(host: str | None) -> bool:
    """Whether a host is this machine; by its name or number alone, as nothing is looked up here."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False
