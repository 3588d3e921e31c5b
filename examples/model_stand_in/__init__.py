"""A stand-in for the services of OpenAI and Anthropic, on this machine: whoever talks to a model needs no key.

In a program or a test:

    with ModelStandIn() as models:
        client = openai.OpenAI(base_url=models.openai_url, api_key="any")

By itself, from the folder above: `python -m model_stand_in --port 8080`. It speaks chat completions, Responses,
embeddings and Anthropic's messages, whole and as streams, with functions; refuses what the real services refuse; and
answers by script, or by itself as Eliza would.
"""

from model_stand_in.dialogue import Answer, Failure, Message, Question, Reply, Tool, ToolCall
from model_stand_in.server import Asked, Brain, ModelStandIn

__all__ = ["Answer", "Asked", "Brain", "Failure", "Message", "ModelStandIn", "Question", "Reply", "Tool", "ToolCall"]
