"""Runs the tool calls of one turn.

Law: each call ends in exactly one `Settled`, reported as it ends; whatever a tool
does, nothing but a failing `settled` or a cancellation comes out of `run_calls`.
Batches keep call order where an exclusive tool stands; no task outlives the call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agentsite.engine.history import UNFINISHED
from agentsite.engine.messages import ToolCallPart
from agentsite.manifest.blocks import Permissions
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult
from agentsite.tools.limits import Limits
from agentsite.tools.permissions import Guard
from agentsite.tools.results import STORED_CHARS
from agentsite.tools.threads import Stopped

logger = logging.getLogger(__name__)

GRACE_S = 2.0
"""How long a cancelled tool may take to clean up, twice, before it is given up."""
BACKOFF_S = (0.5, 1.0)
"""Pauses before the second and the third try of an idempotent tool."""


ALLOW_ALL = Guard(Permissions())


@dataclass(frozen=True, slots=True)
class Settled:
    """How a call ended. `interrupted`: it was stopped, or never started."""

    status: Literal["ok", "error", "interrupted"]
    result: ToolResult
    duration_ms: int
    denied: bool = False
    """A rule refused it: it never ran."""


MakeContext = Callable[[ToolCallPart, float], ToolContext]
"""Makes the context of a call from the call and its deadline (monotonic seconds)."""
Report = Callable[[ToolCallPart, Settled], Awaitable[None]]
Begin = Callable[[ToolCallPart], Awaitable[None]]
"""Writes down that a call is about to be made."""
TellLate = Callable[[ToolCallPart, Settled], Awaitable[None]]
"""Takes what a call came to after it had been given up and settled otherwise."""


async def run_calls(
    calls: Sequence[ToolCallPart],
    toolset: Mapping[str, Tool],
    make_context: MakeContext,
    *,
    concurrency: int,
    timeout_s: float,
    settled: Report,
    agent: str = "",
    guard: Guard = ALLOW_ALL,
    limits: Limits | None = None,
    frozen: str = "",
    late: TellLate | None = None,
    begin: Begin | None = None,
    grace_s: float = GRACE_S,
    backoff_s: Sequence[float] = BACKOFF_S,
) -> None:
    """Run calls, at most `concurrency` at a time, exclusive ones alone, and report each.

    `agent` is whose rates are counted; `guard` refuses calls, the sentence `frozen` those that
    write outside of this server's rows; `limits` are what all runs of the process share;
    `begin` is told of each call whose turn has come, before it runs.
    `timeout_s` is for tools that have no timeout of their own. When cancelled, running
    tools are cancelled, given `grace_s` twice to end, and every call without a result is
    reported as interrupted, in call order, before CancelledError goes on. An error of
    `settled` itself stops the other calls unreported and is raised.
    """
    limits = limits or Limits()
    batch = _Batch(
        toolset,
        make_context,
        timeout_s,
        settled,
        agent,
        guard,
        limits,
        late,
        frozen,
        begin,
        grace_s,
        tuple(backoff_s),
    )
    slots = asyncio.Semaphore(max(1, concurrency))
    try:
        for group in _group_calls(calls, toolset):
            async with asyncio.TaskGroup() as tasks:
                for call in group:
                    tasks.create_task(batch.run_in_slot(call, slots), name=f"tool {call.id}")
    except asyncio.CancelledError:
        await _finish_regardless(batch.interrupt(calls))
        raise
    except BaseExceptionGroup as group_error:
        raise _first_error(group_error) from None
    finally:
        batch.over.set()


def first_calls(
    calls: Sequence[ToolCallPart], toolset: Mapping[str, Tool], concurrency: int
) -> list[ToolCallPart]:
    """Those that `run_calls` begins with, before any other has ended."""
    groups = _group_calls(calls, toolset)
    return groups[0][: max(1, concurrency)] if groups else []


def _group_calls(
    calls: Sequence[ToolCallPart], toolset: Mapping[str, Tool]
) -> list[list[ToolCallPart]]:
    """Neighbours that may run together; an exclusive call is a group of its own."""
    groups: list[list[ToolCallPart]] = []
    together = False
    for call in calls:
        tool = toolset.get(call.name)
        exclusive = tool is not None and tool.exclusive
        if together and not exclusive:
            groups[-1].append(call)
        else:
            groups.append([call])
        together = not exclusive
    return groups


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass
class _Batch:
    """The calls of one `run_calls`."""

    toolset: Mapping[str, Tool]
    make_context: MakeContext
    timeout_s: float
    settled: Report
    agent: str
    guard: Guard
    limits: Limits
    late: TellLate | None
    frozen: str
    begin: Begin | None
    grace_s: float
    backoff_s: tuple[float, ...]
    denied: set[str] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)
    started: dict[str, float] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Every call of the batch is settled, or will not be."""

    async def run_in_slot(self, call: ToolCallPart, slots: asyncio.Semaphore) -> None:
        async with slots:
            if self.begin is not None:
                await self.begin(call)
            self.started[call.id] = time.monotonic()
            result = self._refuse(call) or await self._run_in_turn(call)
            await _finish_regardless(self._report(call, result))

    def _refuse(self, call: ToolCallPart) -> ToolResult | None:
        """The error of a call that has nothing to run."""
        if call.name not in self.toolset:
            names = ", ".join(sorted(self.toolset)) or "none"
            return ToolResult.fail(f'Tool "{call.name}" not found. Available tools: {names}')
        if call.invalid is not None:
            shown = call.invalid if len(call.invalid) <= 200 else f"{call.invalid[:200]}…"
            return ToolResult.fail(
                f"Invalid parameters: the arguments are not a JSON object: {shown}"
            )
        tool = self.toolset[call.name]
        verdict = self.guard.judge(tool, call.arguments)
        if verdict.decision == "deny":
            self.denied.add(call.id)
            return ToolResult.fail(f"Permission denied: {verdict.reason}.")
        if self.frozen and tool.writes_outside(call.arguments):
            self.denied.add(call.id)
            return ToolResult.fail(self.frozen)
        return None

    async def _run_in_turn(self, call: ToolCallPart) -> ToolResult:
        """Run when the limits that calls share leave room for it."""
        tool = self.toolset[call.name]
        timeout = self.timeout_s if tool.timeout_s is None else tool.timeout_s
        try:
            await self.limits.pace(self.agent, tool, call.arguments, timeout)
            async with self.limits.place(tool, call.arguments, timeout):
                self.started[call.id] = time.monotonic()
                return await self._run(call, tool, timeout)
        except ToolError as error:
            return ToolResult.fail(str(error), transient=error.transient)

    async def _run(self, call: ToolCallPart, tool: Tool, seconds: float) -> ToolResult:
        context = self.make_context(call, time.monotonic() + seconds)
        context.limits, context.host = self.limits, tool.host and tool.host(call.arguments)
        task = asyncio.create_task(self._call_tool(tool, context, call), name=f"call {call.id}")
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return _take_result(task, tool)
            await _finish_regardless(self._stop(task, tool, call, context))
            if (result := _take_effect(task)) is not None:
                return result
            return ToolResult.fail(f'Tool "{tool.name}" did not finish within {seconds:g} s.')
        except asyncio.CancelledError:
            if not task.done():
                await _finish_regardless(self._stop(task, tool, call, context))
            if (result := _take_effect(task)) is not None:
                await _finish_regardless(self._report(call, result))
            raise
        finally:
            context.closed = True

    async def _stop(
        self, task: asyncio.Task[ToolResult], tool: Tool, call: ToolCallPart, context: ToolContext
    ) -> None:
        """Cancel, wait, cancel again; a tool that shrugs off both is left behind, and named."""
        for _ in range(2):
            task.cancel()
            await asyncio.wait({task}, timeout=self.grace_s)
            if task.done():
                break
        left = [go_on() for go_on in context.left]
        if not task.done():
            left.append(task)
        if left:
            logger.error(
                "Tool %s ignores its cancellation and goes on in the background", tool.name
            )
        for work in left:
            self.limits.keep(self._await_late(work, call))

    async def _await_late(self, work: Awaitable[ToolResult], call: ToolCallPart) -> None:
        try:
            result = await _take_errors(work, call)
        except (asyncio.CancelledError, Stopped):
            return
        await self.over.wait()  # nothing comes late before it was settled otherwise
        spent = round((time.monotonic() - self.started[call.id]) * 1000)
        status: Literal["ok", "error"] = "error" if result.error else "ok"
        if self.late is not None:
            await self.late(call, Settled(status, result.cut(STORED_CHARS), spent))

    async def _call_tool(self, tool: Tool, context: ToolContext, call: ToolCallPart) -> ToolResult:
        """Call, and call again where that is allowed and promises something."""
        pauses = self.backoff_s if tool.may_retry(call.arguments) else ()
        for pause in pauses:
            result = await _call_once(tool, context, call)
            if not (result.error and result.transient):
                return result
            await asyncio.sleep(pause)
            await self.limits.pace(context.agent, tool, call.arguments, pause)
        return await _call_once(tool, context, call)

    async def _report(self, call: ToolCallPart, result: ToolResult) -> None:
        await self._settle(call, "error" if result.error else "ok", result)

    async def interrupt(self, calls: Sequence[ToolCallPart]) -> None:
        """Report every call that has no result yet."""
        for call in calls:
            if call.id not in self.reported:
                await self._settle(call, "interrupted", ToolResult.fail(UNFINISHED))

    async def _settle(
        self, call: ToolCallPart, status: Literal["ok", "error", "interrupted"], result: ToolResult
    ) -> None:
        self.reported.add(call.id)
        now = time.monotonic()
        duration_ms = round((now - self.started.get(call.id, now)) * 1000)
        denied = call.id in self.denied
        await self.settled(call, Settled(status, result.cut(STORED_CHARS), duration_ms, denied))


