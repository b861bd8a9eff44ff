"""`ask_user` and `ask_choice`: questions whose answer is the call's result.

Law: these calls never run. The host opens an interaction, parks the run and gives
the answer back as the result.
"""

from __future__ import annotations

from typing import Any

from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema

OPTION = object_schema(
    {
        "label": {"type": "string", "minLength": 1},
        "value": {"type": "string"},
        "description": {"type": "string"},
    },
    ["label"],
)
QUESTION = object_schema(
    {
        "question": {"type": "string", "minLength": 1},
        "header": {"type": "string", "description": "One or two words above the question."},
        "type": {"enum": ["choice", "text", "yesno"]},
        "options": {"type": "array", "items": OPTION, "minItems": 2},
        "multiSelect": {"type": "boolean"},
        "placeholder": {"type": "string"},
    },
    ["question", "type"],
)


async def refuse_to_run(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    raise ToolError("A question is answered by a person; it does not run.")


ASK_USER = Tool(
    name="ask_user",
    description="Ask the user up to four questions and wait for the answers. Only for what you "
    "cannot find out yourself and what changes what you do next.",
    parameters=object_schema(
        {"questions": {"type": "array", "items": QUESTION, "minItems": 1, "maxItems": 4}},
        ["questions"],
    ),
    call=refuse_to_run,
    question="ask_user",
)
ASK_CHOICE = Tool(
    name="ask_choice",
    description="Let the user choose among options, and wait for the choice.",
    parameters=object_schema(
        {
            "question": {"type": "string", "minLength": 1},
            "options": {"type": "array", "items": OPTION, "minItems": 2, "maxItems": 12},
            "multi": {"type": "boolean", "description": "More than one may be chosen."},
        },
        ["question", "options"],
    ),
    call=refuse_to_run,
    question="ask_choice",
)
