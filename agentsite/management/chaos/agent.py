"""The agent that the storm talks to: tools whose effects are counted elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agentsite.management.chaos.options import Options

MAIN, SIMPLE = "claude-sonnet-4-5", "claude-haiku-4-5"
EFFECTS = ("count", "confirmed_count", "slow_count")
"""Tools that nobody may run twice for one call."""
REPEATABLE = ("count_idempotent", "read")
TOOLS: dict[str, dict[str, Any]] = {
    "count": {},
    "count_idempotent": {"idempotent": True},
    "read": {"readOnly": True},
    "confirmed_count": {"confirm": True},
    "slow_count": {"timeout": 8_000},
}
TOOLS_AT_ONCE = 2
"""Fewer than a turn may call, so that some wait for their turn when the kill comes."""
PARAMETERS = {
    "type": "object",
    "properties": {"n": {"type": "string"}, "ms": {"type": "number"}},
    "required": ["n"],
    "additionalProperties": False,
}
HANDLER = '''"""Counts once for each call that is made."""

import asyncio
import json
import os


async def handle(params, ctx):
    pause = params.get("ms", 0) / 2000
    await asyncio.sleep(pause)
    told = {{"key": ctx.call_id, "n": params["n"], "tool": "{name}", "pid": os.getpid()}}
    body = json.dumps(told)
    reader, writer = await asyncio.open_connection("127.0.0.1", {port})
    head = f"POST /count HTTP/1.1\\r\\nHost: here\\r\\nContent-Length: {{len(body)}}\\r\\n\\r\\n"
    writer.write((head + body).encode())
    answer = await reader.read()
    writer.close()
    ctx.progress({{"counted": params["n"]}})
    await asyncio.sleep(pause)
    return {{"counted": int(answer.rsplit(b"\\r\\n", 1)[-1])}}
'''
THREADED = '''"""Counts once for each call that is made, from a thread that cannot be cancelled."""

import http.client
import json
import os
import time


def handle(params, ctx):
    time.sleep(params.get("ms", 0) / 1000)
    told = {{"key": ctx.call_id, "n": params["n"], "tool": "{name}", "pid": os.getpid()}}
    body = json.dumps(told)
    line = http.client.HTTPConnection("127.0.0.1", {port}, timeout=10)
    line.request("POST", "/count", body)
    counted = int(line.getresponse().read())
    line.close()
    return {{"counted": counted}}
'''


def write_agent(folder: Path, options: Options, fake_url: str, counting_port: int) -> None:
    """Write the agent's files into an empty folder."""
    models = {
        tier: {"provider": "anthropic", "model": name, "baseUrl": fake_url, "timeout": 4.0}
        for tier, name in (("main", MAIN), ("simple", SIMPLE))
    }
    models["main"]["contextWindow"] = 12_000
    manifest = {
        "name": "chaos",
        "version": "1.0.0",
        "models": models,
        "agent": {
            "confirmationTtl": float(options.question_ttl),
            "confirmationGrace": 2.0,
            "maxTurns": 10,
            "runTimeout": 120.0,
            "toolConcurrency": TOOLS_AT_ONCE,
        },
    }
    _write(folder / "amodal.json", manifest)
    for name, extra in TOOLS.items():
        _write(
            folder / "tools" / name / "tool.json",
            {"description": f"The tool {name}.", "parameters": PARAMETERS, **extra},
        )
        source = THREADED if name == "confirmed_count" else HANDLER
        handler = folder / "tools" / name / "handler.py"
        handler.write_text(source.format(name=name, port=counting_port))


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.encode(content))
