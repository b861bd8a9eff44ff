"""The sandbox as tools use it: one choice of confinement per process, bounds of the agent.

Law: what an agent's `sandbox` block says is the most that any of its programs may use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from django.conf import settings

from agentsite.manifest.blocks import Sandbox
from agentsite.manifest.bundle import Bundle
from agentsite.sandbox.base import Backend, Bounds, Job, Mode, Outcome, SandboxUnavailable
from agentsite.sandbox.choice import Chooser
from agentsite.sandbox.images import find_inside, unpack
from agentsite.sandbox.process import run
from agentsite.tools.results import ToolError, clean

MARGIN_S = 5.0
"""How much longer a tool may take than its program: to start it and to tidy up."""
ENDINGS = {
    "timeout": "it took longer than {seconds:g} s",
    "memory": "it needed more than {memory} MB of memory",
    "output": "it printed more than it may, {output} MB or 10,000 lines",
    "disk": "it wrote more than {disk} MB",
    "stopped": "it was stopped",
}
MB = 1_048_576
UNPACKED = ".unpacked"
"""Below SANDBOX_TEMPLATES: what images hold."""


@cache
def chooser() -> Chooser:
    """What decides, once per process, how programs are confined."""
    return Chooser(cast("Mode", settings.AGENT_SANDBOX))  # settings.py has checked it


async def choose_backend() -> Backend:
    """The confinement of this machine. Raises ToolError when there is none."""
    try:
        return await chooser().choose()
    except SandboxUnavailable as error:
        raise ToolError(f"This server cannot run programs: {error}") from None


def block_of(bundle: Bundle) -> Sandbox:
    """The agent's `sandbox` block."""
    return bundle.config.sandbox


async def make_job(
    bundle: Bundle,
    command: Sequence[str],
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, Path] | None = None,
    stdin: bool = False,
) -> Job:
    """A program of this agent, within the bounds of its `sandbox` block. Raises `ToolError`."""
    block = block_of(bundle)
    return Job(
        command=command,
        environment=environment or {},
        files=files or {},
        template=await find_template(bundle),
        bounds=Bounds(seconds=min(seconds, block.max_timeout / 1000)),
        stdin=stdin,
    )


async def find_template(bundle: Bundle) -> Path | None:
    """The root folder that `sandbox.template` names; an image is unpacked when it is new.

    It is a path, or lies below SANDBOX_TEMPLATES. Raises `ToolError`.
    """
    name = block_of(bundle).template
    if name is None:
        return None
    shelf = Path(settings.SANDBOX_TEMPLATES)
    for place in (bundle.root / name, shelf / name):
        if place.is_dir():
            return place.resolve()
        if place.is_file():
            try:
                return await asyncio.to_thread(
                    unpack,
                    place.resolve(),
                    shelf / UNPACKED,
                    keep_days=settings.SANDBOX_TEMPLATES_KEEP_DAYS,
                )
            except SandboxUnavailable as error:
                raise ToolError(f"The sandbox template is no image: {error}") from None
    raise ToolError(
        f'The sandbox template "{name}" is not there: it is a folder or an image in the agent\'s, '
        f"an absolute path, or one below {shelf} (SANDBOX_TEMPLATES)."
    )


async def run_shell(bundle: Bundle, command: str, seconds: float | None) -> dict[str, Any]:
    """Run a shell command: `{exitCode, stdout, stderr}`, `ended` when it was cut short."""
    backend = await choose_backend()
    job = await make_job(bundle, ["/bin/sh", "-c", command], seconds=seconds or 1e9)
    if find_inside(job.template or Path("/"), "bin/bash").exists():
        job = replace(job, command=["/bin/bash", "-c", command])
    try:
        outcome = await run(backend, job)
    except SandboxUnavailable as error:
        raise ToolError(f"This server cannot run programs: {error}") from None
    told: dict[str, Any] = {
        "exitCode": outcome.code,
        "stdout": clean(outcome.stdout.decode(errors="replace")),
        "stderr": clean(outcome.stderr.decode(errors="replace")),
    }
    if outcome.dropped:
        told["droppedBytes"] = outcome.dropped
    if outcome.ending != "exited":
        told["ended"] = explain(outcome, job)
    return told


def explain(outcome: Outcome, job: Job) -> str:
    """Why a program was ended."""
    bounds = job.bounds
    return ENDINGS[outcome.ending].format(
        seconds=bounds.seconds,
        memory=bounds.memory // MB,
        output=bounds.most_output // MB,
        disk=bounds.workspace // MB,
    )
