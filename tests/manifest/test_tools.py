"""tools/<name>: what is read, what is refused, and that nothing is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.manifest.agents import find_messages, load_all, write_agent

HANDLER = "async def handle(params, ctx):\n    return 1\n"
PYTHON = {"tools/t/handler.py": HANDLER}
HTTP = {"type": "http", "connection": "c", "endpoint": "/x", "method": "GET"}


def test_python_tool_with_all_keys(tmp_path: Path) -> None:
    manifest = {
        "name": "t",
        "description": "d",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "confirm": "review",
        "timeout": 1500,
        "env": ["A_KEY"],
        "readOnly": True,
        "idempotent": True,
        "exclusive": True,
        "runningLabel": "Doing {{a}}",
        "completedLabel": "Did {{a}}",
        "internal": True,
        "responseShaping": {"path": "data.items", "pick": ["a"], "maxLength": 10},
    }
    root = write_agent(tmp_path, {"tools/t/tool.json": manifest, **PYTHON})
    tool = load_all(root).tools[0]
    assert (tool.name, tool.kind, tool.confirm, tool.timeout_ms) == ("t", "python", "review", 1500)
    assert (tool.read_only, tool.idempotent, tool.exclusive, tool.internal) == (True,) * 4
    assert tool.handler == root / "tools/t/handler.py"
    assert tool.response_shaping is not None
    assert tool.response_shaping.path == "data.items"


def test_loading_never_runs_a_handler(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "tools/t/tool.json": {"description": "d"},
            "tools/t/handler.py": f"raise SystemExit(1)\n{HANDLER}",
        },
    )
    tool = load_all(root).tools[0]
    assert (tool.parameters, tool.confirm, tool.timeout_ms) == ({"type": "object"}, False, None)


@pytest.mark.parametrize(
    "source",
    [
        "async def handle(params, ctx): ...",
        "def handle(params, ctx): ...",
        "async def handle(params, ctx, verbose=False, *, deep=1): ...",
        "async def handle(*args): ...",
        "from .inner import run as handle",
    ],
)
def test_accepted_handlers(tmp_path: Path, source: str) -> None:
    files = {"tools/t/tool.json": {"description": "d"}, "tools/t/handler.py": source}
    assert load_all(write_agent(tmp_path, files)).tools[0].kind == "python"


def test_executable_http_and_chain(tmp_path: Path) -> None:
    chain = {"type": "chain", "steps": [{"name": "a", "connection": "c", "endpoint": "/a"}]}
    root = write_agent(
        tmp_path,
        {
            "connections/c/spec.json": {"baseUrl": "http://x"},
            "tools/run/tool.json": {"description": "d"},
            "tools/run/handler.sh": "#!/bin/sh\n",
            "tools/call/tool.json": {"description": "d", **HTTP},
            "tools/fan/tool.json": {"description": "d", **chain, "merge": "{{steps.a.x}}"},
        },
    )
    (root / "tools/run/handler.sh").chmod(0o755)
    kinds = {tool.name: tool.kind for tool in load_all(root).tools}
    assert kinds == {"run": "executable", "call": "http", "fan": "chain"}


@pytest.mark.parametrize(
    ("manifest", "handler", "message"),
    [
        ({"description": "d"}, "async def run(params, ctx): ...", "defines no"),
        ({"description": "d"}, "async def handle(params): ...", "takes two arguments"),
        ({"description": "d"}, "async def handle(a, b, c): ...", "takes two arguments"),
        ({"description": "d"}, "async def handle(a, b, *, c): ...", "takes two arguments"),
        ({"description": "d"}, "async def handle(:", "is not Python"),
        ({}, HANDLER, "description: is required"),
        ({"description": "d", "name": "other"}, HANDLER, 'must be "t", like the folder'),
        ({"description": "d", "confirm": "maybe"}, HANDLER, "confirm: must be false, true"),
        ({"description": "d", "confirm": 1}, HANDLER, "confirm: must be false, true"),
        ({"description": "d", "parameters": {"type": "array"}}, HANDLER, '"type": "object"'),
        (
            {"description": "d", "parameters": {"type": "object", "required": "a"}},
            HANDLER,
            "is not a JSON schema at required",
        ),
        ({"description": "d", "endpoint": "/x"}, HANDLER, "endpoint: has an effect with"),
        ({"description": "d", "readonly": True}, HANDLER, 'did you mean "readOnly"?'),
        ({"description": "d", **HTTP}, HANDLER, 'has no effect with "type": "http"'),
        (
            {"description": "d", "type": "http", **{"connection": "c", "method": "GET"}},
            None,
            "endp",
        ),
        ({"description": "d", "type": "chain"}, None, "steps: is required"),
        ({"description": "d", **HTTP, "connection": "b"}, None, 'no REST connection "b"; known'),
        ({"description": "d"}, None, "has no handler"),
    ],
)
def test_each_mistake_is_told(
    tmp_path: Path, manifest: dict[str, Any], handler: str | None, message: str
) -> None:
    files: dict[str, Any] = {"tools/t/tool.json": manifest}
    files["connections/c/spec.json"] = {"baseUrl": "http://x"}
    if handler is not None:
        files["tools/t/handler.py"] = handler
    found = find_messages(write_agent(tmp_path, files))
    assert len(found) == 1
    assert message in found[0]


def test_names_of_folders(tmp_path: Path) -> None:
    tool = {"description": "d"}
    root = write_agent(
        tmp_path,
        {
            "tools/Bad-Name/tool.json": tool,
            "tools/Bad-Name/handler.py": HANDLER,
            "tools/present/tool.json": tool,
            "tools/present/handler.py": HANDLER,
            "tools/loose.json": "{}",
            "tools/two/tool.json": tool,
            "tools/two/handler.py": HANDLER,
            "tools/two/handler.sh": "",
        },
    )
    said = " | ".join(find_messages(root))
    for part in (
        "snake_case",
        "is a built-in tool",
        "a folder with a tool.json",
        "several handlers",
    ):
        assert part in said
