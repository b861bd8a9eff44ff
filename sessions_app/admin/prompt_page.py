"""A request to a model as it was sent, for people.

Law: read from what was recorded when it was sent; nothing is put together anew.
"""

from __future__ import annotations

import json
from typing import Any

from agentsite.engine.messages import (
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from sessions_app.admin.formats import to_text
from sessions_app.models import ModelCall
from sessions_app.prompts import ShownPrompt, read_prompt

MARKING = "anthropic"
"""The vendor that is told where to cache; the others find repeated beginnings themselves."""


def show_prompt(call: ModelCall) -> dict[str, Any]:
    """What the template needs; without `parts` when the request is not kept."""
    sent = read_prompt(call.prompt_id) if call.prompt_id else None
    if sent is None:
        return {"why": WHY_NOT.get(call.purpose, WHY_NOT[""])}
    marked = call.provider == MARKING
    marks = sent.marks if marked else frozenset()
    return {
        "parts": [
            {
                "title": "System prompt",
                "text": sent.system or "(none)",
                "mark": marked and sent.system,
            },
            {
                "title": f"{len(sent.tools)} tools",
                "text": _show_tools(sent),
                "mark": marked and sent.tools,
            },
            *(
                {"title": message.role, "text": _show(message), "mark": at in marks}
                for at, message in enumerate(sent.messages)
            ),
        ],
        "marked": marked,
    }


WHY_NOT = {
    "title": "The request for a title is not kept: it is the beginning of the conversation.",
    "compaction": "The request for a summary is not kept: it is the conversation up to there.",
    "": "It is not kept: its session has expired or was deleted, or it is older than this record.",
}


def _show_tools(sent: ShownPrompt) -> str:
    return "\n\n".join(
        f"{tool.name}\n{tool.description}\n{json.dumps(tool.parameters, ensure_ascii=False)}"
        for tool in sent.tools
    )


def _show(message: Message) -> str:
    return "\n\n".join(_show_part(part) for part in message.parts)


def _show_part(part: Any) -> str:
    match part:
        case TextPart(text):
            return str(text)
        case ThinkingPart(text=text):
            return f"[thinking] {text}"
        case ToolCallPart(id=call_id, name=name, arguments=arguments):
            return f"[call {call_id}] {name} {to_text(arguments)}"
        case ToolResultPart(call_id=call_id, status=status, content=content):
            inside = "\n".join(_show_part(each) for each in content)
            return f"[result of {call_id}: {status}] {inside}"
        case ImagePart():
            return f"[image {part.attachment or part.url or part.media_type}]"
        case _:
            return to_text(str(part))
