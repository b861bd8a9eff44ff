"""From the values of the protocol to those of ours: what results hold.

Law: a result is data. Pictures stay pictures, structured content is told once, and what a model
cannot take is named, not dropped.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any

import mcp_types as types

Block = str | bytes
"""Text, or the bytes of a picture."""


def read_result(result: types.CallToolResult) -> list[Block]:
    """What a tool gave back, in order."""
    blocks = [block for content in result.content for block in _read_content(content)]
    if result.structured_content is not None and not _is_told(result):
        blocks.append(json.dumps(result.structured_content, ensure_ascii=False))
    return blocks


def _is_told(result: types.CallToolResult) -> bool:
    """Whether the structured content stands among the texts as well, as servers should do."""
    told = result.structured_content
    for content in result.content:
        if not isinstance(content, types.TextContent):
            continue
        if told == {"result": content.text}:  # how servers in Python wrap a plain text
            return True
        try:
            said = json.loads(content.text)
        except (ValueError, RecursionError):
            continue
        if said == told or told == {"result": said}:
            return True
    return False


def _read_content(content: types.ContentBlock) -> list[Block]:
    match content:
        case types.TextContent():
            return [content.text]
        case types.ImageContent():
            return [_decode(content.data) or f"[image not readable: {content.mime_type}]"]
        case types.AudioContent():
            return [f"[audio, {content.mime_type}: it cannot be shown here]"]
        case types.EmbeddedResource():
            return read_resource([content.resource])
        case types.ResourceLink():
            about = f": {content.description}" if content.description else ""
            return [f"[resource {content.uri} ({content.name}){about}]"]


def read_resource(
    contents: Iterable[types.TextResourceContents | types.BlobResourceContents],
) -> list[Block]:
    """What a resource holds."""
    found: list[Block] = []
    for each in contents:
        kind = each.mime_type or "no type"
        match each:
            case types.TextResourceContents():
                found += [f"[resource {each.uri}, {kind}]", each.text]
            case types.BlobResourceContents():
                raw = _decode(each.blob) if kind.startswith("image/") else None
                size = len(each.blob) * 3 // 4
                found += [raw or f"[resource {each.uri}, {kind}, {size} bytes: not text]"]
    return found


def read_prompt(result: types.GetPromptResult) -> list[Block]:
    """What a prompt says, message by message."""
    found: list[Block] = [result.description] if result.description else []
    for message in result.messages:
        found += [f"[{message.role}]", *_read_content(message.content)]
    return found


def describe_resources(
    resources: Sequence[types.Resource], templates: Sequence[types.ResourceTemplate]
) -> dict[str, Any]:
    """The lists as a model reads them."""
    return {
        "resources": [
            _some(uri=str(each.uri), name=each.name, about=each.description, type=each.mime_type)
            for each in resources
        ],
        "patterns": [
            _some(uri=each.uri_template, name=each.name, about=each.description)
            for each in templates
        ],
    }


def describe_prompts(prompts: Sequence[types.Prompt]) -> dict[str, Any]:
    """The list as a model reads it."""
    return {
        "prompts": [
            _some(
                name=each.name,
                about=each.description,
                arguments=[
                    _some(name=one.name, about=one.description, required=one.required)
                    for one in each.arguments or ()
                ],
            )
            for each in prompts
        ]
    }


def _some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [])}


def _decode(data: str) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True) or None
    except (binascii.Error, ValueError):
        return None
