"""Executables, sandboxed handlers and shell commands, well-behaved and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentsite.engine.events import ToolLogged, ToolProgressed, ToolRelabelled
from agentsite.engine.messages import ToolCallPart
from agentsite.manifest.bundle import Bundle
from agentsite.tools.executor import Settled
from agentsite.tools.limits import BUSY, Limits
from agentsite.tools.sandboxed import chooser
from agentsite.tools.toolset import build_toolset
from tests.requirements import requirement
from tests.tools.agents import Calls, write_agent
from tests.tools.runs import Runner

BASH = "#!/bin/bash\n"
PYTHON = "#!/usr/bin/env python3\nimport json, os, sys\n"


def make_agent(root: Path, handler: str, *, file: str = "handler.sh", **keys: Any) -> Bundle:
    """An agent with one tool `t`, whose handler is executable."""
    path = root / "tools" / "t" / file
    path.parent.mkdir(parents=True)
    path.write_text(handler)
    path.chmod(0o755)
    shell = {"shellExec": True, "maxTimeout": 3000}
    config = {"name": "desk", "version": "1.0.0", "sandbox": shell}
    described = {"description": "d", "timeout": 3000, **keys}
    files = {"amodal.json": config, "tools/t/tool.json": described}
    return write_agent(root, files, {"TOKEN": "sk-token-123", "OTHER": "sk-other-123"})


async def run(
    bundle: Bundle, name: str = "t", limits: Limits | None = None, **arguments: Any
) -> tuple[Settled, Calls]:
    calls = Calls(bundle)
    runner = Runner(calls)
    tool = build_toolset(bundle)[name]
    await runner.run_parts([tool], [ToolCallPart("tc_0", name, arguments)], limits=limits)
    ((_, settled),) = runner.settled
    return settled, calls


@requirement("agent.executables")
async def test_an_executable_speaks_json_lines(tmp_path: Path) -> None:
    handler = PYTHON + (
        "told = json.load(sys.stdin)\n"
        "def say(**line): print(json.dumps(line), flush=True)\n"
        "say(progress={'step': 1})\nsay(log='at work')\nsay(label={'running': 'Busy'})\n"
        "say(result={'params': told['params'], 'ctx': told['ctx'], 'token': os.environ['TOKEN'],\n"
        "            'other': os.environ.get('OTHER'), 'sibling': open('/tool/data.txt').read()})\n"
    )
    bundle = make_agent(tmp_path, handler, file="handler.py3", env=["TOKEN"])
    (tmp_path / "tools" / "t" / "data.txt").write_text("beside it")
    settled, calls = await run(bundle, city="Rome")
    assert settled.status == "ok", settled.result.text
    told = json.loads(settled.result.text)
    assert told["params"] == {"city": "Rome"}
    assert told["ctx"]["scopeId"] == "acme"
    assert told["ctx"]["user"] == {"role": "rep"}
    assert (told["token"], told["other"], told["sibling"]) == ("sk-token-123", None, "beside it")
    kinds = [type(event) for event in calls.events]
    assert kinds == [ToolProgressed, ToolLogged, ToolRelabelled]


async def test_results_are_shaped(tmp_path: Path) -> None:
    handler = BASH + 'echo \'{"result": {"a": {"b": 1}, "c": 2}}\''
    bundle = make_agent(tmp_path, handler, responseShaping={"path": "a"})
    settled, _ = await run(bundle)
    assert settled.result.text == '{"b":1}'


HOSTILE: dict[str, tuple[str, str]] = {
    "crashes": ("kill -SEGV $$", 'Tool "t" failed with exit code 139.'),
    "fails": ("echo secret words >&2; exit 3", 'Tool "t" failed with exit code 3.'),
    "hangs": ("sleep 99", "was ended: it took longer than"),
    "hangs with children": ("(setsid sleep 99 &) ; sleep 99", "was ended: it took longer than"),
    "prints nothing": ("true", "ended without a result"),
    "prints garbage": ("head -c 300000 /dev/urandom", "ended without a result"),
    "prints half a line": ("printf '{\"result\": {'", "ended without a result"),
    "nests deeply": ("for n in $(seq 20000); do printf '['; done", "ended without a result"),
    "returns 100 MB": (
        "printf '{\"result\": \"'; head -c 100000000 /dev/zero | tr '\\0' x; echo '\"}'",
        "was ended: it printed more than it may",
    ),
    "prints for ever": ("yes", "was ended: it printed more than it may"),
    "tells an error": ('echo \'{"error": "no such city"}\'', "no such city"),
    "takes all memory": (
        "x=$(head -c 900000000 /dev/zero | tr '\\0' x); echo '{\"result\": 1}'",
        "",
    ),
    "forks": (":(){ :|:& };:; sleep 9", ""),
    "is no program": ("", ""),
}


@requirement("agent.hostile-tools")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_tool_harms_only_its_own_call(name: str, tmp_path: Path) -> None:
    program, told = HOSTILE[name]
    bundle = make_agent(tmp_path, BASH + program if program else "\x7fELF nonsense", timeout=1500)
    settled, _ = await run(bundle)
    assert settled.status == "error", settled.result.text[:200]
    assert told in settled.result.text
    assert "secret words" not in settled.result.text


async def test_floods_of_events_are_cut(tmp_path: Path) -> None:
    handler = BASH + 'for n in $(seq 5000); do echo \'{"log": "x"}\'; done; echo \'{"result": 1}\''
    settled, calls = await run(make_agent(tmp_path, handler))
    assert settled.status == "ok"
    assert len(calls.events) == 500


@requirement("agent.sandboxed-handlers")
async def test_a_python_handler_runs_in_the_sandbox(tmp_path: Path) -> None:
    handler = (
        "import os\nprint('noise')\n"
        "async def handle(params, ctx):\n    ctx.log('here')\n    ctx.progress({'n': 1})\n"
        "    done = await ctx.exec('id -u')\n"
        "    return {'uid': os.getuid(), 'out': done['stdout'], 'token': ctx.env('TOKEN'),\n"
        "            'scope': ctx.scope_id, 'etc': os.path.exists('/etc/shadow')}\n"
    )
    sandbox = {"sandbox": {"language": "python"}, "env": ["TOKEN"]}
    bundle = make_agent(tmp_path, handler, file="handler.py", **sandbox)
    settled, calls = await run(bundle)
    assert settled.status == "ok", settled.result.text
    told = json.loads(settled.result.text)
    assert told == {
        "uid": 1000,
        "out": "1000\n",
        "token": "sk-token-123",
        "scope": "acme",
        "etc": False,
    }
    assert [type(event) for event in calls.events] == [ToolLogged, ToolProgressed]


async def test_a_sandboxed_handler_may_end_its_process(tmp_path: Path) -> None:
    handler = "import os\ndef handle(params, ctx):\n    os._exit(7)\n"
    bundle = make_agent(tmp_path, handler, file="handler.py", sandbox={"language": "python"})
    settled, _ = await run(bundle)
    assert settled.result.text == 'Tool "t" failed with exit code 7.'


@requirement("agent.shell-exec")
async def test_shell_commands_run_in_the_sandbox(tmp_path: Path) -> None:
    bundle = make_agent(tmp_path, BASH + "true")
    settled, _ = await run(bundle, "shell_exec", command="echo $((6*7)); id -u >&2; exit 5")
    assert json.loads(settled.result.text) == {"exitCode": 5, "stdout": "42\n", "stderr": "1000\n"}
    assert settled.status == "ok"
    late, _ = await run(bundle, "shell_exec", command="sleep 9", timeout=0.2)
    assert late.status == "error"
    assert json.loads(late.result.text)["ended"] == "it took longer than 0.2 s"


@requirement("runs.tool-limits")
@pytest.mark.parametrize("form", ["async", "sync"])
async def test_a_handler_that_runs_commands_takes_the_places_of_programs(
    tmp_path: Path, form: str
) -> None:
    bodies = {
        "async": "async def handle(params, ctx):\n    return await ctx.exec('echo hi')\n",
        "sync": "import asyncio\ndef handle(params, ctx):\n"
        "    return asyncio.run(ctx.exec('echo hi'))\n",
    }
    bundle = make_agent(tmp_path, bodies[form], file="handler.py", timeout=300)
    limits = Limits(sandboxes=1)
    async with limits.sandbox(1):
        settled, _ = await run(bundle, limits=limits)
    assert settled.result.text == BUSY or "did not finish" in settled.result.text
    assert limits.count_running("sandbox") == 0


async def test_without_shell_exec_there_is_no_shell(tmp_path: Path) -> None:
    handler = "async def handle(params, ctx):\n    return await ctx.exec('id')\n"
    files = {"tools/t/tool.json": {"description": "d"}, "tools/t/handler.py": handler}
    bundle = write_agent(tmp_path, files)
    assert "shell_exec" not in build_toolset(bundle)
    settled, _ = await run(bundle)
    assert settled.result.text == ('ctx.exec needs "sandbox": {"shellExec": true} in amodal.json.')


async def test_handlers_may_run_commands(tmp_path: Path) -> None:
    handler = "async def handle(params, ctx):\n    return await ctx.exec('echo hi')\n"
    settled, _ = await run(make_agent(tmp_path, handler, file="handler.py"))
    assert json.loads(settled.result.text)["stdout"] == "hi\n"


async def test_a_missing_template_is_told(tmp_path: Path) -> None:
    config = {"name": "d", "version": "1.0.0", "sandbox": {"shellExec": True, "template": "none"}}
    bundle = write_agent(tmp_path, {"amodal.json": config})
    settled, _ = await run(bundle, "shell_exec", command="true")
    assert 'The sandbox template "none" is not there' in settled.result.text


@pytest.fixture
def landlock(settings: Any) -> Iterator[None]:
    """No namespaces on this machine, as far as tools can tell."""
    settings.AGENT_SANDBOX = "landlock"
    chooser.cache_clear()
    yield
    chooser.cache_clear()


@requirement("agent.sandbox-choice", "agent.executables")
async def test_tools_run_under_landlock_too(tmp_path: Path, landlock: None) -> None:
    beside = "open(os.path.join(os.path.dirname(__file__), 'data.txt')).read()"
    program = f"{PYTHON}print(json.dumps({{'result': [{beside}, os.path.exists('/etc/shadow')]}}))"
    handler = f"import os\ndef handle(params, ctx):\n    return [{beside}, 2]\n"
    for name, text, keys in (
        ("handler.py3", program, {}),
        ("handler.py", handler, {"sandbox": {"language": "python"}}),
    ):
        bundle = make_agent(tmp_path / name, text, file=name, **keys)
        (bundle.root / "tools" / "t" / "data.txt").write_text("beside it")
        settled, _ = await run(bundle)
        assert json.loads(settled.result.text)[0] == "beside it"
    settled, _ = await run(bundle, "shell_exec", command="pwd; cat /etc/hostname || echo nothing")
    assert json.loads(settled.result.text)["stdout"].endswith("/workspace\nnothing\n")


@requirement("agent.sandbox-image")
async def test_a_template_that_is_no_image_is_told(tmp_path: Path, settings: Any) -> None:
    settings.SANDBOX_TEMPLATES = str(tmp_path / "shelf")
    config = {"name": "d", "version": "1.0.0", "sandbox": {"shellExec": True, "template": "x.tar"}}
    bundle = write_agent(tmp_path, {"amodal.json": config, "x.tar": "no image"})
    settled, _ = await run(bundle, "shell_exec", command="true")
    assert "The sandbox template is no image: x.tar cannot be unpacked" in settled.result.text
