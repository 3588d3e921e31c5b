"""``mlsdk-otel``, or ``python -m mlsdk_otel``: the command line."""

import sys

from mlsdk.commands import Command, run

COMMANDS = {
    "local": Command("mlsdk.local.__main__", "a Mindlytics on this machine, to see what would be sent"),
    "doctor": Command("mlsdk_otel.doctor.__main__", "looks at settings, service and OpenTelemetry set-up"),
    "explain": Command("mlsdk_otel.explain.__main__", "what would be made of recorded spans, and why"),
    "import": Command("mlsdk.importing.__main__", "conversations of the past, from JSON Lines or CSV"),
}


def main() -> int:
    """Run the command that the user typed; return the exit status."""
    return run("mlsdk-otel", COMMANDS, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
