"""What may go wrong on request: the faults, their command line grammar, and which of them hits a request.

Pure: the random number comes from outside.

The grammar of ``--fault SPEC``::

    SPEC        = ACTION [":" PROBABILITY] *(":" OPTION)
    ACTION      = STATUS                  answer this status, 400 to 599, instead of doing the work
                | "hang" ["=" SECONDS]    do not answer (for so long; without it, until the service stops)
                | "reset"                 cut the connection before anything is done
                | "lost"                  do the work, then cut the connection: the answer is lost
                | "slow" "=" SECONDS      answer properly, so much later
                | "drip" "=" SECONDS      answer properly, one byte each so many seconds
    PROBABILITY = 0 to 1; without it every request is hit
    OPTION      = "retry-after=" TEXT     header of a STATUS answer
                | "body=" TEXT            text of a STATUS answer
                | "path=" PREFIX          only requests whose path begins so; default /bc/, the service's own
                | "skip=" COUNT           let so many requests pass first
                | "times=" COUNT          hit so often at most

    429:0.1                   one request in ten is told "429"
    429:0.1:retry-after=2     and to come back in two seconds
    hang:0.01  reset:0.01  slow=0.05
    503:times=20:skip=100     an outage of twenty requests, after the first hundred

Specs are tried in the order given. Delays add up; of the rest the first that hits wins.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ACTION_ANSWER: Final = "answer"
ACTION_HANG: Final = "hang"
ACTION_RESET: Final = "reset"
ACTION_GO_ON: Final = "go on"

API: Final = "/bc/"
"""Where the paths of the service's own endpoints begin."""

_TEXTS: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Unauthorized: No organization found for given apikey",
    404: "Not Found",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class InvalidFaultError(ValueError):
    """The text is not a fault; the message says which part and what would do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. Make one by `answer`, `hang`, `reset` or `slow`.

    ``process``: the work is done first, so only the answer is lost. ``delay``: seconds before anything is answered.
    ``drip``: seconds between two bytes of the answer. ``seconds``: how long a hang lasts; None: until released.
    """

    action: str = ACTION_GO_ON
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    process: bool = False
    seconds: float | None = None
    delay: float = 0.0
    drip: float = 0.0

    @classmethod
    def answer(
        cls,
        status: int,
        *,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        process: bool = False,
        delay: float = 0.0,
        drip: float = 0.0,
    ) -> "Fault":
        """Answer this status and text; without ``process`` the events of the request are not taken."""
        text = body if body is not None else _TEXTS.get(status, f"Status {status}")
        return cls(ACTION_ANSWER, status, text, dict(headers or {}), process, None, delay, drip)

    @classmethod
    def hang(cls, *, seconds: float | None = None, process: bool = False) -> "Fault":
        """Do not answer until released, then go on as if nothing had been; ``seconds``: released by itself."""
        return cls(ACTION_HANG, process=process, seconds=seconds)

    @classmethod
    def reset(cls, *, process: bool = False) -> "Fault":
        """Cut the connection, before or after the work is done."""
        return cls(ACTION_RESET, process=process)

    @classmethod
    def slow(cls, *, delay: float = 0.0, drip: float = 0.0) -> "Fault":
        """Answer properly, but late or byte by byte."""
        return cls(delay=delay, drip=drip)


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One parsed SPEC: which requests are hit, how often, by what."""

    fault: Fault
    probability: float = 1.0
    path: str = API
    skip: int = 0
    times: int | None = None


class Faults:
    """The rules of a running service, and how often each has been tried and has hit.

    Args:
        rules: in order of precedence.
        random: gives a number from 0 (in) to 1 (out); one draw a rule and request, so a seed repeats a run.
    """

    def __init__(self, rules: Iterable[FaultRule], *, random: Callable[[], float]) -> None:
        self.rules: Final = tuple(rules)
        self._random = random
        self._seen = [0] * len(self.rules)
        self._hits = [0] * len(self.rules)

    def hit(self, path: str) -> Fault | None:
        """What happens to the next request, which has this path; None: nothing."""
        chosen = Fault()
        delay = drip = 0.0
        for number, rule in enumerate(self.rules):
            if not path.startswith(rule.path):
                continue
            self._seen[number] += 1
            draw = self._random()
            if self._seen[number] <= rule.skip or draw >= rule.probability:
                continue
            if rule.times is not None and self._hits[number] >= rule.times:
                continue
            if ACTION_GO_ON not in (rule.fault.action, chosen.action):
                continue
            self._hits[number] += 1
            delay += rule.fault.delay
            drip += rule.fault.drip
            if rule.fault.action != ACTION_GO_ON:
                chosen = rule.fault
        if chosen.action == ACTION_GO_ON and not delay and not drip:
            return None
        return Fault(
            chosen.action, chosen.status, chosen.body, chosen.headers, chosen.process, chosen.seconds, delay, drip
        )


def parse_fault(spec: str) -> FaultRule:
    """Read one SPEC of the grammar above.

    Raises:
        InvalidFaultError: it is not one.
    """
    action, *rest = spec.split(":")
    probability = 1.0
    if rest and "=" not in rest[0]:
        probability = _number(rest.pop(0), "probability", low=0, high=1)
    options = _options(rest)
    fault = _fault(action, options)
    rule = FaultRule(
        fault=fault,
        probability=probability,
        path=options.pop("path", API),
        skip=int(_number(options.pop("skip", "0"), "skip", whole=True)),
        times=int(_number(options.pop("times"), "times", whole=True)) if "times" in options else None,
    )
    if options:
        raise InvalidFaultError(f"{', '.join(sorted(options))}: not an option of {action!r}")
    return rule


def _fault(action: str, options: dict[str, str]) -> Fault:
    name, has_value, value = action.partition("=")
    if name.isascii() and name.isdigit() and not has_value:
        status = int(_number(name, "status", low=400, high=599))
        headers: dict[str, str] = {}
        if "retry-after" in options:
            headers["Retry-After"] = options.pop("retry-after")
        return Fault.answer(status, body=options.pop("body", None), headers=headers)
    if name == "hang":
        return Fault.hang(seconds=_number(value, "seconds") if has_value else None)
    if name in ("reset", "lost") and not has_value:
        return Fault.reset(process=name == "lost")
    if name in ("slow", "drip") and has_value:
        seconds = _number(value, "seconds")
        return Fault.slow(delay=seconds) if name == "slow" else Fault.slow(drip=seconds)
    raise InvalidFaultError(
        f"{action!r} is not a fault: use a status from 400 to 599, hang, hang=SECONDS, reset, lost, "
        "slow=SECONDS or drip=SECONDS"
    )


def _options(parts: list[str]) -> dict[str, str]:
    options: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or not value or name in options:
            raise InvalidFaultError(f"{part!r}: write an option once, as name=value")
        options[name] = value
    return options


def _number(text: str, name: str, *, low: float = 0, high: float = math.inf, whole: bool = False) -> float:
    try:
        number = float(int(text) if whole else text)
    except ValueError:
        raise InvalidFaultError(f"{name} is {text!r}: use a number") from None
    if not low <= number <= high or math.isinf(number):
        raise InvalidFaultError(f"{name} is {text!r}: use a number from {low:g} to {high:g}")
    return number
