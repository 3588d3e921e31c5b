"""``python -m mlsdk doctor``: the findings on the command line."""

import argparse
import os
import sys
from collections.abc import Sequence

from mlsdk.doctor.checks import examine
from mlsdk.doctor.collecting import WITHIN, gather
from mlsdk.doctor.findings import exit_code, line, summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at this environment and print what is found; return the exit status: 1 if there is a problem."""
    parser = argparse.ArgumentParser(
        prog="python -m mlsdk doctor",
        description="Looks at the settings in the environment and at the way to the service; sends no event.",
        epilog="Exit status 1 if there is a problem; warnings do not count.",
    )
    parser.add_argument("--server", metavar="URL", help="instead of MLSDK_SERVER_BASE")
    parser.add_argument("--project", metavar="ID", help="instead of MLSDK_PROJECT_ID")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=WITHIN, help="for each look (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    given = {"MLSDK_SERVER_BASE": options.server, "MLSDK_PROJECT_ID": options.project}
    environ = {**os.environ, **{name: value for name, value in given.items() if value is not None}}
    gathered = gather(environ, within=options.timeout)
    findings = examine(gathered.facts)
    for finding in findings:
        print(line(finding, secrets=gathered.secrets))
    print(summary(findings))
    return exit_code(findings)


if __name__ == "__main__":
    sys.exit(main())
