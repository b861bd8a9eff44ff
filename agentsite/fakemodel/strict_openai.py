"""What OpenAI's Chat Completions and Responses APIs refuse about a request body."""

from __future__ import annotations

import re
from typing import Any

from agentsite.fakemodel.frames import listed

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = ("system", "developer", "user", "assistant", "tool")
_CHAT_ID_LENGTH = 40
_CALL_ID_LENGTH = 64


def check_openai_chat(body: dict[str, Any]) -> list[str]:
    """Return the problems of a `POST /v1/chat/completions` body; empty means accepted."""
    problems: list[str] = []
    messages = listed(body.get("messages"))
    check_head(body, problems)
    if not messages:
        return [*problems, "messages: must not be empty"]
    for tool in listed(body.get("tools")):
        function = tool.get("function")
        check_function(function if isinstance(function, dict) else {}, problems)
    for at, message in enumerate(messages):
        check_chat_message(f"messages.{at}", message, problems)
    check_chat_pairs(messages, problems)
    return problems


def check_head(body: dict[str, Any], problems: list[str]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append("model: you must provide a model parameter")


def check_function(function: dict[str, Any], problems: list[str]) -> None:
    name = str(function.get("name", ""))
    if not _NAME.fullmatch(name):
        problems.append(f"tools: function name {name!r} must match ^[a-zA-Z0-9_-]{{1,64}}$")
    if not isinstance(function.get("parameters", {}), dict):
        problems.append(f"tools: parameters of {name!r} must be an object")


def check_chat_message(where: str, message: dict[str, Any], problems: list[str]) -> None:
    role, content = message.get("role"), message.get("content")
    calls = message.get("tool_calls")
    if role not in _ROLES:
        problems.append(f"{where}: unknown role {role!r}")
    if calls is not None and (role != "assistant" or not listed(calls)):
        problems.append(f"{where}: tool_calls must be a non-empty list of an assistant message")
    if not content and not (role == "assistant" and calls) and role != "tool":
        problems.append(f"{where}: content must not be empty")
    for part in listed(content):
        check_chat_part(where, role, part, problems)
    for call in listed(calls):
        function = call.get("function")
        if call.get("type") != "function" or not isinstance(function, dict):
            problems.append(f"{where}: tool_calls need type function and a function")
            continue
        if not isinstance(function.get("arguments"), str):
            problems.append(f"{where}: function.arguments must be a string")
        if not _NAME.fullmatch(str(function.get("name", ""))):
            problems.append(f"{where}: function.name is not valid")


def check_chat_part(where: str, role: Any, part: dict[str, Any], problems: list[str]) -> None:
    kind = part.get("type")
    if kind == "text":
        if not part.get("text"):
            problems.append(f"{where}: a text part must not be empty")
    elif kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else None
        if role != "user" or not isinstance(url, str):
            problems.append(f"{where}: image_url parts need a url and a user message")
    else:
        problems.append(f"{where}: unknown part {kind!r}")


def check_chat_pairs(messages: list[dict[str, Any]], problems: list[str]) -> None:
    """Directly after an assistant message with calls stand their tool messages, one each."""
    seen: set[str] = set()
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        if message.get("role") == "tool":
            name = str(message.get("tool_call_id"))
            if name not in open_calls:
                problems.append(f"messages.{at}: tool message without a preceding call: {name}")
            else:
                open_calls.remove(name)
            continue
        problems.extend(f"messages.{at}: tool_call_id without a response: {n}" for n in open_calls)
        open_calls = [str(call.get("id")) for call in listed(message.get("tool_calls"))]
        for name in open_calls:
            if name in seen or open_calls.count(name) > 1:
                problems.append(f"messages.{at}: duplicate tool call id: {name}")
            if not name or len(name) > _CHAT_ID_LENGTH:
                problems.append(f"messages.{at}: tool call id must have 1 to 40 characters: {name}")
            seen.add(name)
    problems.extend(f"messages: tool_call_id without a response: {n}" for n in open_calls)


def check_openai_responses(body: dict[str, Any]) -> list[str]:
    """Return the problems of a `POST /v1/responses` body; empty means accepted."""
    problems: list[str] = []
    check_head(body, problems)
    given = body.get("input")
    if isinstance(given, str) and given:
        return problems
    items = listed(given)
    if not items:
        return [*problems, "input: must not be empty"]
    for tool in listed(body.get("tools")):
        check_function(tool, problems)
    for at, item in enumerate(items):
        check_item(f"input.{at}", item, problems)
    check_item_pairs(items, problems)
    check_reasoning(items, body.get("store") is not False, problems)
    return problems


def check_item(where: str, item: dict[str, Any], problems: list[str]) -> None:
    kind = item.get("type", "message")
    check = _ITEM_CHECKS.get(kind)
    if check is None:
        problems.append(f"{where}: unknown item type {kind!r}")
    else:
        check(where, item, problems)


def check_message_item(where: str, item: dict[str, Any], problems: list[str]) -> None:
    wanted = "output_text" if item.get("role") == "assistant" else "input_text"
    allowed = (wanted,) if wanted == "output_text" else (wanted, "input_image")
    if not item.get("content"):
        problems.append(f"{where}: content must not be empty")
    for part in listed(item.get("content")):
        if part.get("type") not in allowed:
            problems.append(f"{where}: part {part.get('type')!r} is not one of {allowed}")
        if part.get("type") == wanted and not part.get("text"):
            problems.append(f"{where}: a text part must not be empty")


def check_call_item(where: str, item: dict[str, Any], problems: list[str]) -> None:
    if not isinstance(item.get("arguments"), str):
        problems.append(f"{where}: arguments must be a string")
    if not _NAME.fullmatch(str(item.get("name", ""))):
        problems.append(f"{where}: name is not valid")
    if not str(item.get("id", "fc_")).startswith("fc_"):
        problems.append(f"{where}: id must begin with fc_")


def check_output_item(where: str, item: dict[str, Any], problems: list[str]) -> None:
    if not isinstance(item.get("output"), str | list):
        problems.append(f"{where}: output must be a string or a list")


def check_reasoning_item(where: str, item: dict[str, Any], problems: list[str]) -> None:
    if not str(item.get("id", "")).startswith("rs_") or "summary" not in item:
        problems.append(f"{where}: reasoning needs an id that begins with rs_, and a summary")


_ITEM_CHECKS = {
    "message": check_message_item,
    "function_call": check_call_item,
    "function_call_output": check_output_item,
    "reasoning": check_reasoning_item,
}


def check_item_pairs(items: list[dict[str, Any]], problems: list[str]) -> None:
    calls = [str(i.get("call_id")) for i in items if i.get("type") == "function_call"]
    outputs = [str(i.get("call_id")) for i in items if i.get("type") == "function_call_output"]
    for name in calls:
        if calls.count(name) > 1:
            problems.append(f"input: duplicate call_id: {name}")
        if len(name) > _CALL_ID_LENGTH:
            problems.append(f"input: call_id must have at most 64 characters: {name}")
        if outputs.count(name) != 1:
            problems.append(f"input: no tool output found for function call {name}")
    seen: set[str] = set()
    for item in items:
        name = str(item.get("call_id"))
        if item.get("type") == "function_call":
            seen.add(name)
        elif item.get("type") == "function_call_output" and name not in seen:
            problems.append(f"input: no tool call found for function call output {name}")


def check_reasoning(items: list[dict[str, Any]], stored: bool, problems: list[str]) -> None:
    """Reasoning comes back with its encrypted content, directly before what it led to."""
    for at, item in enumerate(items):
        if item.get("type") != "reasoning":
            continue
        if not stored and not item.get("encrypted_content"):
            problems.append(f"input.{at}: reasoning item not found; it was not stored")
        after = items[at + 1] if at + 1 < len(items) else {}
        leads = after.get("type") in ("function_call", "reasoning")
        if not leads and after.get("role") != "assistant":
            problems.append(f"input.{at}: reasoning without its required following item")
