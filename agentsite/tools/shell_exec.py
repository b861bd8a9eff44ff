"""`shell_exec`: commands of the model, in the sandbox; offered with `sandbox.shellExec`."""

from __future__ import annotations

from typing import Any

from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import Tool, ToolContext, ToolResult, object_schema
from agentsite.tools.sandboxed import MARGIN_S, block_of, run_shell

DESCRIPTION = (
    "Run a shell command in a sandbox without network. Each command starts in an empty "
    "/workspace; nothing is kept between two commands. The result is the exit code, stdout and "
    "stderr."
)


def build_shell_tools(bundle: Bundle) -> list[Tool]:
    """The tool, if the agent may run commands."""
    block = block_of(bundle)
    if not block.shell_exec:
        return []
    most = block.max_timeout / 1000
    parameters = object_schema(
        {
            "command": {"type": "string", "minLength": 1},
            "timeout": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": f"Seconds, {most:g} at the most",
            },
        },
        ["command"],
    )
    return [
        Tool(
            "shell_exec",
            DESCRIPTION,
            parameters,
            _run,
            timeout_s=most + MARGIN_S,
            running_label="Running {{command}}",
            completed_label="Ran {{command}}",
            pool="sandbox",
            shell_argument="command",
        )
    ]


async def _run(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    told = await run_shell(context.bundle, arguments["command"], arguments.get("timeout"))
    result = ToolResult.ok(told)
    return ToolResult(result.parts, error="ended" in told)
