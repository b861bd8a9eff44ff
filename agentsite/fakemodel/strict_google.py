"""What Google's generateContent refuses about a request body."""

from __future__ import annotations

import re
from typing import Any

from agentsite.fakemodel.frames import listed

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_SIGNED_MODELS = re.compile(r"gemini-(?:[3-9]|\d\d)")


def check_google(body: dict[str, Any]) -> list[str]:
    """Return the problems of a generateContent body; empty means accepted.

    The model's name is in the address, so the server adds it to the body as `model`.
    """
    problems: list[str] = []
    contents = listed(body.get("contents"))
    if not contents:
        return ["contents: must not be empty"]
    check_declarations(body, problems)
    if contents[0].get("role") != "user":
        problems.append("contents.0: must be of role user")
    last = None
    for at, content in enumerate(contents):
        role = content.get("role")
        if role not in ("user", "model"):
            problems.append(f"contents.{at}: use a valid role: user, model")
        if role == last:
            problems.append(f"contents.{at}: turns of user and model must alternate")
        last = role
        check_parts(f"contents.{at}", role, content, problems)
    check_pairs(contents, problems)
    if _SIGNED_MODELS.search(str(body.get("model", ""))):
        check_signatures(contents, problems)
    return problems


def check_parts(where: str, role: Any, content: dict[str, Any], problems: list[str]) -> None:
    parts = listed(content.get("parts"))
    if not parts:
        problems.append(f"{where}: parts must not be empty")
    for part in parts:
        kinds = [kind for kind in _DATA if kind in part]
        if len(kinds) != 1:
            problems.append(f"{where}: a part must hold exactly one kind of data, has {kinds}")
        elif part.get("text") == "" and "thoughtSignature" not in part:
            problems.append(f"{where}: must have a text parameter that is not empty")
        elif kinds == ["functionCall"] and role != "model":
            problems.append(f"{where}: functionCall belongs to role model")
        elif kinds == ["functionResponse"] and role != "user":
            problems.append(f"{where}: functionResponse belongs to role user")


def check_declarations(body: dict[str, Any], problems: list[str]) -> None:
    names: list[str] = []
    for tool in listed(body.get("tools")):
        for declaration in listed(tool.get("functionDeclarations")):
            names.append(str(declaration.get("name", "")))
    problems.extend(f"tools: invalid function name {n!r}" for n in names if not _NAME.fullmatch(n))
    if len(set(names)) != len(names):
        problems.append("tools: duplicate function declaration")


def picked(content: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [part[kind] for part in listed(content.get("parts")) if isinstance(part.get(kind), dict)]


def check_pairs(contents: list[dict[str, Any]], problems: list[str]) -> None:
    """A turn of calls is followed by a turn with as many responses, name by name."""
    seen: set[str] = set()
    before: list[dict[str, Any]] = []
    for at, content in enumerate(contents):
        calls = picked(content, "functionCall")
        answers = picked(content, "functionResponse")
        if len(answers) != len(before):
            problems.append(
                f"contents.{at}: function response parts must equal the function call parts "
                f"before them: {len(answers)} for {len(before)}"
            )
        for call, answer in zip(before, answers, strict=False):
            if call.get("name") != answer.get("name") or call.get("id") != answer.get("id"):
                problems.append(f"contents.{at}: response does not match call {call.get('name')!r}")
            if not isinstance(answer.get("response"), dict):
                problems.append(f"contents.{at}: functionResponse.response must be an object")
        for call in calls:
            check_call(f"contents.{at}", call, seen, problems)
        before = calls
    if before:
        problems.append("contents: the last function calls have no responses")


def check_call(where: str, call: dict[str, Any], seen: set[str], problems: list[str]) -> None:
    if not isinstance(call.get("args", {}), dict):
        problems.append(f"{where}: functionCall.args must be an object")
    if not _NAME.fullmatch(str(call.get("name", ""))):
        problems.append(f"{where}: functionCall.name is not valid")
    if "id" in call:
        if call["id"] in seen:
            problems.append(f"{where}: duplicate function call id {call['id']}")
        seen.add(call["id"])


def check_signatures(contents: list[dict[str, Any]], problems: list[str]) -> None:
    """In the current turn the first call of every step carries its thought signature."""
    start = 0
    for at, content in enumerate(contents):
        if content.get("role") == "user" and not picked(content, "functionResponse"):
            start = at
    for at, content in enumerate(contents[start:], start):
        calls = [part for part in listed(content.get("parts")) if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            problems.append(f"contents.{at}: function call is missing a thought_signature")
