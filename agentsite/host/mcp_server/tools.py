"""The tools of `/mcp`, as a client sees them."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from agentsite.host.agents import Agent
from agentsite.tools.base import object_schema

SESSION = {"type": "string", "minLength": 1, "description": "`sessionId` of an earlier result."}
CHAT = object_schema(
    {
        "message": {
            "type": "string",
            "description": "What to say. Left out, the newest answer of the session is awaited.",
        },
        "sessionId": {**SESSION, "description": "Go on in this session; without it a new begins."},
        "onBusy": {
            "enum": ["reject", "enqueue", "interrupt", "rollback", "steer"],
            "description": "What to do while the session still works on something else.",
        },
    },
    (),
)
ANSWER = object_schema(
    {
        "sessionId": SESSION,
        "interactionId": {
            "type": "string",
            "description": "One of `pendingInteractions`; needed when there are several.",
        },
        "answers": {"description": "The answer: a text, or one value for each question."},
        "decline": {"type": "boolean", "description": "Refuse the action, or the question."},
    },
    ("sessionId",),
)
STOP = object_schema({"sessionId": SESSION}, ("sessionId",))
NAMES: dict[str, dict[str, Any]] = {"chat": CHAT, "answer": ANSWER, "stop": STOP}


def list_tools(agent: Agent) -> list[types.Tool]:
    """All of them, by name."""
    config = agent.bundle.config
    about = f" {config.description}" if config.description else ""
    return [
        types.Tool(
            name="answer",
            title="Answer a question",
            description="Answer a question that the agent asks the user (`pendingInteractions` of "
            "kind ask_user or ask_choice), or decline an action. Approving an action is for a "
            "person: clients that can ask theirs do so by themselves.",
            input_schema=ANSWER,
            annotations=types.ToolAnnotations(destructive_hint=False, open_world_hint=True),
        ),
        types.Tool(
            name="chat",
            title=f"Talk to {config.name}",
            description=f"Say something to the agent {config.name} and get its answer.{about} "
            "To go on, pass the `sessionId` of the result.",
            input_schema=CHAT,
            annotations=types.ToolAnnotations(open_world_hint=True),
        ),
        types.Tool(
            name="stop",
            title="Stop",
            description="Stop what the agent is doing in a session. To cancel a request of `chat` "
            "does not stop the agent; this does.",
            input_schema=STOP,
            annotations=types.ToolAnnotations(idempotent_hint=True, open_world_hint=False),
        ),
    ]
