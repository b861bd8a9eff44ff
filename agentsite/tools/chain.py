"""Custom tools of `"type": "chain"`: several calls of connections at once, one result.

Law: every step goes the way of `request`, with its rules. A step that fails is told under its
name and stops no other.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress
from typing import Any

from agentsite.connections.caller import Caller
from agentsite.connections.prepare import Wish
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.tool_schema import Step
from agentsite.manifest.tools import ToolFolder
from agentsite.tools.base import Ask, Call, ToolContext, ToolError, ToolResult, Wanted
from agentsite.tools.connections import call_connection, find_question
from agentsite.tools.shaping import MISSING, shape_result
from agentsite.tools.templates import fill_json, fill_path, moments

FAILED_FROM = 400
TOLD_CHARS = 2_000


def _gather_values(arguments: dict[str, Any]) -> dict[str, Any]:
    return {**moments(dt.datetime.now(dt.UTC)), **arguments}


def _write_wish(step: Step, values: dict[str, Any]) -> Wish:
    """The call of a step. Raises `ToolError` where a part of its path would be empty."""
    params = {name: fill_json(value, values) for name, value in step.params.items()}
    data = None if step.data is None else fill_json(step.data, values)
    return Wish(
        connection=step.connection,
        method=step.method,
        endpoint=fill_path(step.endpoint, values),
        params={name: value for name, value in params.items() if value is not MISSING},
        data=None if data is MISSING else data,
    )


def make_chain_ask(bundle: Bundle, folder: ToolFolder) -> Ask:
    """What decides whether a person is asked before a call: any step that asks."""

    def ask(caller: Caller, arguments: dict[str, Any]) -> Wanted | None:
        values = _gather_values(arguments)
        asked: dict[str, Wanted] = {}
        for step in folder.manifest.steps or ():
            with suppress(ToolError):  # it will fail, and nobody needs to be asked
                wanted = find_question(bundle, _write_wish(step, values), caller)
                asked |= {step.name: wanted} if wanted else {}
        if len(asked) < 2:
            return next(iter(asked.values()), None)
        shown = {
            name: {"connection": w.connection, "method": w.method, "endpoint": w.endpoint}
            | dict(w.params or {})
            for name, w in asked.items()
        }
        reasons = "; ".join(dict.fromkeys(w.reason for w in asked.values() if w.reason))
        escalated = any(wanted.escalated for wanted in asked.values())
        return Wanted(reason=reasons, params=shown, escalated=escalated)

    return ask


def make_chain_call(folder: ToolFolder) -> Call:
    """The function that runs the tool; it fails when all of its steps do."""

    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        values = _gather_values(arguments)
        async with asyncio.TaskGroup() as group:
            tasks = {
                step.name: group.create_task(_run_step(context, step, values))
                for step in folder.manifest.steps or ()
            }
        results = {name: task.result() for name, task in tasks.items()}
        if all(isinstance(told, _Failed) for told in results.values()):
            raise ToolError("; ".join(f"{name}: {told}" for name, told in results.items()))
        plain = {
            name: {"error": str(told)} if isinstance(told, _Failed) else told
            for name, told in results.items()
        }
        if folder.manifest.merge is None:
            return shape_result(plain, folder.response_shaping)
        merged = fill_json(folder.manifest.merge, {**arguments, "steps": plain})
        return shape_result(None if merged is MISSING else merged, folder.response_shaping)

    return call


class _Failed(str):
    """Why a step has no result."""

    __slots__ = ()


async def _run_step(context: ToolContext, step: Step, values: dict[str, Any]) -> Any:
    try:
        told = await call_connection(context, _write_wish(step, values), key=f"_{step.name}")
    except ToolError as error:
        return _Failed(error)
    if told["status"] >= FAILED_FROM:
        text = ToolResult.ok(told["data"]).text[:TOLD_CHARS]
        return _Failed(f"{step.connection} answered {told['status']}: {text}")
    return told["data"]
