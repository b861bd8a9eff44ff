"""A small MCP server of our own, to be run as a program: `toy.py stdio` or `toy.py http|sse PORT`.

Law: it imports nothing of the project. Files in TOY_FOLDER tell tests what it did.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp_types import ToolAnnotations

FOLDER = Path(os.environ.get("TOY_FOLDER", "."))
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
server = MCPServer("toy", version="1.2")


def note(name: str) -> None:
    """Leave a line behind for the test."""
    with (FOLDER / name).open("a") as out:
        out.write(f"{os.getpid()}\n")


@server.tool(
    description=os.environ.get("TOY_SAYS", "Add two numbers."),
    annotations=ToolAnnotations(read_only_hint=True, title="Adding"),
)
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
def picture() -> Image:
    """A picture of one dot."""
    return Image(data=PIXEL, format="png")


@server.tool()
def environment() -> dict[str, str]:
    """What this process sees of its environment."""
    return dict(os.environ)


@server.tool()
def heard(name: str, context: Context) -> str:
    """A header of the request."""
    request = context.request_context.request
    return "" if request is None else request.headers.get(name, "")


@server.tool()
async def slow(context: Context) -> str:
    """Tell of progress, then go on until somebody stops it."""
    await context.report_progress(1, 4, "begun")
    note("slow")
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        note("cancelled")
        raise
    return "never"


@server.tool()
async def die() -> str:
    """Have an effect, and take the process with it."""
    note("died")
    os._exit(3)


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def wipe() -> str:
    """Wipe everything."""
    note("wiped")
    return "wiped"


@server.tool()
def refuse() -> str:
    """Fail."""
    raise ValueError("no")


@server.tool()
def flood(size: int) -> str:
    """So many characters."""
    return "x" * size


@server.resource("toy://manual")
def manual() -> str:
    """How it is used."""
    return "Read this first."


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}."


def main() -> None:
    """Serve; over HTTP a line on the output tells that it listens."""
    note("started")
    if sys.argv[1] == "stdio":
        print("not a message")  # what careless servers do
        server.run("stdio")
        return
    import uvicorn

    app = server.sse_app() if sys.argv[1] == "sse" else server.streamable_http_app()
    config = uvicorn.Config(app, log_level="warning", lifespan="on")
    serving = uvicorn.Server(config)
    asyncio.run(_serve(serving))


async def _serve(serving: object) -> None:
    import socket

    with socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=512) as listening:
        print(listening.getsockname()[1], flush=True)
        await serving.serve(sockets=[listening])  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