async def _call_once(tool: Tool, context: ToolContext, call: ToolCallPart) -> ToolResult:
    async def check_and_call() -> ToolResult:
        if problem := tool.find_problem(call.arguments):
            return ToolResult.fail(problem)
        return await tool.call(context, call.arguments)

    return await _take_errors(check_and_call(), call)


async def _take_errors(work: Awaitable[ToolResult], call: ToolCallPart) -> ToolResult:
    """The result of a tool; whatever it raises is a result, too."""
    try:
        return await work
    except ToolError as error:
        return ToolResult.fail(str(error), transient=error.transient)
    except (Exception, SystemExit):
        logger.exception("Tool %s failed in call %s", call.name, call.id)
        return ToolResult.fail(
            f'Tool "{call.name}" failed unexpectedly. '
            f"The operators find the cause in the log under {call.id}."
        )


def _take_effect(task: asyncio.Task[ToolResult]) -> ToolResult | None:
    """What a call that was stopped did all the same: that is told as it was."""
    if task.done() and not task.cancelled() and not task.result().error:
        return task.result()
    return None


def _take_result(task: asyncio.Task[ToolResult], tool: Tool) -> ToolResult:
    if task.cancelled():  # by itself or by something it waited for, not by us
        return ToolResult.fail(f'Tool "{tool.name}" broke off without a result.')
    return task.result()


async def _finish_regardless(work: Coroutine[None, None, None]) -> None:
    """Await to the end even while being cancelled; the cancellation is raised afterwards."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
