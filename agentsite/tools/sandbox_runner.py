"""Runs one handler.py inside the sandbox, as `sandbox: {"language": "python"}` asks.

Law: nothing of ours is importable here; it speaks the lines of an executable.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn


def say(**told: Any) -> None:
    """One line of the protocol, in one write, so that threads do not mix theirs."""
    os.write(REAL_STDOUT, f"{json.dumps(told, default=str)}\n".encode())


class Context:
    """`ctx` of the handler: what can be had without leaving the sandbox."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.user = told["user"]
        self.scope_id = told["scopeId"]
        self.session_id = told["sessionId"]
        self.call_id = told["callId"]
        self.deadline = time.monotonic() + told["timeout"] / 1000
        self._env = told["env"]

    def env(self, name: str) -> str | None:
        if name not in self._env:
            raise PermissionError(f'add {name} to "env" in tool.json')
        value: str | None = self._env[name]
        return value

    def progress(self, data: Any) -> None:
        say(progress=data)

    emit = progress

    def log(self, message: object) -> None:
        say(log=str(message))

    def set_label(self, running: str | None = None, completed: str | None = None) -> None:
        say(label={"running": running, "completed": completed})

    async def request(self, *_args: Any, **_options: Any) -> NoReturn:
        raise PermissionError("a sandboxed handler reaches no connections")

    async def store(self, *_args: Any, **_options: Any) -> NoReturn:
        raise PermissionError("a sandboxed handler reaches no stores")

    async def exec(self, command: str) -> dict[str, Any]:
        """Run a command right here: this is the sandbox."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_shell(command, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        return {
            "exitCode": process.returncode,
            "stdout": out.decode(errors="replace"),
            "stderr": err.decode(errors="replace"),
        }


async def run(path: Path) -> Any:
    """Import the handler and call it."""
    told = json.load(sys.stdin)
    spec = importlib.util.spec_from_file_location(
        "tool_handler", path, submodule_search_locations=[str(path.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules["tool_handler"] = module
    spec.loader.exec_module(module)
    value = module.handle(told["params"], Context(told["ctx"]))
    return await value if inspect.isawaitable(value) else value


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    REAL_STDOUT = os.dup(1)
    os.dup2(2, 1)  # what the handler prints is no answer
    say(result=asyncio.run(run(Path(sys.argv[1]))))
