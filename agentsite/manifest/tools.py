"""`tools/<snake_name>/`: a tool of the agent's own, described by tool.json."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentsite.manifest.handlers import find_fault
from agentsite.manifest.reader import IGNORED, Entry, Reader
from agentsite.manifest.tool_schema import Confirm, ResponseShaping, ToolManifest

SNAKE = re.compile(r"[a-z][a-z0-9_]{0,63}")
Kind = Literal["python", "executable", "http", "chain"]
BUILT_IN = frozenset(
    (
        "activate_skill",
        "ask_choice",
        "ask_user",
        "delete_from_store",
        "dispatch",
        "write_repo_file",
        "read_repo_file",
        "read_many_repo_files",
        "list_repo_files",
        "grep_repo_files",
        "glob_repo_files",
        "edit_repo_file",
        "delete_repo_file",
        "dispatch_task",
        "fetch_url",
        "load_knowledge",
        "memory",
        "present",
        "propose_knowledge",
        "query_store",
        "query_store_history",
        "read_skill_file",
        "read_tool_result",
        "request",
        "search_sessions",
        "shell_exec",
        "stop_execution",
        "web_search",
    )
)
"""Names of tools of ours, present and to come."""


@dataclass(frozen=True)
class ToolFolder:
    """A custom tool, ready to be run."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of type object."""
    kind: Kind
    handler: Path | None
    """handler.py or an executable; None for `http` and `chain`."""
    confirm: Confirm
    read_only: bool
    idempotent: bool
    exclusive: bool
    timeout_ms: int | None
    """None takes the agent's `toolTimeout`."""
    env: tuple[str, ...]
    """Names that `ctx.env` may read; values are in `Bundle.tool_env`."""
    response_shaping: ResponseShaping | None
    running_label: str | None
    completed_label: str | None
    internal: bool
    manifest: ToolManifest
    """The file as it stands, with the calls of `http` and `chain` tools."""


def read_tools(reader: Reader) -> tuple[ToolFolder, ...]:
    """Read all tools; every defect becomes a problem."""
    read = (read_tool(reader, entry) for entry in reader.entries("tools"))
    return tuple(tool for tool in read if tool is not None)


def read_tool(reader: Reader, entry: Entry) -> ToolFolder | None:
    path = entry.path / "tool.json"
    if not path.is_file():
        reader.report(entry.file, "a tool is a folder with a tool.json in it")
        return None
    if not SNAKE.fullmatch(entry.name):
        reader.report(entry.file, "a tool's folder name is in snake_case, at most 64 characters")
    if entry.name in BUILT_IN:
        reader.report(entry.file, f'"{entry.name}" is a built-in tool; choose another name')
    manifest = reader.read_model(path, ToolManifest)
    handler = find_handler(reader, entry)
    if manifest is None:
        return None
    file = reader.show(path)
    if manifest.name is not None and manifest.name != entry.name:
        reader.report(file, f'must be "{entry.name}", like the folder', "name")
    kind = check_kind(reader, entry, file, manifest, handler)
    if kind is None:
        return None
    if manifest.sandbox is not None and kind != "python":
        reader.report(
            file, "has an effect on handler.py only; executables always run there", "sandbox"
        )
    if kind == "python" and handler is not None:
        source = reader.read_text(handler)
        if source is not None and (fault := find_fault(source)):
            reader.report(reader.show(handler), fault.message, code=fault.code)
    read_siblings(reader, entry.path)
    return ToolFolder(
        name=entry.name,
        description=manifest.description,
        parameters=manifest.parameters,
        kind=kind,
        handler=handler,
        confirm=manifest.confirm,
        read_only=manifest.read_only,
        idempotent=manifest.idempotent,
        exclusive=manifest.exclusive,
        timeout_ms=manifest.timeout,
        env=manifest.env,
        response_shaping=manifest.response_shaping,
        running_label=manifest.running_label,
        completed_label=manifest.completed_label,
        internal=manifest.internal,
        manifest=manifest,
    )


def read_siblings(reader: Reader, folder: Path) -> None:
    """Take what a handler may import or read into the content hash."""
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in IGNORED for part in inner)
        if path.is_file() and not hidden:
            reader.read_bytes(path)


def find_handler(reader: Reader, entry: Entry) -> Path | None:
    """Return the one handler of a tool, or None; several are a problem."""
    inside = [p for p in reader.list_folder(entry.path) if p.is_file() and p.stem == "handler"]
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside)
        reader.report(entry.file, f"has several handlers: {names}")
    return inside[0] if inside else None


def check_kind(
    reader: Reader, entry: Entry, file: str, manifest: ToolManifest, handler: Path | None
) -> Kind | None:
    """Say how a tool is run; None, with a problem, when that cannot be told."""
    for key, message in manifest.find_faults():
        reader.report(file, message, key)
    if manifest.type is not None:
        if handler is not None:
            reader.report(reader.show(handler), f'has no effect with "type": "{manifest.type}"')
        return manifest.type
    if handler is None:
        reader.report(entry.file, "has no handler: handler.py, an executable, or a type")
        return None
    if handler.suffix == ".py":
        return "python"
    if not os.access(handler, os.X_OK):
        message = "is not executable; make it so (chmod +x), or write handler.py"
        reader.report(reader.show(handler), message)
    return "executable"
