"""Every tool of an agent, called in a stranger's run with the owner's ids and with unknown ones."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from agentsite.manifest.loader import load
from agentsite.tools.toolset import build_toolset
from tests.isolation.probes import ATTEMPTS, Stranger, find_canary
from tests.isolation.world import AGENT, Ids, World, blank
from tests.lab import call, plan, task
from tests.server import Frame
from tests.servers import Server

WITHOUT_ROWS = frozenset(
    {"activate_skill", "ask_choice", "ask_user", "load_knowledge", "present", "read_skill_file"}
    | {"stop_execution", "shell_exec", "read_repo_file", "write_repo_file", "edit_repo_file"}
    | {
        "read_many_repo_files",
        "delete_repo_file",
        "list_repo_files",
        "glob_repo_files",
        "grep_repo_files",
    }
)
"""Tools that look at nothing which a tenant has written."""
ROWS = ("stores_app_", "memory_app_", "operations_", "agentsite_search_sessions")
"""What the statements of tools are about; runs have others, whose number is a matter of luck."""
QUERY = {"store": "notes", "key": "{key}"}
ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "store_notes": (
        {"title": "{key}", "text": "mine", "about": "{key}x"},
        {"title": "{key}", "text": "mine", "ifVersion": 1},
    ),
    "store_notes_batch": ({"items": [{"title": "{key}", "text": "m", "about": "{key}x"}]},),
    "query_store": (QUERY, {"store": "notes", "search": "{word}"}),
    "query_store_history": (QUERY,),
    "delete_from_store": (QUERY,),
    "memory": (
        {"action": "list"},
        {"action": "search", "query": "{word}"},
        {"action": "remove", "entry_id": "{entry}"},
    ),
    "search_sessions": ({"query": "{word}"},),
    "read_tool_result": ({"call_id": "{call}"},),
    "propose_knowledge": ({"title": "{word}", "reasoning": "r", "content": "c"},),
    "dispatch": ({"task": "query"},),
    "dispatch_task": ({"task": "query"},),
}


def offered(world: World) -> list[str]:
    """The names of all tools that the agent has."""
    env = {"LAB_URL": "http://127.0.0.1", "LAB_OPENAI_URL": "http://127.0.0.1"}
    keys = {"ANTHROPIC_API_KEY": "x", "OPENAI_API_KEY": "x"}
    bundle = load(world.folder / "agents" / AGENT, {**env, **keys})
    return sorted(build_toolset(bundle, admin=True))


def probe_tools(world: World, server: Server) -> Iterator[str]:
    """Results, frames and numbers of statements of every tool."""
    stranger = Stranger(world, server, f"stranger-{uuid.uuid4().hex}")
    for name in offered(world):
        if name not in WITHOUT_ROWS and name not in ARGUMENTS:
            yield f"{name}: no recipe for its arguments"
        for arguments in ARGUMENTS.get(name, ()):
            yield from _compare(stranger, name, arguments)


def _compare(stranger: Stranger, name: str, arguments: dict[str, Any]) -> Iterator[str]:
    where = f"{name} {arguments}"
    told: list[tuple[list[tuple[str, str]], int]] = []
    for _ in range(ATTEMPTS):
        told = []
        for ids in (stranger.unknown, stranger.foreign):
            since = stranger.world.statements.mark()
            frames = stranger.client.say(_make_plan(name, arguments, ids), sessionId=ids["own"])
            yield from find_canary(where, b"".join(frame.raw for frame in frames))
            sent = stranger.world.statements.of_scope(stranger.client.scope, since)
            counted = sum(any(word in each for word in ROWS) for each in sent)
            told.append((_results(frames, stranger), counted))
        if told[0][1] == told[1][1]:
            break
    if not told[0][0]:
        yield f"{where}: it was not called"
    if told[0] != told[1]:
        yield f"{where}: unknown {told[0]}, foreign {told[1]}"


def _make_plan(name: str, arguments: dict[str, Any], ids: Ids) -> str:
    given = _fill(arguments, ids)
    if name.startswith("dispatch"):
        inner = [call("query_store", **_fill(QUERY, ids))]
        given = {"task": task({"tools": inner}, {"text": "Carried."}), "agent_name": "porter"}
    return plan({"tools": [call(name, **given)]}, {"text": "Done."})


def _fill(arguments: dict[str, Any], ids: Ids) -> dict[str, Any]:
    text = json.dumps(arguments)
    for name, value in ids.items():
        text = text.replace(f"{{{name}}}", value)
    filled: dict[str, Any] = json.loads(text)
    return filled


def _results(frames: list[Frame], stranger: Stranger) -> list[tuple[str, str]]:
    ended = [frame.data for frame in frames if frame.event == "tool_call_result"]
    return [
        (
            str(data["status"]),
            blank(json.dumps(data["result"]).encode(), stranger.foreign, stranger.unknown),
        )
        for data in ended
    ]
