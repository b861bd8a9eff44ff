"""Questions of a run as forms that an MCP client puts before its person, and what comes back.

Law: an approval is the person's own word in the form (`decision: approve`), never a form that was
merely sent off. The whole of what would be done stands in the form.
"""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types

from sessions_app.interactions import Answer

Property = dict[str, Any]


def make_form(question: dict[str, Any]) -> types.ElicitRequest:
    """The form of one of `pendingInteractions`."""
    match question["kind"]:
        case "confirmation":
            told = json.dumps(question["details"], ensure_ascii=False, indent=1)
            text = f"The agent wants to do this: {question['action']}\n{told}"
            fields = {"decision": {"type": "string", "enum": ["approve", "deny"]}}
        case "ask_choice":
            text = question["question"]
            fields = {"answer": _choice(question["options"], question["multi"])}
        case _:
            asked = question["questions"]
            text = "\n".join(each["question"] for each in asked)
            fields = {f"q{place}": _field(each) for place, each in enumerate(asked, 1)}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=text, requested_schema=schema)
    )


def _field(question: dict[str, Any]) -> Property:
    title = {"title": question["question"]}
    match question["type"]:
        case "choice" if question.get("options"):
            return {**title, **_choice(question["options"], question.get("multiSelect", False))}
        case "yesno":
            return {**title, "type": "boolean"}
        case _:
            return {**title, "type": "string"}


def _choice(options: list[dict[str, Any]], multi: bool) -> Property:
    one = {"type": "string", "enum": [each.get("value", each["label"]) for each in options]}
    return {"type": "array", "items": one} if multi else one


def read_form(question: dict[str, Any], form: types.ElicitResult) -> Answer | None:
    """The answer that a form holds; None for one that the person has closed."""
    if form.action == "cancel":
        return None
    said = form.content or {}
    if form.action == "decline":
        return Answer(approved=False)
    if question["kind"] == "confirmation":
        return Answer(approved=said.get("decision") == "approve")
    if question["kind"] == "ask_choice":
        return Answer(approved=True, answers=said.get("answer", ""))
    asked = question["questions"]
    answers = {each["question"]: said.get(f"q{n}") for n, each in enumerate(asked, 1)}
    return Answer(approved=True, answers=answers)
