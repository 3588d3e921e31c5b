"""Shows it all on this machine, with nothing to sign up for: `python3 -m tox -e demo`.

Starts a local Mindlytics, imports real conversations into it, chats a little while listening to what the service makes
of it, and imports the same conversations once more as OpenTelemetry spans. Then it compares what the service holds with
what was sent, and what came by either road. At last it starts a chatbot that knows nothing of all this, talks to it,
and compares what was said with the transcripts. Any difference, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import zero_code_demo
from chitchat import Dialogue
from comparison import Row, differing, print_table
from history import Recorded, StandstillError, read
from import_history import check, problems_of, report, run_import
from local_service import local_mindlytics
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from verification import Findings, NoViewError, Twins, View, compare_projects, differences

from mlsdk import Client, MindlyticsError, MLEvent, TokenBasedCost
from mlsdk_otel import configure

_CONVERSATIONS: Final = 200
_PAUSE: Final = 0.3
"""Seconds between two turns, so that one can see the service answer in between."""
_CHAT: Final = (
    ("Where is order 4711?", "It left our store this morning."),
    ("When will it be here?", "Tomorrow before noon."),
    ("Great, thanks!", "You are welcome!"),
)
_OTHER_CHAT_EVENTS: Final = 5
"""The events of the chat that are not turns: two starts, a function call, two ends."""


@dataclass(slots=True)
class Chat:
    """A live session, and what was heard of it."""

    session_id: str = ""
    heard: list[MLEvent] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class SpanCounter(SpanProcessor):
    """Counts the spans that deliver, as another reader of the application's spans would see them."""

    def __init__(self) -> None:
        """Begins at nothing."""
        self.spans = 0
        self.events = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Counts one, unless the SDK sends its events itself."""
        if span.name.startswith("mindlytics.") and (span.attributes or {}).get("mindlytics.delivery") != "direct":
            self.spans += 1
            self.events += len(span.events)


async def chat_live(client: Client) -> Chat:
    """Chats in a session, and prints what the service sends back meanwhile."""
    chat = Chat()

    async def on_event(event: MLEvent) -> None:
        chat.heard.append(event)
        print(f"      service   {event.event}{_remark(event)}")

    def on_error(error: MindlyticsError) -> None:
        chat.errors.append(str(error))

    # Leaving the context ends the conversation and the session, and waits until the service has said so.
    async with client.create_session(device_id="demo-laptop", on_event=on_event, on_error=on_error) as session:
        chat.session_id = session.session_id or ""
        for number, (user, assistant) in enumerate(_CHAT):
            print(f"   user         {user}\n   assistant    {assistant}")
            if number == 0:
                await session.track_function_call(
                    name="find_order", args='{"order": 4711}', result="shipped", runtime=8
                )
            await session.track_conversation_turn(
                user=user,
                assistant=assistant,
                usage=TokenBasedCost(model="gpt-4o", prompt_tokens=12 + number, completion_tokens=9),
            )
            await asyncio.sleep(_PAUSE)
    return chat


def _remark(event: MLEvent) -> str:
    summary = (event.properties or {}).get("summary")
    return f": {summary}" if summary else ""


def examine_chat(held: dict[str, Any] | None) -> list[str]:
    """How the chat at the service differs from what was said."""
    turns = [{"user": user, "assistant": assistant, "model": "gpt-4o"} for user, assistant in _CHAT]
    function = {"name": "find_order", "args": '{"order": 4711}', "result": "shipped", "runtime": 8}
    wanted = {"conversations": [{"turns": turns, "functions": [function]}]}
    return list(differences(wanted, held or {}, "live session"))


async def import_by_spans(address: str, history: Sequence[Dialogue], direct: View) -> tuple[Twins, list[str]]:
    """Imports into a second project: the SDK makes spans, and the spans deliver.

    Returns:
        How the events compare with those that the SDK itself has sent, and what went wrong.
    """
    project = "demo-spans"
    # The application's own provider, with a processor of its own; the global one `configure()` finds by itself.
    provider, counter = TracerProvider(), SpanCounter()
    provider.add_span_processor(counter)
    handle = configure(tracer_provider=provider, api_key="demo_key", project_id=project, server_endpoint=address)
    try:
        client = Client("demo_key", project, address)
        recorded = await run_import(client, history)
        await handle.flush()
    finally:
        handle.shutdown()
    async with View(address, project) as view:
        findings = await check(view, history, recorded)
        twins = await compare_projects(direct, view, history)
    print(f"compared    {twins.equal_events:,} of {recorded.events:,} events are the same by both roads")
    print(f"carried by  {counter.spans:,} spans with {counter.events:,} span events")
    problems = problems_of(client, recorded, findings) + twins.differences
    if counter.events != recorded.turns:
        problems.append(f"{recorded.turns:,} turns were recorded, {counter.events:,} span events carried them")
    return twins, problems


def compare(
    recorded: Recorded, history: Sequence[Dialogue], chat: Chat, findings: Findings, *, made: int, held: dict[str, int]
) -> list[Row]:
    """What was sent, beside what the service holds in all.

    Args:
        recorded: What the import sent.
        history: From whom.
        chat: What the live session heard.
        findings: What the look at each imported turn brought.
        made: The live events that the service made of the chat.
        held: The service's own totals.
    """
    return [
        Row("users", len({dialogue.user for dialogue in history}) + 1, held["users"]),
        Row("sessions", recorded.sessions + 1, held["sessions"]),
        Row("  still open", 0, held["open_sessions"]),
        Row("conversations", recorded.sessions + 1, held["conversations"]),
        Row("turns", recorded.turns + len(_CHAT), held["turns"]),
        Row("  imported: same text, time, place", recorded.turns, findings.equal_turns),
        Row("function calls", 1, held["functions"]),
        Row("events", recorded.events + len(_CHAT) + _OTHER_CHAT_EVENTS, held["events"]),
        Row("live events (heard, and made)", len(chat.heard), made),
    ]


async def demo(address: str, history: Sequence[Dialogue]) -> int:
    """Imports, chats and compares; returns the exit status."""
    client = Client("demo_key", "demo", address, address.replace("http", "ws", 1))
    async with View(address, client.project_id) as view:
        print("\n2. Real conversations of the past")
        recorded = await run_import(client, history)
        findings = await check(view, history, recorded)
        before = await view.totals()
        print("\n3. A conversation now, and what the service makes of it")
        chat = await chat_live(client)
        held = await view.totals()
        chat_differences = examine_chat(await view.session(chat.session_id))
        print("\n4. The same conversations of the past, as OpenTelemetry spans")
        twins, problems_with_spans = await import_by_spans(address, history, view)
    rows = compare(recorded, history, chat, findings, made=held["live_events"] - before["live_events"], held=held)
    rows.append(Row("events by spans, as by calls", recorded.events, twins.equal_events))
    print("\n5. What was sent, and what is there\n")
    print_table(rows)
    problems = problems_of(client, recorded, findings) + chat.errors + chat_differences + problems_with_spans
    problems += differing(rows)
    if not problems:
        print("\nEverything that was sent is there, once, in order.")
    return report(problems)


async def demo_zero_code(address: str) -> int:
    """Talks to a chatbot that knows nothing of Mindlytics, and compares; returns the exit status."""
    print("\n6. A chatbot without a line about telemetry, started by opentelemetry-instrument")
    try:
        rows = await zero_code_demo.demo(address)
    except zero_code_demo.NoChatbotError as error:
        return report([str(error)])
    print("\n7. What was said to it, and what is there\n")
    print_table(rows)
    return report(differing(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description="Import, chat and compare, all on this machine.")
    parser.add_argument("--conversations", type=int, default=_CONVERSATIONS, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    print("1. A Mindlytics service on this machine")
    try:
        with local_mindlytics() as address:
            print(f"   {address}, in a process of its own")
            status = asyncio.run(demo(address, read()[: options.conversations]))
            return max(status, asyncio.run(demo_zero_code(address)))
    except (NoViewError, StandstillError) as error:
        return report([str(error)])


if __name__ == "__main__":
    sys.exit(main())
