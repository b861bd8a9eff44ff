"""Sub-agents of the simulation: calls of their own, questions of their own, lost and resumed.

Law: what a sub-agent has begun stands in the rows before it happens; its question parks the
run only when nothing else goes on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agentsite.engine import events as e, steps
from agentsite.engine.messages import ToolCallPart
from tests.engine.simulation_rows import CallRow, QuestionRow

if TYPE_CHECKING:
    from tests.engine.simulation_driver import Driver


class Children:
    """See `agentsite.host.children`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def start(self, call_ids: tuple[str, ...]) -> None:
        """Begin, or go on where the rows say it stood."""
        driver, rows = self._driver, self._driver.rows
        for call_id in call_ids:
            driver.running.add(call_id)
            if call_id not in rows.children:
                begun = (report(call_id, {"type": "init"}),)
                self._flush(begun, partial(rows.children.__setitem__, call_id, 0))
            for call in rows.calls_of_child(call_id):
                if call.status == "running":
                    self._settle(call_id, call, "interrupted", "nobody knows")
            if self._asks(call_id):
                driver.running.discard(call_id)
                driver.inbox.append(steps.ChildWaits(call_id))

    def _asks(self, call_id: str) -> bool:
        return any(call.status == "held" for call in self._driver.rows.calls_of_child(call_id))

    def work(self, call_id: str) -> None:
        """A sub-agent does something."""
        driver, rng, rows = self._driver, self._driver.rng, self._driver.rows
        begun = [call for call in rows.calls_of_child(call_id) if call.status == "running"]
        if rng.random() < 0.3:
            driver.emit(report(call_id, {"type": "text_delta", "delta": "hm"}))
            if driver.block_end - driver.last_seq < 4:
                driver.flush()
        elif begun:
            self._settle(call_id, begun[0], rng.choice(("ok", "error")), "found")
        elif rng.random() < 0.5 and self._may_ask_model():
            self._begin_call(call_id, asks=rng.random() < 0.4)
        else:
            driver.running.discard(call_id)
            driver.settle(call_id, "ok", turns=rows.children[call_id])

    def _may_ask_model(self) -> bool:
        """The last model call of a run is its own."""
        driver = self._driver
        under_way = sum(
            driver.rows.children.get(call.id, 0) for call in driver.state.calls if call.open
        )
        return driver.state.max_turns - driver.state.turn - under_way > 1

    def _begin_call(self, call_id: str, *, asks: bool) -> None:
        driver, rows = self._driver, self._driver.rows
        part = ToolCallPart(driver.world.call_id(), "look", {"of": call_id})
        told: list[e.AnyEvent] = [
            report(call_id, {"type": "tool_call_start", **shown(part), "args": part.arguments})
        ]
        row = CallRow(driver.run.id, "", part, call_id, "held" if asks else "running")
        question = e.ConfirmationRequired(f"int_{driver.world.unique()}", part.id, "look", {})

        def write() -> None:
            rows.children[call_id] += 1
            rows.calls[part.id] = row
            if asks:
                asked = QuestionRow(driver.run.id, question)
                rows.questions[question.interaction_id] = asked

        if asks:
            told.append(question)
        self._flush(tuple(told), write)
        if asks:
            driver.running.discard(call_id)
            driver.inbox.append(steps.ChildWaits(call_id))

    def _flush(self, told: tuple[e.AnyEvent, ...], write: Any) -> None:
        driver = self._driver
        advance = partial(driver.advance_last_seq, driver.last_seq + len(told))
        driver.flush(told, (write, advance))

    def _settle(self, call_id: str, call: CallRow, status: str, text: str) -> None:
        told = (report(call_id, ended(call.part, status, text)),)
        self._flush(told, partial(self._driver.rows.settle, call.part.id, status, text))

    def close(self, call_id: str) -> None:
        """The dispatching call is being settled: whatever it had begun is, too."""
        driver = self._driver
        for call in driver.rows.calls_of_child(call_id):
            if call.open:
                driver.add(report(call_id, ended(call.part, "interrupted", "stopped")))
                driver.write(driver.rows.settle, call.part.id, "interrupted", "stopped")

    def take(self, interaction_id: str, row: QuestionRow) -> steps.Incoming | None:
        """A person has answered a sub-agent."""
        driver, call = self._driver, self._driver.rows.calls[row.event.call_id]
        if call.status != "held":
            return None
        if row.message is not None:
            driver.join(row.message)
        approved = row.status == "approved"
        driver.add((e.Approved if approved else e.Denied)("act", interaction_id, call.part.id))
        if approved:
            driver.write(setattr, call, "status", "running")
        else:
            driver.add(report(call.parent, ended(call.part, "denied", "no")))
            driver.write(driver.rows.settle, call.part.id, "denied", "no")
        waits = any(c.id == call.parent and c.status == "waiting" for c in driver.state.calls)
        return steps.ChildWoken(call.parent) if waits else None

    def look_again(self, call_id: str) -> None:
        """The answer may have been faster than the word that it is waited for."""
        if not self._asks(call_id):
            self._driver.inbox.append(steps.ChildWoken(call_id))


def report(call_id: str, event: dict[str, Any]) -> e.SubagentReported:
    return e.SubagentReported(f"agent_{call_id}", "explore", call_id, event)


def shown(part: ToolCallPart) -> dict[str, Any]:
    return {"id": part.id, "name": part.name}


def ended(part: ToolCallPart, status: str, text: str) -> dict[str, Any]:
    told = "success" if status == "ok" else "error"
    return {
        "type": "tool_call_result", **shown(part), "status": told, "result": text, "duration_ms": 0
    }  # fmt: skip
