"""``python -m mlsdk_otel doctor``: what the SDK's doctor says, and what there is to say of OpenTelemetry."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from mlsdk.doctor import checks as service
from mlsdk.doctor.collecting import WITHIN
from mlsdk.doctor.collecting import gather as gather_service
from mlsdk.doctor.findings import exit_code, line, problem, summary
from mlsdk_otel.doctor.checks import examine
from mlsdk_otel.doctor.collecting import gather


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at this process and print what is found; return the exit status: 1 if there is a problem."""
    parser = argparse.ArgumentParser(
        prog="mlsdk-otel doctor",
        description="Looks at the settings, the way to the service, and how OpenTelemetry is set up; sends no event. "
        "For zero code run it as your program runs: opentelemetry-instrument mlsdk-otel doctor",
        epilog="Exit status 1 if there is a problem; warnings do not count.",
    )
    parser.add_argument("--import", dest="module", metavar="MODULE", help="import this first: it sets up your provider")
    parser.add_argument("--offline", action="store_true", help="do not ask the service")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=WITHIN, help="for each look (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    findings = []
    if options.module is not None:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it
        try:
            import_module(options.module)
        except Exception as error:  # whatever the program's own module raises
            told = f"{options.module} cannot be imported: {type(error).__name__}: {error}"
            findings.append(problem("provider", told, "run this where your program runs, and name a module of it"))
    secrets: tuple[str, ...] = ()
    if not options.offline:
        gathered = gather_service(os.environ, within=options.timeout)
        secrets = gathered.secrets
        findings += service.examine(gathered.facts)
    findings += examine(gather(os.environ))
    for finding in findings:
        print(line(finding, secrets=secrets))
    print(summary(findings))
    return exit_code(findings)


if __name__ == "__main__":
    sys.exit(main())
