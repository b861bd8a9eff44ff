"""Tools of the agent's own, run from files."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from agentsite.engine.events import ToolLogged, ToolProgressed
from agentsite.engine.messages import ToolCallPart
from agentsite.tools.custom import check
from agentsite.tools.executor import Settled, TellLate, run_calls
from agentsite.tools.toolset import build_toolset
from tests.tools.agents import Calls, write_agent

SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}}


async def run_tool(
    root: Path,
    handler: str,
    arguments: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    late: TellLate | None = None,
    **tool_json: Any,
) -> tuple[Settled, Calls]:
    """Write an agent with the tool `look`, load it and call the tool."""
    manifest = {"description": "Looks", "parameters": SCHEMA, **tool_json}
    files = {"tools/look/tool.json": manifest, "tools/look/handler.py": handler}
    calls = Calls(write_agent(root, files, environment))
    results: list[Settled] = []

    async def report(_call: ToolCallPart, settled: Settled) -> None:
        results.append(settled)

    await run_calls(
        [ToolCallPart("tc_1", "look", arguments or {})],
        build_toolset(calls.bundle),
        lambda call, deadline: calls.context(call.name, call.id, deadline),
        concurrency=8,
        timeout_s=5.0,
        settled=report,
        late=late,
    )
    return results[0], calls


async def test_a_handler_gets_its_arguments_and_context(tmp_path: Path) -> None:
    handler = """
async def handle(params, ctx):
    ctx.log("looking")
    ctx.progress({"step": 1})
    ctx.emit({"step": 2})
    return {"id": params["id"], "scope": ctx.scope_id, "role": ctx.user["role"],
            "call": ctx.call_id, "late": ctx.deadline < 0}
"""
    settled, calls = await run_tool(tmp_path, handler, {"id": "7"})
    assert json.loads(settled.result.text) == {
        "id": "7", "scope": "acme", "role": "rep", "call": "tc_1", "late": False,
    }  # fmt: skip
    assert calls.events == [
        ToolLogged("tc_1", "look", "looking"),
        ToolProgressed("tc_1", {"step": 1}),
        ToolProgressed("tc_1", {"step": 2}),
    ]


async def test_a_plain_function_runs_beside_the_loop(tmp_path: Path) -> None:
    handler = """
import threading

def handle(params, ctx):
    ctx.log("from a thread")
    return threading.current_thread().name
"""
    settled, calls = await run_tool(tmp_path, handler)
    assert settled.result.text != threading.current_thread().name
    assert calls.events == [ToolLogged("tc_1", "look", "from a thread")]


async def test_a_blocking_function_does_not_outstay_its_time(tmp_path: Path) -> None:
    handler = """
import threading

release = threading.Event()

def handle(params, ctx):
    release.wait(30)
    ctx.log("too late")
"""
    settled, calls = await run_tool(tmp_path, handler, timeout=20)
    assert "did not finish within 0.02 s" in settled.result.text
    (thread,) = [one for one in threading.enumerate() if one.name == "tool look"]
    (module,) = [sys.modules[name] for name in sys.modules if calls.bundle.hash[:16] in name]
    module.release.set()
    await asyncio.to_thread(thread.join, 5)
    await asyncio.sleep(0)
    assert calls.events == []


async def test_what_a_blocking_function_does_after_its_time_is_told_late(tmp_path: Path) -> None:
    handler = """
import threading

release = threading.Event()

def handle(params, ctx):
    try:
        release.wait(30)
    except BaseException:
        pass
    return "paid"
"""
    late: asyncio.Queue[tuple[str, Settled]] = asyncio.Queue()

    async def hear(call: ToolCallPart, settled: Settled) -> None:
        late.put_nowait((call.id, settled))

    settled, calls = await run_tool(tmp_path, handler, timeout=20, late=hear)
    assert "did not finish within 0.02 s" in settled.result.text
    (module,) = [sys.modules[name] for name in sys.modules if calls.bundle.hash[:16] in name]
    module.release.set()
    async with asyncio.timeout(5):
        name, came = await late.get()
    assert (name, came.status, came.result.text) == ("tc_1", "ok", "paid")


async def test_only_named_variables_are_readable(tmp_path: Path) -> None:
    handler = """
