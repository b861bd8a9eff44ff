"""Tools over the agent's own files, offered with `fileTools`: for agents that write agents.

Law: what `RepoFiles` refuses, no tool gets at. A change is picked up as if a person had made it,
so what rules over the agent, or runs in the server, is written only when a person says yes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import regex

from agentsite.connections.caller import Caller
from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import (
    Call,
    Tool,
    ToolContext,
    ToolError,
    ToolResult,
    Wanted,
    object_schema,
)
from agentsite.tools.repo_files import RepoFiles
from agentsite.tools.threads import run_in_thread

MOST_LISTED = 1_000
MOST_MATCHES = 100
MOST_READ = 20
GREP_SECONDS = 1.0
LINE_CHARS = 500
TEXT = {"type": "string"}
PATH = {"type": "string", "minLength": 1, "description": "From the agent's folder on"}
COUNT = {"type": "integer", "minimum": 0}
GOVERNING = frozenset(("connections", "tools", "mcp", "packages", "amodal.json"))
"""Rules, credentials, addresses and code: below these names nothing the model writes counts."""
REASON = "This file says what the agent may do, or is code that it runs."
Work = Callable[[RepoFiles, dict[str, Any]], Any]


def build_file_tools(bundle: Bundle) -> list[Tool]:
    """The tools, if the agent has them."""
    given = bundle.config.file_tools
    if given is None:
        return []
    files = RepoFiles(bundle.root, given.allowed_dirs, given.blocked_files)
    return [
        Tool(
            name,
            description,
            object_schema(properties, required),
            _make_call(files, work, read_only=read_only),
            read_only=read_only,
            ask=None if read_only else _ask,
            subject="path" if "path" in properties else None,
        )
        for name, description, properties, required, work, read_only in TOOLS
    ]


def governs(path: str) -> bool:
    """Whether a file is, or lies below, what says what the agent may do."""
    return any(step.casefold() in GOVERNING for step in path.split("/"))


def _ask(_caller: Caller, arguments: dict[str, Any]) -> Wanted | None:
    return Wanted(REASON) if governs(str(arguments.get("path"))) else None


def _make_call(files: RepoFiles, work: Work, *, read_only: bool) -> Call:
    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        if not (read_only or context.approved) and governs(arguments["path"]):
            raise ToolError(f"{arguments['path']} is written only with the approval of a person.")
        try:
            told = await run_in_thread(lambda: work(files, arguments), "files")
        except OSError as error:
            raise ToolError(f"The file system refused: {error.strerror}") from None
        if not read_only:
            await context.tell_file(context.redact(arguments["path"]))
        return ToolResult.ok(told)

    return call


def _read(files: RepoFiles, given: dict[str, Any]) -> Any:
    lines = files.read(given["path"]).splitlines(keepends=True)
    first = given.get("offset", 0)
    last = first + given["limit"] if "limit" in given else None
    return {"path": given["path"], "content": "".join(lines[first:last]), "lines": len(lines)}


def _write(files: RepoFiles, given: dict[str, Any]) -> Any:
    created = files.write(given["path"], given["content"])
    return {"path": given["path"], "written": True, "created": created}


def _edit(files: RepoFiles, given: dict[str, Any]) -> Any:
    path, old = given["path"], given["old_string"]
    text = files.read(path)
    count = text.count(old)
    if count == 0:
        raise ToolError(f"String not found in {path}")
    if count > 1 and not given.get("allow_multiple", False):
        raise ToolError(
            f"Multiple matches found ({count}), set allow_multiple: true to replace all"
        )
    files.write(path, text.replace(old, given["new_string"]))
    return {"path": path, "replaced": count}


def _delete(files: RepoFiles, given: dict[str, Any]) -> Any:
    files.delete(given["path"])
    return {"path": given["path"], "deleted": True}


def _list(files: RepoFiles, given: dict[str, Any]) -> Any:
    return _tell(files.list(given.get("dir", "")))


def _glob(files: RepoFiles, given: dict[str, Any]) -> Any:
    wanted = _compile_glob(given["pattern"])
    return _tell(path for path in files.list() if wanted.fullmatch(path))


def _tell(paths: Any) -> Any:
    found = list(islice(paths, MOST_LISTED + 1))
    return {"files": found[:MOST_LISTED], "truncated": len(found) > MOST_LISTED}


def _compile_glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay within a name, `**/` stands for any folders."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def _grep(files: RepoFiles, given: dict[str, Any]) -> Any:
    try:
        wanted = regex.compile(given["pattern"])
    except regex.error as error:
        raise ToolError(f"Not a regular expression: {error}") from None
    matches: list[dict[str, Any]] = []
    try:
        for path in files.list(given.get("dir", "")):
            for number, line in enumerate(_lines_of(files, path), start=1):
                if wanted.search(line, timeout=GREP_SECONDS, concurrent=True):
                    matches.append({"path": path, "line": number, "text": line[:LINE_CHARS]})
                    if len(matches) >= MOST_MATCHES:
                        return {"matches": matches, "truncated": True}
    except TimeoutError:
        raise ToolError("The expression takes too long on these files.") from None
    return {"matches": matches, "truncated": False}


def _lines_of(files: RepoFiles, path: str) -> list[str]:
    try:
        return files.read(path).splitlines()
    except ToolError:  # a picture, or gone by now
        return []


def _read_many(files: RepoFiles, given: dict[str, Any]) -> Any:
    told: dict[str, Any] = {}
    for path in given["paths"]:
        try:
            told[path] = files.read(path)
        except ToolError as error:
            told[path] = {"error": str(error)}
    return {"files": told}


PATHS = {"type": "array", "items": PATH, "minItems": 1, "maxItems": MOST_READ}
TOOLS: tuple[tuple[str, str, dict[str, Any], list[str], Work, bool], ...] = (
    (
        "read_repo_file",
        "Read a text file of the agent; offset and limit count lines.",
        {"path": PATH, "offset": COUNT, "limit": {"type": "integer", "minimum": 1}},
        ["path"],
        _read,
        True,
    ),
    (
        "write_repo_file",
        "Write a file of the agent, whole; it may exist.",
        {"path": PATH, "content": TEXT},
        ["path", "content"],
        _write,
        False,
    ),
    (
        "edit_repo_file",
        "Replace a text in a file of the agent.",
        {
            "path": PATH,
            "old_string": {"type": "string", "minLength": 1},
            "new_string": TEXT,
            "allow_multiple": {"type": "boolean"},
        },
        ["path", "old_string", "new_string"],
        _edit,
        False,
    ),
    ("delete_repo_file", "Delete a file of the agent.", {"path": PATH}, ["path"], _delete, False),
    ("list_repo_files", "List the files of the agent.", {"dir": TEXT}, [], _list, True),
    (
        "glob_repo_files",
        "Find files of the agent by a pattern such as skills/**/*.md.",
        {"pattern": TEXT},
        ["pattern"],
        _glob,
        True,
    ),
    (
        "grep_repo_files",
        f"Find lines by a regular expression, {MOST_MATCHES} at the most.",
        {"pattern": TEXT, "dir": TEXT},
        ["pattern"],
        _grep,
        True,
    ),
    (
        "read_many_repo_files",
        "Read several files of the agent at once.",
        {"paths": PATHS},
        ["paths"],
        _read_many,
        True,
    ),
)
