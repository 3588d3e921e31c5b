"""``python -m mlsdk.local``: the local Mindlytics on the command line."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from mlsdk.local.database import DatabaseError
from mlsdk.local.faults import FaultRule, InvalidFaultError, parse_fault
from mlsdk.local.server import MAX_BODY
from mlsdk.local.service import LocalMindlytics

_FAULTS = """\
faults: ACTION[:PROBABILITY][:OPTION=VALUE]..., may be given several times
  429:0.1:retry-after=2   one request in ten is answered 429 with Retry-After: 2
  503:times=20:skip=100   an outage of twenty requests after the first hundred
  hang:0.01, hang=5       no answer until the service stops, or for five seconds
  reset:0.01, lost:0.01   the connection is cut before, or after, the work is done
  slow=0.05, drip=0.01    the answer comes late, or byte by byte
options: retry-after=TEXT body=TEXT path=PREFIX (default /bc/) skip=COUNT times=COUNT
"""


def _fault(spec: str) -> FaultRule:
    try:
        return parse_fault(spec)
    except InvalidFaultError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: use a number from 0 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlsdk.local",
        description="A Mindlytics service on this machine, to see what would be sent and to test against.",
        epilog=_FAULTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=3000, help="port, 0 for a free one (default: %(default)s)")
    add("--ws-port", type=_port, help="second port for the websocket (default: 400x where the port is 300x)")
    add("--db", metavar="FILE", help="keep everything in this SQLite file")
    add("--fault", metavar="SPEC", action="append", default=[], type=_fault, help="what goes wrong, see below")
    add("--seed", type=int, help="repeat the same faults in every run")
    add("--api-key", metavar="KEY", help="the only key that is accepted (default: any but bad_key)")
    add("--max-body", metavar="BYTES", type=int, default=MAX_BODY, help="answer 413 beyond (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    options = _parser().parse_args(arguments)
    # Set before the ready line is printed: who reads it may signal at once.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    service = LocalMindlytics(
        host=options.host,
        port=options.port,
        ws_port=options.ws_port,
        api_key=options.api_key,
        faults=options.fault,
        seed=options.seed,
        max_body=options.max_body,
        db=options.db,
    )
    try:
        service.start()
    except (OSError, DatabaseError) as error:
        print(f"local Mindlytics: {error}", file=sys.stderr)
        return 1
    print(f"Local Mindlytics is ready: {service.url} (websocket {service.ws_url})", flush=True)
    while not stop.wait(1.0):  # with a timeout, since Windows lets no signal through to a wait without one
        pass
    service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
