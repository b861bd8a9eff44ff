"""Tells the test that it runs, and returns the line that the test answers."""

import asyncio
import json
from typing import Any


async def handle(params: dict[str, Any], ctx: Any) -> str:
    """`port` is where the test listens; without one there is nobody to ask."""
    note = str(params.get("note", ""))
    if "port" not in params:
        return f"passed {note}"
    if params.get("chatty"):
        ctx.log("at the gate")
        ctx.progress({"steps": 1})
        ctx.set_label("Waiting", "Went through")
    reader, writer = await asyncio.open_connection("127.0.0.1", params["port"])
    try:
        writer.write(json.dumps({"call": ctx.call_id, "note": note}).encode() + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise ConnectionError("the test closed the gate")
    return line.decode().strip()
