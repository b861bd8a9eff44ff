"""Tool calls as clients see them, with the work of sub-agents inside the calls that began it.

Law: events and rows meet here; both sides build with these functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Api = dict[str, Any]


def call_to_api(
    id: str, name: str, arguments: Any, running: str | None, completed: str | None, internal: bool
) -> Api:
    """A call that has no result yet."""
    return {
        "toolId": id,
        "toolName": name,
        "args": arguments,
        "parameters": arguments,
        "status": "running",
        "result": None,
        "error": None,
        "duration_ms": None,
        "running_label": running,
        "completed_label": completed,
        "internal": internal,
    }


def settle_api_call(call: Api, ok: bool, result: str, duration_ms: int) -> None:
    call["status"] = "success" if ok else "error"
    call["result"] = result
    call["error"] = None if ok else result
    call["duration_ms"] = duration_ms


def subagent_to_api(agent_id: str, name: str) -> Api:
    """A sub-agent inside the call that dispatched it; its calls may hold further ones."""
    return {"agentId": agent_id, "agentName": name, "toolCalls": []}


def fold_subagent(calls: list[Api], event: Api) -> None:
    """Take an event of a sub-agent (as `host.wire` words it) into the list of its calls."""
    match event.get("type"):
        case "tool_call_start":
            running, completed = event.get("running_label"), event.get("completed_label")
            internal = bool(event.get("internal"))
            calls.append(
                call_to_api(event["id"], event["name"], event["args"], running, completed, internal)
            )
        case "tool_label_update":
            for call in find_calls(calls, event["id"]):
                call["running_label"] = event.get("running_label") or call["running_label"]
                call["completed_label"] = event.get("completed_label") or call["completed_label"]
        case "tool_call_result":
            ok = event["status"] == "success"
            for call in find_calls(calls, event["id"]):
                settle_api_call(call, ok, event["result"], event["duration_ms"])
        case _:
            pass  # what it says is its result in the end


def find_calls(calls: list[Api], call_id: str) -> Iterable[Api]:
    """Calls of this id, inside sub-agents too."""
    for call in calls:
        if call["toolId"] == call_id:
            yield call
        elif "subagent" in call:
            yield from find_calls(call["subagent"]["toolCalls"], call_id)


def copy_call(call: Api) -> Api:
    """A copy that what comes later does not change."""
    if "subagent" not in call:
        return dict(call)
    shown = call["subagent"]
    return {**call, "subagent": {**shown, "toolCalls": list(map(copy_call, shown["toolCalls"]))}}
