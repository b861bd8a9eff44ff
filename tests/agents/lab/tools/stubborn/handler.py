"""Goes through a gate and cannot be talked out of it: its cancellation is ignored."""

import asyncio
import json
from typing import Any


async def handle(params: dict[str, Any], ctx: Any) -> str:
    """`port` is where the test listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", params["port"])
    writer.write(json.dumps({"call": ctx.call_id, "note": params["note"]}).encode() + b"\n")
    answered = asyncio.ensure_future(reader.readline())
    while not answered.done():
        try:
            await asyncio.wait({answered})
        except asyncio.CancelledError:
            continue
    writer.close()
    return answered.result().decode().strip()
