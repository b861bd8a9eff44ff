"""The tool calls of a run: started, journalled, settled, each exactly once."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from django.conf import settings

from agentsite.engine import steps
from agentsite.engine.events import AnyEvent, ToolEnded, ToolRelabelled, WidgetShown
from agentsite.engine.limits import sha256_hex
from agentsite.engine.messages import (
    ImagePart,
    Message,
    ResultStatus,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.transcript import widget_to_api
from agentsite.host.manifest_news import tell_file
from agentsite.host.output_guard import guard_event, guard_result, note_leak
from agentsite.host.patience import patient_unit
from agentsite.host.paying import RunPays
from agentsite.host.questions import must_ask
from agentsite.host.redaction import LOGS
from agentsite.operations import audit
from agentsite.rows.units import unit
from agentsite.telemetry import record
from agentsite.tools.base import StoredSlice, ToolContext
from agentsite.tools.executor import Settled, first_calls, run_calls
from agentsite.tools.limits import Limits
from sessions_app import actions, history
from sessions_app.late import keep_late
from sessions_app.scopes import open_credential

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

SHOWN_CHARS = 50_000
CUT_MARK = "\n[... truncated]"


@cache
def tool_limits() -> Limits:
    """What the calls of all runs of this process share."""
    return Limits(
        settings.TOOL_POOL_SIZE, settings.TOOL_QUEUE_SIZE, sandboxes=settings.SANDBOX_POOL_SIZE
    )


class Calls:
    """Calls of the turn in hand, and their results until all are there."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._turn: tuple[int, tuple[ToolCallPart, ...]] = (0, ())
        self._results: dict[str, ToolResultPart] = {}
        self._widgets: dict[str, list[dict[str, Any]]] = {}
        self._intended: set[str] = set()
        """Calls that the journal knows to be under way."""

    def begin(
        self, position: int, calls: tuple[ToolCallPart, ...], settled: tuple[ToolResultPart, ...]
    ) -> None:
        """A turn asks for these calls; some may have their result already (after a crash)."""
        self._turn = (position, calls)
        self._results = {result.call_id: result for result in settled}
        self._widgets = {}
        self._close_turn()

    @property
    def size(self) -> int:
        """How many calls this turn asks for."""
        return len(self._turn[1])

    def place(self, call_id: str) -> int:
        """Place of a call among them, from 0."""
        return next(n for n, call in enumerate(self._turn[1]) if call.id == call_id)

    def pick(self, call_ids: tuple[str, ...]) -> list[ToolCallPart]:
        """Calls of this turn by id, in call order."""
        wanted = set(call_ids)
        return [call for call in self._turn[1] if call.id in wanted]

    def intend(self, call_ids: tuple[str, ...]) -> None:
        """Write down, with the driver's step, that these calls are about to be made."""
        self._intended.update(call_ids)
        self._driver.step.write(actions.start_calls, self._driver.ref, call_ids)

    def first_of(self, call_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Those of these calls that wait for no other."""
        conversation = self._driver.conversation
        most = conversation.agent.block.tool_concurrency
        first = first_calls(self.pick(call_ids), conversation.tools, most)
        return tuple(call.id for call in first)

    async def _intend_one(self, call: ToolCallPart) -> None:
        """The same of one that has waited: a crash before that leaves it surely not started."""
        if call.id not in self._intended:
            self._intended.add(call.id)
            write = partial(actions.start_calls, self._driver.ref, (call.id,))
            await self._driver.journal.commit(self._driver.log, (), write)

    async def run(self, call_ids: tuple[str, ...]) -> None:
        """Run calls of this turn; each posts `CallFinished` as it ends."""
        driver = self._driver
        await run_calls(
            self.pick(call_ids),
            driver.conversation.tools,
            self._make_context,
            concurrency=driver.conversation.agent.block.tool_concurrency,
            timeout_s=driver.conversation.agent.block.tool_timeout,
            settled=self.settle,
            agent=driver.conversation.agent.id,
            guard=driver.conversation.agent.guard,
            limits=tool_limits(),
            frozen=driver.caller.frozen,
            late=self._keep_late,
            begin=self._intend_one,
        )

    async def _keep_late(self, call: ToolCallPart, settled: Settled) -> None:
        """Keep what a tool said that outlived its call: the session's next message tells it."""
        told = ToolResultPart(call.id, call.name, settled.status, settled.result.parts)
        part, _ = guard_result(self._driver.conversation.redactor.struct(told))
        await patient_unit(keep_late, self._driver.ref, part)

    def settle_unrun(
        self, call_id: str, status: ResultStatus, text: str, *, outcome_unknown: bool = False
    ) -> None:
        """Give a call a result without running it (here), within the driver's step."""
        if call_id in self._results:  # it ended while it was being stopped
            return
        call = next(call for call in self._turn[1] if call.id == call_id)
        part = ToolResultPart(call_id, call.name, status, (TextPart(text),))
        step = self._driver.step
        step.add(_to_event(part, 0))
        shown = self._widgets.get(call_id, [])
        settle = partial(actions.settle_call, outcome_unknown=outcome_unknown)
        step.write(settle, self._driver.ref, call_id, status, part.content, 0, shown)
        self._keep(part)

    def open(self) -> tuple[ToolCallPart, ...]:
        """Calls of this turn that have no result yet."""
        return tuple(call for call in self._turn[1] if call.id not in self._results)

    async def settle(self, call: ToolCallPart, settled: Settled, turns: int = 0) -> None:
        """Commit a call's result and post `CallFinished`; `turns` are those of a sub-agent."""
        driver = self._driver
        if settled.status == "interrupted" and driver.root.handed_over:
            return  # another attempt makes it, makes it again, or says that nobody knows
        told = ToolResultPart(call.id, call.name, settled.status, settled.result.parts)
        part = driver.conversation.redactor.struct(told)
        part, leaked = guard_result(part)
        event = _to_event(part, settled.duration_ms)
        widgets = self._widgets.get(call.id, [])
        seq = driver.log.last_seq + 1
        stops = settled.result.stop is not None

        def write() -> None:
            if settled.denied:
                audit.record("permissions", "tool.refused", call.id, {"tool": call.name})
            if leaked:
                note_leak(call, leaked)
            actions.settle_call(
                driver.ref,
                call.id,
                part.status,
                part.content,
                settled.duration_ms,
                widgets,
                stops=stops,
            )
            actions.advance_last_seq(driver.ref, seq)

        await driver.journal.commit(driver.log, (event,), write)
        agent = driver.conversation.agent.id
        # Models make names up: as labels they would never end.
        known = call.name if call.name in driver.conversation.tools else record.UNKNOWN_TOOL
        record.tool_called(agent, known, call.id, settled.duration_ms, part.status)
        self._keep(part)
        driver.post(
            steps.CallFinished(
                call.id,
                part.status,
                result_hash=sha256_hex(part.status, settled.result.text),
                stop=stops,
                turns=turns,
                planning=settled.result.planning,
            )
        )

    def _keep(self, part: ToolResultPart) -> None:
        self._results[part.call_id] = part
        self._close_turn()

    def _close_turn(self) -> None:
        position, calls = self._turn
        if all(call.id in self._results for call in calls):
            parts = tuple(self._results[call.id] for call in calls)
            self._driver.conversation.append(position, Message("tool", parts))

    def _make_context(self, call: ToolCallPart, deadline: float) -> ToolContext:
        driver = self._driver
        conversation = driver.conversation
        return ToolContext(
            agent=conversation.agent.id,
            scope_id=conversation.scope_id,
            session_id=conversation.session_id,
            run_id=conversation.run_id,
            call_id=call.id,
            tool_name=call.name,
            user=conversation.request.user,
            deadline=deadline,
            bundle=conversation.bundle,
            send=lambda event: self._send(call, event),
            read_result=self._read_result,
            pay=RunPays(driver),
            redact=lambda value: conversation.redactor.value(value),
            tell_file=partial(tell_file, conversation.agent.id),
            context=conversation.request.context,
            open_credential=self.open_credential,
            delegated=driver.purpose == "subagent",
            caller=driver.caller,
            # What needs a person comes here only after one has approved it, to the letter.
            approved=must_ask(
                conversation.tools[call.name], call, conversation.agent.guard, driver.caller
            ),
        )

    def _send(self, call: ToolCallPart, event: AnyEvent) -> None:
        driver = self._driver
        event, leaked = guard_event(driver.conversation.redactor.struct(event))
        if leaked:
            driver.journal.enqueue(driver.log, [], partial(note_leak, call, leaked))
        if isinstance(event, ToolRelabelled):
            self._relabel(event)
            return
        driver.announce([event])
        if isinstance(event, WidgetShown):
            shown = {"seq": driver.log.last_seq, **widget_to_api(event.widget, event.data)}
            self._widgets.setdefault(call.id, []).append(shown)

    def _relabel(self, event: ToolRelabelled) -> None:
        driver, seq = self._driver, self._driver.log.last_seq + 1

        def write() -> None:
            actions.relabel_call(driver.ref, event.id, event.running_label, event.completed_label)
            actions.advance_last_seq(driver.ref, seq)

        driver.journal.enqueue(driver.log, [event], write)

    async def open_credential(self, name: str) -> str | None:
        """`scope:NAME` of the run's agent and scope; from then on it is redacted."""
        conversation = self._driver.conversation
        found = await unit(open_credential, conversation.agent.id, conversation.scope_id, name)
        if found is not None:
            conversation.learn(found)
            LOGS.learn_of_scope((found,))
        return found

    async def _read_result(self, call_id: str, offset: int, limit: int) -> StoredSlice | None:
        session_id = self._driver.conversation.session_id
        text = await unit(history.read_result_text, session_id, call_id)
        return None if text is None else StoredSlice(text[offset : offset + limit], len(text))


def _to_event(part: ToolResultPart, duration_ms: int) -> ToolEnded:
    text = "\n".join(item.text for item in part.content if isinstance(item, TextPart))
    if len(text) > SHOWN_CHARS:
        text = text[:SHOWN_CHARS] + CUT_MARK
    images = [item for item in part.content if isinstance(item, ImagePart)]
    content: tuple[dict[str, Any], ...] = ()
    if images:
        content = (
            {"type": "text", "text": text},
            *({"type": "image", "mimeType": i.media_type, "data": i.data} for i in images),
        )
    ok = part.status == "ok"
    return ToolEnded(part.call_id, part.name, ok, text, duration_ms, content, part.status)
