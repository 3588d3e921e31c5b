"""Imports the conversations of `chitchat-dataset`, with the times at which they were held, and checks every turn.

    pip install 'mlsdk-otel[demo]'
    python examples/import_history.py --local                 # into a local Mindlytics that is started for it
    MLSDK_SERVER_BASE=http://localhost:3000 MLSDK_API_KEY=any MLSDK_PROJECT_ID=history python examples/import_history.py

An import is not idempotent: a second one into the same project adds every turn once more.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from chitchat import Dialogue
from history import PATIENCE, Recorded, StandstillError, read, record
from local_service import local_mindlytics
from progress import progress_bar
from verification import Findings, NoViewError, View, verify

from mlsdk import Client, ConfigurationError

_SHOWN: Final = 10
"""Differences to show, at most."""


def peak_memory() -> float | None:
    """The most memory that this process had so far, in MiB; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


async def run_import(client: Client, history: Sequence[Dialogue]) -> Recorded:
    """Records and delivers the dialogues, and says how fast that was and what it took."""
    turns = sum(len(dialogue.turns) for dialogue in history)
    print(f"{len(history):,} conversations with {turns:,} turns, from {_days(history)}")
    before, began = peak_memory(), time.perf_counter()
    with progress_bar("importing", turns, "turns") as advance:
        recorded = await record(client, history, on_turns=advance)
    seconds = time.perf_counter() - began
    after = peak_memory()
    print(f"delivered   {recorded.events:,} events in {seconds:.1f} s: {recorded.events / seconds:,.0f} events/s")
    if before is not None and after is not None:
        print(f"memory      {after:.0f} MiB at its peak, {before:.0f} MiB of it before the first event was recorded")
    print(f"ledger      {_ledger(client)}")
    return recorded


async def check(view: View, history: Sequence[Dialogue], recorded: Recorded) -> Findings:
    """Compares every turn at the service with what it should be."""
    with progress_bar("verifying", recorded.turns, "turns") as advance:
        findings = await verify(view, history, on_turns=advance)
    print(
        f"verified    {findings.equal_turns:,} of {recorded.turns:,} turns are there, in their order, "
        f"with their texts and times; {len(findings.differences):,} differences"
    )
    return findings


def problems_of(client: Client, recorded: Recorded, findings: Findings | None) -> list[str]:
    """What is wrong with an import; empty if nothing is."""
    ledger = client.stats()
    problems = []
    if ledger["delivered"] != ledger["accepted"]:
        problems.append(f"not everything was delivered: {_ledger(client)}")
        # Only then: sessions are told of outages too, and those that have passed did no harm.
        told = Counter(f"{error.status}: {error.message}" for error in recorded.errors)
        problems += [f"{count:,} times {what}" for what, count in told.most_common()]
    if findings is None:
        return problems
    for what in ("sessions", "turns", "events"):
        sent, found = getattr(recorded, what), getattr(findings, what)
        if sent != found:
            problems.append(f"{sent:,} {what} were sent, the service has {found:,}")
    return problems + findings.differences


def report(problems: Sequence[str]) -> int:
    """Says what is wrong; returns the exit status."""
    for problem in problems[:_SHOWN]:
        print(f"WRONG       {problem}", file=sys.stderr)
    if len(problems) > _SHOWN:
        print(f"WRONG       ... and {len(problems) - _SHOWN:,} more", file=sys.stderr)
    return 1 if problems else 0


def _days(history: Sequence[Dialogue]) -> str:
    first = min(dialogue.started_at for dialogue in history)
    last = max(dialogue.ended_at for dialogue in history)
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _ledger(client: Client) -> str:
    ledger = client.stats()
    dropped = [f"{count:,} {reason}" for reason, count in ledger["dropped"].items()]
    counts = [f"{name} {count:,}" for name, count in ledger.items() if isinstance(count, int)]
    return ", ".join([*counts, f"dropped {' and '.join(dropped) or 0}"])


def _client(address: str | None) -> Client:
    """For the service that was started for us, which needs no account, or for the one that the environment names."""
    if address is None:
        return Client(flush_timeout=PATIENCE)
    return Client("local_key", "history", address, flush_timeout=PATIENCE)


async def _main(options: argparse.Namespace, address: str | None) -> int:
    history = read(options.file)[: options.conversations]
    if not history:
        return report(["there are no conversations to import"])
    # Not as a context, whose end waits for delivery: `record` has waited, or knows that it makes no sense.
    client = _client(address)
    async with View(client.server_endpoint, client.project_id) as view:
        if options.verify:
            await view.totals()  # better to hear now than after the import that this cannot be done
        recorded = await run_import(client, history)
        findings = await check(view, history, recorded) if options.verify else None
    return report(problems_of(client, recorded, findings))


def main(arguments: Sequence[str] | None = None) -> int:
    """Imports what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description="Import conversations of the past, with their own times.")
    add = parser.add_argument
    add("--conversations", type=int, metavar="N", help="the first N only (default: all 7,168)")
    add("--file", type=Path, metavar="FILE", help="JSON of the same form as the dataset's, instead of the dataset")
    add("--local", action="store_true", help="start a local Mindlytics to import into, instead of MLSDK_SERVER_BASE")
    add("--no-verify", dest="verify", action="store_false", help="do not look the turns up: needed for other services")
    options = parser.parse_args(arguments)
    try:
        with local_mindlytics() if options.local else nullcontext() as address:
            return asyncio.run(_main(options, address))
    except (ConfigurationError, NoViewError, StandstillError) as error:
        return report([str(error)])


if __name__ == "__main__":
    sys.exit(main())
