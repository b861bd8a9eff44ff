"""What Anthropic's Messages API refuses about a request body."""

from __future__ import annotations

import re
from typing import Any

from agentsite.fakemodel.frames import listed

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_USER_BLOCKS = ("text", "image", "tool_result")
_ASSISTANT_BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use")
_MAX_BREAKPOINTS = 4


def check_anthropic(body: dict[str, Any]) -> list[str]:
    """Return the problems of a `POST /v1/messages` body; empty means it would be accepted."""
    problems: list[str] = []
    messages = listed(body.get("messages"))
    limit = body.get("max_tokens")
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append("model: field required")
    if not isinstance(limit, int) or limit < 1:
        problems.append("max_tokens: must be an integer of at least 1")
    if not messages:
        return [*problems, "messages: at least one message is required"]
    thinking = check_thinking(body, limit, problems)
    check_tools(body, messages, problems)
    check_breakpoints(body, messages, problems)
    check_order(messages, problems)
    for at, message in enumerate(messages):
        for block in blocks_of(message):
            check_block(f"messages.{at}", message.get("role"), block, problems)
    check_pairs(messages, problems)
    if thinking:
        check_loop_starts_with_thinking(messages, problems)
    return problems


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return listed(content)


def of_type(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [block for block in blocks_of(message) if block.get("type") == kind]


def check_order(messages: list[dict[str, Any]], problems: list[str]) -> None:
    if messages[0].get("role") != "user":
        problems.append("messages.0: the first message must use the user role")
    last = None
    for at, message in enumerate(messages):
        role = message.get("role")
        if role not in ("user", "assistant"):
            problems.append(f"messages.{at}: role must be user or assistant, not {role!r}")
        if role == last:
            problems.append(f"messages.{at}: roles must alternate between user and assistant")
        last = role
        blocks = blocks_of(message)
        if not blocks:
            problems.append(f"messages.{at}: content must not be empty")
        elif role == "assistant" and blocks[-1].get("type") in ("thinking", "redacted_thinking"):
            problems.append(f"messages.{at}: the final block of an assistant message is thinking")


def check_block(where: str, role: Any, block: dict[str, Any], problems: list[str]) -> None:
    kind = block.get("type")
    if kind not in (_ASSISTANT_BLOCKS if role == "assistant" else _USER_BLOCKS):
        problems.append(f"{where}: a {role} message cannot hold a {kind!r} block")
    elif kind == "text" and not str(block.get("text", "")).strip():
        problems.append(f"{where}: text content blocks must contain non-whitespace text")
    elif kind == "thinking" and not block.get("signature"):
        problems.append(f"{where}: thinking.signature: field required")
    elif kind == "image":
        check_image(where, block.get("source"), problems)
    elif kind == "tool_use":
        check_tool_use(where, block, problems)
    elif kind == "tool_result":
        for inner in listed(block.get("content")):
            check_block(f"{where}.tool_result", "user", inner, problems)


def check_tool_use(where: str, block: dict[str, Any], problems: list[str]) -> None:
    if not _ID.fullmatch(str(block.get("id", ""))):
        problems.append(f"{where}: tool_use.id must match ^[a-zA-Z0-9_-]+$")
    if not _NAME.fullmatch(str(block.get("name", ""))):
        problems.append(f"{where}: tool_use.name must match ^[a-zA-Z0-9_-]{{1,128}}$")
    if not isinstance(block.get("input"), dict):
        problems.append(f"{where}: tool_use.input must be an object")


def check_image(where: str, source: Any, problems: list[str]) -> None:
    if not isinstance(source, dict) or source.get("type") not in ("base64", "url"):
        problems.append(f"{where}: image.source must be base64 or url")
    elif source["type"] == "base64" and source.get("media_type") not in _IMAGES:
        problems.append(f"{where}: image.source.media_type must be one of {', '.join(_IMAGES)}")


def check_pairs(messages: list[dict[str, Any]], problems: list[str]) -> None:
    """Each tool_use has its one result directly after it, and no result stands alone."""
    seen: set[str] = set()
    for at, message in enumerate(messages):
        asked = [str(block.get("id")) for block in of_type(message, "tool_use")]
        for name in asked:
            if name in seen or asked.count(name) > 1:
                problems.append(f"messages.{at}: tool_use ids must be unique: {name}")
            seen.add(name)
        following = messages[at + 1] if at + 1 < len(messages) else {}
        answered = [str(block.get("tool_use_id")) for block in of_type(following, "tool_result")]
        for name in asked:
            if answered.count(name) != 1:
                problems.append(
                    f"messages.{at}: tool_use without its one tool_result after it: {name}"
                )
        problems.extend(
            f"messages.{at + 1}: tool_result without a tool_use before it: {name}"
            for name in answered
            if name not in asked
        )
        kinds = [block.get("type") for block in blocks_of(following)]
        if asked and "tool_result" in kinds[len(asked) :]:
            problems.append(f"messages.{at + 1}: tool_result blocks must come first")
    if of_type(messages[0], "tool_result"):
        problems.append("messages.0: tool_result without a tool_use before it")


def check_thinking(body: dict[str, Any], limit: Any, problems: list[str]) -> bool:
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") not in ("enabled", "adaptive"):
        return False
    budget = thinking.get("budget_tokens")
    if thinking["type"] == "enabled" and (not isinstance(budget, int) or budget < 1024):
        problems.append("thinking.budget_tokens: must be at least 1024")
    elif isinstance(budget, int) and isinstance(limit, int) and budget >= limit:
        problems.append("max_tokens: must be greater than thinking.budget_tokens")
    if body.get("temperature") not in (None, 1, 1.0):
        problems.append("temperature: may only be 1 when thinking is enabled")
    return True


def check_loop_starts_with_thinking(messages: list[dict[str, Any]], problems: list[str]) -> None:
    """With thinking on, an open tool loop must have begun with thinking: it is one turn."""
    if not of_type(messages[-1], "tool_result"):
        return
    start = 0
    for at, message in enumerate(messages):
        if message.get("role") == "user" and not of_type(message, "tool_result"):
            start = at
    first = blocks_of(messages[start + 1])[:1] if start + 1 < len(messages) else []
    if first and first[0].get("type") not in ("thinking", "redacted_thinking"):
        problems.append("messages: expected thinking before tool_use when thinking is enabled")


def check_tools(body: dict[str, Any], messages: list[dict[str, Any]], problems: list[str]) -> None:
    tools = listed(body.get("tools"))
    names = [str(tool.get("name", "")) for tool in tools]
    if len(set(names)) != len(names):
        problems.append("tools: tool names must be unique")
    for tool, name in zip(tools, names, strict=True):
        schema = tool.get("input_schema")
        if not _NAME.fullmatch(name):
            problems.append(f"tools: name {name!r} must match ^[a-zA-Z0-9_-]{{1,128}}$")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            problems.append(f"tools: input_schema of {name!r} must be of type object")
    used = any(of_type(m, "tool_use") or of_type(m, "tool_result") for m in messages)
    if used and not tools:
        problems.append("tools: must be defined when messages hold tool_use or tool_result blocks")


def check_breakpoints(
    body: dict[str, Any], messages: list[dict[str, Any]], problems: list[str]
) -> None:
    blocks = [*listed(body.get("system")), *listed(body.get("tools"))]
    blocks += [block for message in messages for block in blocks_of(message)]
    marked = [block for block in blocks if "cache_control" in block]
    if len(marked) > _MAX_BREAKPOINTS:
        problems.append(f"cache_control: at most {_MAX_BREAKPOINTS} blocks, found {len(marked)}")
    if any(block.get("type") in ("thinking", "redacted_thinking") for block in marked):
        problems.append("cache_control: cannot be set on thinking blocks")
    if any(block.get("text") == "" for block in marked):
        problems.append("cache_control: cannot be set on empty text blocks")
