"""Every attribute, span and event name that this package writes or reads, by who defines it.

Sources: OpenTelemetry semantic conventions 1.44 (`session.*`, `user.*`) and the GenAI conventions (`gen_ai.*`); the
names under `mindlytics.` are this project's own. They are written out here because OpenTelemetry's Python packages
keep theirs in private or deprecated modules.
"""

from __future__ import annotations

from typing import Final

# -- OpenTelemetry ----------------------------------------------------------------------------------------------------

SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"

# Only read, on spans of others. What a single convention has to itself stands in its module.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
SYSTEM: Final = "gen_ai.system"
"""The provider, up to 1.36."""
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_ID: Final = "gen_ai.response.id"
AGENT_NAME: Final = "gen_ai.agent.name"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
PROMPT: Final = "gen_ai.prompt."
"""Followed by an index, in OpenLLMetry up to 0.4x."""
COMPLETION: Final = "gen_ai.completion."
ERROR_TYPE: Final = "error.type"

# -- spans of ours ----------------------------------------------------------------------------------------------------

SESSION_SPAN: Final = "mindlytics.session"
"""A session: a root span."""
CONVERSATION_SPAN: Final = "mindlytics.conversation"
"""A conversation: a child of its session's span."""

# -- events of ours, on either span -----------------------------------------------------------------------------------

TURN: Final = "mindlytics.turn"
USAGE: Final = "mindlytics.usage"
FUNCTION: Final = "mindlytics.function"
CUSTOM: Final = "mindlytics.event"
IDENTIFY: Final = "mindlytics.user.identify"
ALIAS: Final = "mindlytics.user.alias"
CONVERSATION_STARTED: Final = "mindlytics.conversation.started"
"""Only in a joined session, which has no span that lasts as long as a conversation."""
CONVERSATION_ENDED: Final = "mindlytics.conversation.ended"
SESSION_ENDED: Final = "mindlytics.session.ended"

# -- attributes of ours -----------------------------------------------------------------------------------------------

DEVICE_ID: Final = "mindlytics.device.id"
PROJECT_ID: Final = "mindlytics.project.id"
"""A reader of another project leaves the span alone."""
DELIVERY: Final = "mindlytics.delivery"
"""`direct` on a span whose events the SDK sends itself; a reader leaves it alone."""
DIRECT: Final = "direct"
SESSION_START: Final = "mindlytics.session.start"
"""The session's start as JSON text, on each of its spans: children end first, and each span stands alone."""
JOINED: Final = "mindlytics.session.joined"
CONVERSATIONS: Final = "mindlytics.session.conversations"
"""How many conversations the session had; its end waits for as many."""
PART: Final = "mindlytics.part"
"""0, 1, ...: which part of its session or conversation a span is; each but the first says so."""
CONTINUED: Final = "mindlytics.continued"
"""True on a part that another follows; only a span without it ends its session or conversation."""
REOPENED: Final = "mindlytics.conversation.reopened"
"""True on a part that starts its conversation anew, after it had ended in the part before."""
END_USER_ID: Final = "mindlytics.end.user.id"
"""Whose a session or conversation was when it ended, where that differs from its start."""
END_DEVICE_ID: Final = "mindlytics.end.device.id"
"""Likewise the device."""
END_TIMESTAMP: Final = "mindlytics.end.timestamp"
"""When a session or conversation ended, where the caller said a time before its start, which no span can have."""

SESSION_ATTRIBUTE: Final = "mindlytics.session.attribute."
SESSION_END_ATTRIBUTE: Final = "mindlytics.session.end_attribute."
CONVERSATION_PROPERTY: Final = "mindlytics.conversation.property."
CONVERSATION_END_PROPERTY: Final = "mindlytics.conversation.end_property."
PROPERTY: Final = "mindlytics.property."
TRAIT: Final = "mindlytics.user.trait."
INHERITED: Final = (SESSION_ID, USER_ID, DEVICE_ID, JOINED)
"""What a conversation's span may leave to its session's."""
ALL: Final = "*"
"""Behind one of the prefixes above: a JSON object of all values, used when they would not fit the attribute limits."""

TURN_USER: Final = "mindlytics.turn.user"
TURN_ASSISTANT: Final = "mindlytics.turn.assistant"
TURN_ASSISTANT_ID: Final = "mindlytics.turn.assistant_id"
COST: Final = "mindlytics.cost"
RUNTIME_MS: Final = "mindlytics.function.runtime_ms"
EVENT_NAME: Final = "mindlytics.event.name"
PREVIOUS_ID: Final = "mindlytics.user.previous_id"
KNOWN_USER_ID: Final = "mindlytics.user.known_id"
"""On an identify or alias, whose `user.id` is the new one: the user that the session had before."""

MAX_SINGLE_VALUES: Final = 64
"""More properties, attributes or traits than this travel as one JSON attribute: a span and an event drop attributes
over a limit (128 by default) silently."""
