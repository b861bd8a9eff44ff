"""Tools in any language: an executable in the tool's folder, run in the sandbox.

Law: it gets one JSON document, `{params, ctx}`, on stdin and answers in JSON lines, one object
with one key each: `progress`, `log`, `label`, and in the end `result` or `error`. Nothing it
prints, and no way in which it ends, harms more than its own call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.reader import IGNORED
from agentsite.manifest.tools import ToolFolder
from agentsite.sandbox.base import Job, Outcome, SandboxUnavailable
from agentsite.sandbox.process import start
from agentsite.tools.base import Call, ToolContext, ToolError, ToolResult
from agentsite.tools.handler import LOG_CHARS, PROGRESS_BYTES
from agentsite.tools.sandboxed import choose_backend, explain, make_job
from agentsite.tools.shaping import shape_result

logger = logging.getLogger(__name__)

MOST_FILES = 200
MOST_EVENTS = 500
"""Lines of one call that clients are shown."""
MOST_LINES = 10_000
"""Lines after which a program is ended: taking them apart costs everybody time."""
LINE_BYTES = 8_000_000
LOGGED_CHARS = 2_000
RUNNER = Path(__file__).parent / "sandbox_runner.py"
"""Runs a handler.py in the sandbox; it speaks the same lines."""


def make_executable_call(bundle: Bundle, folder: ToolFolder) -> Call:
    """The function that runs the tool."""

    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        backend = await choose_backend()
        seconds = max(0.1, context.deadline - time.monotonic() - 0.2)
        allowed = {name: bundle.tool_env.get(name) for name in folder.env}
        job = await make_job(
            bundle,
            find_command(folder),
            seconds=seconds,
            environment={name: value for name, value in allowed.items() if value is not None},
            files=list_files(folder),
            stdin=True,
        )
        lines = Lines(context)
        try:
            async with start(backend, job) as box:
                lines.too_many = lambda: box.end("output")
                await box.write(msgspec.json.encode(describe(context, arguments, job, allowed)))
                box.close_input()
                outcome = await box.finish(lines.feed)
        except (SandboxUnavailable, OSError) as error:
            raise ToolError(f"The program could not be started: {error}") from None
        return shape_result(judge(folder.name, lines, outcome, job), folder.response_shaping)

    return call


def find_command(folder: ToolFolder) -> list[str]:
    """What is run: the executable itself, or a handler.py under the runner."""
    name = folder.handler.name if folder.handler else ""
    if folder.kind == "python":
        return ["/usr/bin/env", "python3", "-I", f"/tool/{RUNNER.name}", f"/tool/{name}"]
    return [f"/tool/{name}"]


def list_files(folder: ToolFolder) -> dict[str, Path]:
    """The files of a tool's folder, by their place in it; links are left out."""
    if folder.handler is None:
        return {}
    root = folder.handler.parent
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).parts
        hidden = any(part.startswith(".") or part in IGNORED for part in inner)
        if path.is_file() and not path.is_symlink() and not hidden:
            files["/".join(inner)] = path
    if folder.kind == "python":
        files[RUNNER.name] = RUNNER
    if len(files) > MOST_FILES:
        raise ToolError(f"The folder of tool {folder.name} has more than {MOST_FILES} files.")
    return files


def describe(
    context: ToolContext,
    arguments: dict[str, Any],
    job: Job,
    env: Mapping[str, str | None],
) -> dict[str, Any]:
    """What the program reads on stdin."""
    return {
        "params": arguments,
        "ctx": {
            "callId": context.call_id,
            "sessionId": context.session_id,
            "scopeId": context.scope_id,
            "user": dict(context.user),
            "timeout": round(job.bounds.seconds * 1000),
            "env": dict(env),
        },
    }


class Lines:
    """Takes apart what a program prints, as it comes."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._rest = bytearray()
        self._events = 0
        self._lines = 0
        self.too_many: Callable[[], None] = lambda: None
        """What is done when there are more lines than there may be."""
        self.answer: dict[str, Any] | None = None
        """The last `result` or `error`."""
        self.garbage = 0
        """Lines that were none of ours."""

    def feed(self, chunk: bytes) -> None:
        """Take what has come; never raises."""
        self._rest += chunk
        if b"\n" in chunk or len(self._rest) > LINE_BYTES:
            *lines, rest = self._rest.split(b"\n")
            for line in lines[: max(0, MOST_LINES - self._lines)]:
                self._take(bytes(line))
            self._lines += len(lines)
            if self._lines > MOST_LINES:
                self.too_many()
            if len(rest) > LINE_BYTES:
                self.garbage += 1
                rest = bytearray()
            self._rest = bytearray(rest)

    def close(self) -> None:
        """The last line may lack its end."""
        rest, self._rest = bytes(self._rest), bytearray()
        self._take(rest)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            told = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            told = None
        match told:
            case {"result": _} | {"error": _} if len(told) == 1:
                self.answer = told
            case {"progress": data} if len(told) == 1 and len(line) <= PROGRESS_BYTES:
                self._show(lambda: self._context.progress(data))
            case {"log": message} if len(told) == 1:
                self._show(lambda: self._context.log(str(message)[:LOG_CHARS]))
            case {"label": dict(label)} if len(told) == 1:
                texts = {name: _text_or_none(label.get(name)) for name in ("running", "completed")}
                self._show(lambda: self._context.set_label(**texts))
            case _:
                self.garbage += 1

    def _show(self, work: Any) -> None:
        self._events += 1
        if self._events <= MOST_EVENTS:
            work()


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def judge(name: str, lines: Lines, outcome: Outcome, job: Job) -> Any:
    """The result of a call. Raises ToolError for what is none."""
    lines.close()
    if lines.garbage or outcome.code:
        said = outcome.stderr.decode(errors="replace")[-LOGGED_CHARS:]
        logger.warning(
            "Tool %s: exit code %d, %d lines that are not of the protocol; stderr: %s",
            name,
            outcome.code,
            lines.garbage,
            said,
        )
    if outcome.ending != "exited":
        raise ToolError(f'Tool "{name}" was ended: {explain(outcome, job)}.')
    if lines.answer is not None and "error" in lines.answer:
        raise ToolError(str(lines.answer["error"])[:LOGGED_CHARS])
    if outcome.code:
        raise ToolError(f'Tool "{name}" failed with exit code {outcome.code}.')
    if lines.answer is None:
        raise ToolError(f'Tool "{name}" ended without a result.')
    return lines.answer["result"]
