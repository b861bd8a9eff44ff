"""An MCP server of 2025-11-25 written by hand, that starts at once and misbehaves on demand.

Run as `plain.py stdio` or `plain.py http`. Law: it imports nothing of the project and no SDK.
Files in TOY_FOLDER tell tests what it did.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("TOY_FOLDER", "."))
MODE = os.environ.get("TOY_MODE", "")
NAMES = ("echo", "hang", "die", "environment", "change", "long", "progress", "session", "picture")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
state: dict[str, Any] = {"says": os.environ.get("TOY_SAYS", "Say it again."), "sessions": {}}


def note(name: str, text: str = "") -> None:
    """Leave a line behind for the test."""
    with (FOLDER / name).open("a") as out:
        out.write(f"{text or os.getpid()}\n")


def list_tools() -> dict[str, Any]:
    """Every tool takes one text; the first two say that they only read."""
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}}
    tools = [
        {
            "name": name,
            "description": state["says"] if name == "echo" else name,
            "inputSchema": schema,
            **({"annotations": {"readOnlyHint": True}} if name in ("echo", "hang") else {}),
        }
        for name in NAMES
    ]
    if MODE == "odd":
        tools += [
            {
                "name": "wrong",
                "inputSchema": {"type": "object", "properties": {"a": {"type": "x"}}},
            },
            {"name": "a.b/c", "inputSchema": {"type": "object"}},
        ]
    if MODE == "alien":
        tools.append({"name": "list", "inputSchema": {"type": "array"}})
    return {"tools": tools}


def answer(message: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """The result of a request (None: it has none), and what is sent before it."""
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        info = {"name": "plain", "version": "3"}
        version = "2025-11-25"
        return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}, []
    if method == "tools/list":
        return (None if MODE == "mute" else list_tools()), []
    if method == "tools/call":
        return call(message["id"], params["name"], params.get("arguments") or {}, params)
    return {"error": {"code": -32601, "message": f"no {method}"}}, []


def call(
    number: Any, name: str, given: dict[str, Any], params: dict[str, Any]
) -> tuple[Any, list[dict[str, Any]]]:
    """What a tool does."""
    note("calls", name)
    before: list[dict[str, Any]] = []
    match name:
        case "hang":
            note("hanging", str(number))
            return None, []
        case "die":
            os._exit(3)
        case "environment":
            text = json.dumps(dict(os.environ))
        case "change":
            state["says"] = given["z"]
            before = [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
            text = "changed"
        case "long":
            text = "x" * int(given["z"])
        case "progress":
            token = params["_meta"]["progressToken"]
            told = {"progressToken": token, "progress": 1, "total": 2, "message": "half"}
            before = [{"jsonrpc": "2.0", "method": "notifications/progress", "params": told}]
            text = "whole"
        case "picture":
            picture = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
            return {"content": [picture]}, []
        case _:
            text = str(given.get("z", os.getpid()))
    return {"content": [{"type": "text", "text": text}]}, before


def reply(message: dict[str, Any]) -> list[dict[str, Any]]:
    """All that follows from a message."""
    if message.get("method") == "notifications/cancelled":
        note("cancelled", str(message["params"]["requestId"]))
    if "id" not in message or "method" not in message:
        return []
    result, before = answer(message)
    if result is None:
        return before
    body = result if "error" in result else {"result": result}
    return [*before, {"jsonrpc": "2.0", "id": message["id"], **body}]


def serve_stdio() -> None:
    """Line by line, until the input ends; some do not end even then."""
    note("started")
    print("This line is no message.", flush=True)
    print("oops", file=sys.stderr, flush=True)
    if MODE == "dead":
        sys.exit(3)
    for line in sys.stdin:
        for each in reply(json.loads(line)):
            print(json.dumps(each), flush=True)
    if MODE == "stubborn":
        import signal
        import subprocess

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"])
        note("children", str(child.pid))
        child.wait()


def serve_http() -> None:  # noqa: C901 - a server in one function
    """Sessions with an id, a stream each, and a count of those that were not ended."""
    from aiohttp import web

    async def post(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        note("headers", request.headers.get("X-Token", ""))
        known: dict[str, Any] = state["sessions"]
        session = request.headers.get("Mcp-Session-Id", "")
        if message.get("method") == "initialize":
            session = f"s{len(known)}-{os.urandom(4).hex()}"
            known[session] = asyncio.Event()
        elif message.get("method") == "server/discover":
            return web.json_response({}, status=400)
        elif session not in known:
            return web.json_response({}, status=404)
        if message.get("params", {}).get("name") == "session":
            known.clear()  # forgets all, as after a restart; this call is the last it serves
        said = reply(message)
        if not said:
            if "id" in message:
                await asyncio.Event().wait()
            return web.Response(status=202)
        response = web.json_response(said[-1])
        response.headers["Mcp-Session-Id"] = session
        return response

    async def get(request: web.Request) -> web.StreamResponse:
        ended = state["sessions"].get(request.headers.get("Mcp-Session-Id", ""))
        if ended is None:
            return web.Response(status=404)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await ended.wait()
        return response

    async def delete(request: web.Request) -> web.Response:
        ended = state["sessions"].pop(request.headers["Mcp-Session-Id"], None)
        if ended is not None:
            ended.set()
        return web.Response(status=204)

    async def count(_: web.Request) -> web.Response:
        return web.json_response(len(state["sessions"]))

    async def run() -> None:
        app = web.Application(client_max_size=32_000_000)
        app.add_routes([web.post("/mcp", post), web.get("/mcp", get), web.delete("/mcp", delete)])
        app.add_routes([web.get("/sessions", count)])
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    serve_stdio() if sys.argv[1] == "stdio" else serve_http()
