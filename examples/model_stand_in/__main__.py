"""Serves until it is interrupted: `python -m model_stand_in --port 8080`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from model_stand_in.server import ModelStandIn


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="model_stand_in", description="Answer as OpenAI's and Anthropic's services do, on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8080, help="0 picks a free one; default: %(default)s")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="between two pieces of a stream")
    options = parser.parse_args(arguments)
    models = ModelStandIn(host=options.host, port=options.port, pause=options.pause)
    try:
        models.start()
    except OSError as problem:
        print(f"cannot serve on {options.host}:{options.port}: {problem.strerror}", file=sys.stderr)
        return 1
    print(f"Model stand-in: {models.url}", flush=True)
    for name, value in models.environment.items():
        print(f"   {name}={value}", flush=True)
    try:
        models.wait()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        models.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
