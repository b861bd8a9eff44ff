"""The sub-agents of one agent's turn: begun, driven side by side, woken, closed.

Law: a sub-agent is work beside its parent's loop, like a tool call; all that it has done is in
rows before it is told, so that another process goes on where it stood. When it waits for a
person and nothing else goes on, its parent waits too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from agentsite.engine import steps
from agentsite.engine.messages import Message, ToolCallPart
from agentsite.host.assignments import TOP_LEVELS, assign
from agentsite.host.child import Child, begin_child
from agentsite.tools.base import ToolError, ToolResult
from agentsite.tools.executor import Settled
from sessions_app.interactions import GivenAnswer
from sessions_app.subagents import StoredSubagent

if TYPE_CHECKING:
    from agentsite.host.driver import Driver


class Children:
    """Those of one driver, by the call that dispatched them."""

    def __init__(self, driver: Driver, levels: int = TOP_LEVELS) -> None:
        self._driver = driver
        self._levels = levels
        self._found: dict[str, Child] = {}
        self._live: set[str] = set()
        self._heard: set[str] = set()
        """Answers that were passed on."""
        self._slots = asyncio.Semaphore(driver.conversation.agent.block.tool_concurrency)

    def adopt(self, stored: Mapping[str, StoredSubagent]) -> None:
        """Take in those that had begun before this attempt, and theirs."""
        for call in self._driver.state.calls:
            if call.open and call.id in stored:
                child = self._found[call.id] = Child(self._driver, stored[call.id], Children)
                child.children.adopt(stored)

    # ---- work ------------------------------------------------------------------------

    async def run(self, call: ToolCallPart) -> None:
        """Begin a sub-agent, or let it go on; posts `CallFinished` or `ChildWaits`."""
        driver, began = self._driver, time.monotonic()
        self._live.add(call.id)
        try:
            async with self._slots:
                child = self._found.get(call.id) or await self._begin(call)
                done = await child.live()
        except ToolError as error:
            await driver.calls.settle(call, Settled("error", ToolResult.fail(str(error)), 0))
            return
        finally:
            self._live.discard(call.id)
        if not done:
            driver.post(steps.ChildWaits(call.id))
            return
        result = child.report()
        took = round((time.monotonic() - began) * 1000)
        status = "error" if result.error else "ok"
        await driver.calls.settle(call, Settled(status, result, took), child.state.turn)  # type: ignore[arg-type]  # one of the three

    async def _begin(self, call: ToolCallPart) -> Child:
        conversation = self._driver.conversation
        tool = conversation.tools[call.name]
        if problem := tool.find_problem(call.arguments):
            raise ToolError(problem)
        verdict = conversation.agent.guard.judge(tool, call.arguments)
        if verdict.decision == "deny":
            raise ToolError(f"Permission denied: {verdict.reason}.")
        assignment = assign(conversation.bundle, conversation.tools, self._levels, call.arguments)
        child = await begin_child(self._driver, call, assignment, Children)
        self._found[call.id] = child
        return child

    def close(self, call_id: str) -> None:
        """The call gets a result without it: settle what it had begun, in the parent's step."""
        child = self._found.get(call_id)
        if child is not None:
            child.close(self._driver)

    def turns_in_use(self) -> int:
        """Model calls of those that have not reported yet."""
        return sum(
            self._found[call.id].turns_in_use()
            for call in self._driver.state.calls
            if call.open and call.id in self._found
        )

    # ---- people ------------------------------------------------------------------------

    def list_asked(self) -> list[str]:
        """Calls of sub-agents that wait for a person."""
        return [
            asked
            for call in self._driver.state.calls
            if call.open and call.id in self._found
            for asked in self._found[call.id].asked()
        ]

    def asked(self, call_id: str) -> bool:
        """Whether this call is one of them."""
        return call_id in self.list_asked()

    def take(self, given: GivenAnswer) -> steps.Incoming | None:
        """Pass an answer on; what the machine is told when that wakes a sub-agent."""
        if given.interaction_id in self._heard:
            return None
        self._heard.add(given.interaction_id)
        driver = self._driver
        said = given.answer
        if said is not None and said.message is not None:  # it belongs to the conversation
            driver.join(msgspec.convert(said.message, Message))
            said = msgspec.structs.replace(said, message=None)
            given = msgspec.structs.replace(given, answer=said)
        parent = next(id for id, child in self._found.items() if given.call_id in child.asked())
        self._found[parent].post(given)
        woken = steps.ChildWoken(parent)
        return woken if self.is_news(woken) else None

    def is_news(self, incoming: steps.ChildWaits | steps.ChildWoken) -> bool:
        """Whether the call stands as this word presumes; an answer may overtake a question."""
        found = {call.id: call.status for call in self._driver.state.calls}
        status = found.get(incoming.call_id)
        if isinstance(incoming, steps.ChildWoken):
            return status == "waiting"
        if status != "running":
            return False
        if self._found[incoming.call_id].has_news:
            self._driver.post(steps.ChildWoken(incoming.call_id))
        return True
