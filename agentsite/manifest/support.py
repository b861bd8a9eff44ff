"""The one table of what is parsed and validated, but has no behaviour yet.

Law: nothing accepted is silently ignored. An issue that brings a behaviour deletes
its row here, and nothing else in the manifest changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentsite.manifest.packages import REFUSED_FOLDERS
from agentsite.manifest.reader import Reader
from agentsite.manifest.stores import StoreSpec
from agentsite.manifest.tools import ToolFolder

UNSUPPORTED: frozenset[str] = frozenset(
    {
        # keys of amodal.json
        "agent.maxRunCost",
        "agent.permissions",
        "budgets",
        "disabledSubagents",
        "fileTools",
        "mcp",
        "models.embedding",
        "proactive",
        "sandbox",
        "scope",
        "webTools",
        # folders
        "automations/",
        "channels/",
        "connections/",
        "evals/",
        "intents/",
        "pages/",
        "agents/<name>/",
        # what stores may be
        "store.embed",
        # what tools may be
        "tool.executable",
        "tool.http",
        "tool.chain",
        "tool.sandbox",
    }
)


def refuse_keys(reader: Reader, data: Mapping[str, Any], unsupported: Iterable[str]) -> None:
    """Refuse keys of amodal.json, given as dotted paths, that have no behaviour yet."""
    for name in sorted(unsupported):
        if name.endswith("/") or name.startswith(("tool.", "store.")):
            continue
        path = tuple(name.split("."))
        value: Any = data
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            refuse(reader, "amodal.json", f'"{name}"', *path)


def refuse_folders(reader: Reader, unsupported: Iterable[str]) -> None:
    """Refuse the content of folders that have no behaviour yet."""
    rows = set(unsupported)
    for name in sorted(rows):
        if not name.endswith("/"):
            continue
        folder = name.split("/")[0]
        for entry in reader.entries(folder):
            if "<" not in name or entry.path.is_dir():
                refuse(reader, entry.file, f'"{folder}/"')
    for folder in REFUSED_FOLDERS:
        if f"{folder}/" not in rows and reader.entries(folder):
            raise AssertionError(f"{folder}/ has no parser, so its row must stay")


def refuse_tools(reader: Reader, tools: Iterable[ToolFolder], unsupported: Iterable[str]) -> None:
    """Refuse tools that need a behaviour which does not exist yet."""
    rows = set(unsupported)
    for tool in tools:
        for row, path in features(tool):
            if row in rows:
                refuse(reader, f"tools/{tool.name}/tool.json", f'"{row}"', *path)


def refuse_stores(reader: Reader, stores: Iterable[StoreSpec], unsupported: Iterable[str]) -> None:
    """Refuse stores that need a behaviour which does not exist yet."""
    for store in stores:
        if store.embed and "store.embed" in set(unsupported):
            refuse(reader, f"stores/{store.name}.json", '"store.embed"', "embed")


def features(tool: ToolFolder) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the rows a tool falls under, with the key that says so."""
    if tool.kind != "python":
        yield f"tool.{tool.kind}", () if tool.kind == "executable" else ("type",)
    if tool.manifest.sandbox is not None:
        yield "tool.sandbox", ("sandbox",)


def refuse(reader: Reader, file: str, what: str, *path: str) -> None:
    reader.report(file, f"{what} is not supported yet by this version; take it out", *path)
