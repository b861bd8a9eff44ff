"""What a target is told of a run: the reference's payload.

Law: pure. What a model said is data here: it is cut, parsed and filled into templates, never
followed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from agentsite.delivery.slack import escape
from agentsite.delivery.templates import render, values_of

LONGEST_RESULT = 16_384
HEAD = LONGEST_RESULT * 3 // 4
CUT = "\n\n… [truncated {left} chars] …\n\n"
FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


class Told(msgspec.Struct, frozen=True):
    """What a payload tells of a run."""

    automation: str
    at: datetime
    output: str = ""
    error: str = ""


def compose_result(told: Told, block: Mapping[str, Any], target_type: str) -> dict[str, Any]:
    """The payload of a success, for the `delivery` block of an automation."""
    result, truncated = cut(told.output)
    payload: dict[str, Any] = {
        "automation": told.automation,
        "status": "success",
        "timestamp": tell_time(told.at),
    }
    given = {"result": result, **({"truncated": True} if truncated else {})}
    if block.get("includeResult", True):
        payload |= given
    data = parse_data(told.output)
    if data is not None:
        payload["data"] = data
    template = block.get("template")
    if template is not None:
        values = values_of({**payload, **given})
        escaping = {"escape": escape} if target_type == "slack" else {}
        payload["message"] = render(template, values, told.automation, **escaping)
    return payload


def compose_alert(told: Told) -> dict[str, Any]:
    """The payload of a failure."""
    return {
        "automation": told.automation,
        "status": "failure",
        "timestamp": tell_time(told.at),
        "error": told.error,
    }


def cut(text: str) -> tuple[str, bool]:
    """The text, of a long one its beginning and its end, and whether something is missing."""
    if len(text) <= LONGEST_RESULT:
        return text, False
    note = CUT.format(left=len(text) - LONGEST_RESULT)
    return text[:HEAD] + note + text[-(LONGEST_RESULT - HEAD) :], True


def parse_data(text: str) -> dict[str, Any] | None:
    """The JSON object that the whole answer is, or that stands in its one fenced block."""
    fenced = FENCED.findall(text)
    for each in (text, *(fenced if len(fenced) == 1 else ())):
        try:
            found = msgspec.json.decode(each)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            continue
        if isinstance(found, dict):
            return found
    return None


def tell_time(at: datetime) -> str:
    """ISO 8601, UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