async def handle(params, ctx):
    return [ctx.env("CITY"), ctx.env("UNSET"), ctx.env("API_KEY")]
"""
    settled, _ = await run_tool(
        tmp_path, handler, environment={"CITY": "Rome", "API_KEY": "hunter2"}, env=["CITY", "UNSET"]
    )
    assert settled.result.text.startswith("The tool may not read API_KEY")
    settled, _ = await run_tool(
        tmp_path, handler.replace(', ctx.env("API_KEY")', ""), environment={"CITY": "Rome"},
        env=["CITY", "UNSET"],
    )  # fmt: skip
    assert settled.result.text == '["Rome",null]'


async def test_a_handler_fails_in_its_own_words(tmp_path: Path) -> None:
    handler = "async def handle(params, ctx):\n    return {'error': 'closed on Sundays'}"
    settled, _ = await run_tool(tmp_path, handler)
    assert (settled.status, settled.result.text) == ("error", "closed on Sundays")


@pytest.mark.parametrize(
    "body", ["return object()", "ctx.progress(object())", "ctx.progress('x' * 200_000)"]
)
async def test_what_is_not_json_is_the_handlers_error(tmp_path: Path, body: str) -> None:
    settled, calls = await run_tool(tmp_path, f"async def handle(params, ctx):\n    {body}")
    assert settled.status == "error"
    assert "failed unexpectedly" not in settled.result.text
    assert calls.events == []


@pytest.mark.parametrize("top", ["import nowhere_to_be_found", "raise SystemExit(3)"])
async def test_a_handler_that_does_not_load_is_a_problem_of_its_tool(
    tmp_path: Path, top: str
) -> None:
    settled, calls = await run_tool(tmp_path, f"{top}\nasync def handle(params, ctx): ...")
    assert settled.result.text == 'Tool "look" cannot run: its handler does not load.'
    ((name, problem),) = check(calls.bundle)
    assert name == "look"
    assert problem.startswith("handler.py cannot be imported: ")


async def test_a_handler_is_imported_once_and_again_after_an_edit(tmp_path: Path) -> None:
    handler = """
from . import helper

async def handle(params, ctx):
    helper.count += 1
    return [helper.count, "WORD"]
"""
    helper = tmp_path / "tools/look/helper.py"
    helper.parent.mkdir(parents=True)
    helper.write_text("count = 0")
    first, calls = await run_tool(tmp_path, handler)
    second, _ = await run_tool(tmp_path, handler)
    edited, _ = await run_tool(tmp_path, handler.replace("WORD", "LINE"))
    texts = [one.result.text for one in (first, second, edited)]
    assert texts == ['[1,"WORD"]', '[2,"WORD"]', '[1,"LINE"]']
    assert check(calls.bundle) == []


async def test_a_result_is_shaped(tmp_path: Path) -> None:
    handler = "async def handle(params, ctx):\n    return {'data': [{'a': 'x' * 50}, {'a': 'y'}]}"
    shaping = {"path": "data", "template": "{{a}};", "maxLength": 52}
    settled, _ = await run_tool(tmp_path, handler, responseShaping=shaping)
    assert settled.result.text == f"{'x' * 50};\n\n[... 2 more characters were not kept]"


def test_the_switches_of_tool_json_reach_the_tool(tmp_path: Path) -> None:
    manifest = {
        "description": "Looks",
        "parameters": SCHEMA,
        "timeout": 1500,
        "readOnly": True,
        "idempotent": True,
        "exclusive": True,
        "internal": True,
        "runningLabel": "Looking at {{id}}",
        "completedLabel": "Looked",
    }
    handler = "async def handle(params, ctx): ..."
    files = {"tools/look/tool.json": manifest, "tools/look/handler.py": handler}
    tool = build_toolset(write_agent(tmp_path, files))["look"]
    assert (tool.read_only, tool.idempotent, tool.exclusive, tool.internal) == (True,) * 4
    assert tool.timeout_s == 1.5
    assert tool.labels({"id": "7"}) == ("Looking at 7", "Looked")
    assert tool.spec.parameters == SCHEMA
