"""``python -m mlsdk``: a local Mindlytics, a look at the set-up, and conversations of the past."""

import sys

from mlsdk.commands import Command, run

COMMANDS = {
    "local": Command("mlsdk.local.__main__", "a Mindlytics on this machine, to see what would be sent"),
    "doctor": Command("mlsdk.doctor.__main__", "looks at the settings and the way to the service"),
    "import": Command("mlsdk.importing.__main__", "conversations of the past, from JSON Lines or CSV"),
}

if __name__ == "__main__":
    sys.exit(run("python -m mlsdk", COMMANDS, sys.argv[1:]))
