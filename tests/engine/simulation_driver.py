"""One attempt of one run, played on values in exactly the order of `agentsite.host`.

Law: what works beside the loop posts to the inbox; the machine is told one thing at
a time, and what it wants is done in the order in which it wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from agentsite.engine import events as e, steps
from agentsite.engine.assemble import Assembly
from agentsite.engine.compaction import split_for_compaction, summary_message, window_cut
from agentsite.engine.deltas import TextDelta, Usage
from agentsite.engine.history import clear_old_results, repair
from agentsite.engine.limits import sha256_hex
from agentsite.engine.messages import Message, TextPart, ToolCallPart, ToolResultPart, user_message
from agentsite.engine.transcript import message_id, summary_to_api, user_to_api
from tests.engine.simulation_checks import check_request
from tests.engine.simulation_children import Children
from tests.engine.simulation_journal import Journal
from tests.engine.simulation_model import (
    CONFIGS,
    TOOLS,
    Script,
    ended_call,
    plan_call,
    write_script,
)
from tests.engine.simulation_rows import MessageRow, QuestionRow, Remembered, RunRow, widget_row

if TYPE_CHECKING:
    from tests.engine.simulation import World

CONTINUE = "Go on."


class GivenAnswer(msgspec.Struct, frozen=True):
    """A person's decision on its way to the run."""

    interaction_id: str


Posted = steps.Incoming | GivenAnswer


class Driver(Journal):
    """See `agentsite.host.driver.Driver`, `answer.Answer` and `calls.Calls`."""

    def __init__(
        self, world: World, run: RunRow, history: list[Remembered], first: tuple[Posted, ...]
    ) -> None:
        super().__init__(world, run)
        self.history = history
        self.inbox: deque[Posted] = deque(first)
        said = [row.message for row in self.rows.messages if row.run_id == run.id]
        self.said = [message.id for message in said]
        """Ids of the run's messages."""
        self.places = sum(message.role == "assistant" for message in said)
        self.script: Script | None = None
        self.assembly = Assembly()
        self.whole: Message | None = None
        self.first_text: e.Entry | None = None
        self.turn: tuple[int, tuple[ToolCallPart, ...]] = (0, ())
        self.results: dict[str, ToolResultPart] = {}
        self.running: set[str] = set()
        self.children = Children(self)
        self.widgets: dict[str, list[Any]] = {}
        self.summarising = False
        self.summary: tuple[Message, int, list[Remembered], int] | None = None
        self.cut = self.steered = self.rolled_back = False
        self.hint = ""
        self.request: tuple[Message, ...] = ()

    # ---- the loop --------------------------------------------------------------------

    def tick(self) -> None:
        """One thing of all that could happen now."""
        could: list[Callable[[], None]] = [self._process, self._process] if self.inbox else []
        if self.script is not None:
            could.append(self._stream)
        if self.summarising:
            could.append(self._summarise)
        could += [partial(self._work, call_id) for call_id in sorted(self.running)]
        assert could, f"the run hangs: {self.state.phase}"
        self.rng.choice(could)()

    def _process(self) -> None:
        posted = self.inbox.popleft()
        incoming = self._take(posted) if isinstance(posted, GivenAnswer) else posted
        if isinstance(incoming, steps.ChildWaits):
            self.children.look_again(incoming.call_id)
        if incoming is not None and not self._is_late(incoming):
            self.state, effects = self.watch.advance(self.state, incoming)
            for effect in effects:
                self._perform(effect)
        if self.state.phase == "confirming" and not self.inbox:
            self.parked = True
            self.write(bool)
        self.commit()

    def _is_late(self, incoming: steps.Incoming) -> bool:
        if isinstance(incoming, steps.CallFinished | steps.ConfirmationNeeded | steps.ChildWaits):
            return not any(call.id == incoming.call_id and call.open for call in self.state.calls)
        return False

    def _perform(self, effect: steps.Effect) -> None:  # noqa: C901 - one case per effect
        match effect:
            case steps.Emit(event):
                self._emit_in_step(event)
            case steps.Prepare():
                self.commit()
                self._absorb()
                self.commit()
                if self.rng.random() < self.world.disturbance:
                    self.world.steer(self)  # while the rows were written
                self.inbox.append(self._measure())
            case steps.CallModel():
                if self.rng.random() < 0.2:
                    self.write(bool)  # nothing forbids to save the state here
                self.commit()
                self._ask()
            case steps.RecordTurn(partial):
                self._record(partial)
            case steps.StartCalls(call_ids):
                self.write(self._start_calls, call_ids)
                self.commit()
                self.running |= set(call_ids)
            case steps.Dispatch(call_ids):
                self.write(self._start_calls, call_ids)
                self.commit()
                self.children.start(call_ids)
            case steps.SettleCalls(call_ids, status, text):
                for call_id in call_ids:
                    self.children.close(call_id)
                    self.settle_unrun(call_id, status, text)
            case steps.AskPerson(call_ids):
                for call_id in call_ids:
                    self._open_question(call_id)
            case steps.Park():
                pass  # once nothing waits any more, see `_process`
            case steps.Compact():
                self.commit()
                self.summarising = True
            case steps.CutWindow():
                self.cut = True
                self.inbox.append(steps.Compacted(9, 8, 0, fits=True))
            case steps.Say(text):
                position = self.add(e.TextStreamed(text))
                self._add_message(Message("assistant", (TextPart(text),)), position)
            case steps.Hint(text):
                self.hint = text
            case steps.StopWork():
                self._stop_work()
            case steps.Finish(reason):
                if self.rolled_back:
                    self.add(e.MessagesRemoved(self.run.id, tuple(self.said)))
                    self.write(self.rows.remove_run, self.run)
                self.add(e.Done(reason, Usage(), 0, self.run.id))
            case _:
                assert_never(effect)

    def _emit_in_step(self, event: e.AnyEvent) -> None:
        seq = self.add(event)
        if isinstance(event, e.Failed):
            self.write(setattr, self.run, "error", (event.message, self.at))
        if isinstance(event, e.CompactionEnded) and self.summary is not None:
            message, covers, kept, at = self.summary
            row = MessageRow(self.run.id, seq, at, message, covers_until=covers)
            self.said.append(message.id)
            self.write(self.rows.add_message, row)
            self.history = [(seq, message), *kept]
            self.summary = None

    def _add_message(
        self, message: Message, position: int, at: int | None = None, partial: bool = False
    ) -> Message:
        """Append to rows and history; an assistant message gets its id."""
        if message.role == "assistant":
            self.places += 1
            message = msgspec.structs.replace(message, id=message_id(self.run.id, self.places))
        self.said.append(message.id)
        at = self.at if at is None else at
        row = MessageRow(self.run.id, position, at, message, partial)
        self.write(self.rows.add_message, row, message.tool_calls)
        self.history.append((position, message))
        return message

    # ---- the request -----------------------------------------------------------------

    def _absorb(self) -> None:
        """Messages join where a turn ends, never within one."""
        if not self.steered:
            return
        self.steered = False
        for message in self.rows.steering:
            self.join(message)
        self.write(self.rows.steering.clear)

    def join(self, message: Message) -> None:
        shown = user_to_api(message, self.at, self.run.id)
        self._add_message(message, self.add(e.UserJoined(shown)))

    def _measure(self) -> steps.Incoming:
        assert self.history == self.rows.load_history(), "memory and rows tell different stories"
        if self.rng.random() < 0.01:
            return steps.Cancelled("budget_exceeded")
        messages = clear_old_results(repair([message for _, message in self.history]))
        if self.rng.random() < self.world.pressure and not self.cut:
            return steps.ContextFull(9, 8)
        if self.cut:
            messages = window_cut(messages, self.rng.choice((0, 40, 200)))
        lines = [self.hint] if self.hint else []
        if messages[-1].role == "assistant":  # an answer that outgrew the window ends there
            lines.append(CONTINUE)
        self.request = (*messages, *map(user_message, lines))
        return steps.ContextReady()

    def _ask(self) -> None:
        self.hint = ""
        check_request(self.request, self.rng.choice(list(CONFIGS)))
        self.assembly, self.whole, self.first_text = Assembly(), None, None
        if refusal := self.world.refuse_money():
            self.inbox.append(refusal)
            return
        self.script = write_script(self.rng, self.world.manner, self.world.unique())
        if self.script.switched:
            self.flush((e.ProviderSwitched("a/b", "c/d", "server"),))

    def _stream(self) -> None:
        script = self.script
        assert script is not None
        if script.batches:
            batch = script.batches.pop(0)
            self.assembly.feed(batch)
            if text := "".join(delta.text for delta in batch if isinstance(delta, TextDelta)):
                entry = self.emit(e.TextStreamed(text))
                self.first_text = self.first_text or entry
            if self.block_end - self.last_seq < 4:
                self.flush()
            return
        self.script = None
        if script.failure is not None:
            self.inbox.append(steps.ModelFailed(script.failure, "It broke."))
            return
        self.whole = self.assembly.message(self.world.call_id, script.provider)
        self.inbox.append(steps.ModelFinished(tuple(map(plan_call, self.whole.tool_calls))))

    def _record(self, partial: bool) -> None:
        message = self.assembly.partial() if partial or self.whole is None else self.whole
        if not partial:
            self.add(e.ContextMeasured(1, 10, 10.0))
        if not message.text and not message.tool_calls:  # nothing that anybody was shown
            return
        first = self.first_text
        position, at = (first.seq, first.at) if first else (self.next_seq, None)
        for call in message.tool_calls:
            self.add(e.ToolStarted(call.id, call.name, call.arguments))
        self._add_message(message, position, at, partial)
        if message.tool_calls:
            self.begin_turn(position, {}, *message.tool_calls)

    # ---- calls -----------------------------------------------------------------------

    def _start_calls(self, call_ids: tuple[str, ...]) -> None:
        for call_id in call_ids:
            assert self.rows.calls[call_id].open
            self.rows.calls[call_id].status = "running"

    def _work(self, call_id: str) -> None:
        """A running tool does something."""
        if TOOLS[self.rows.calls[call_id].part.name].dispatch:
            self.children.work(call_id)
            return
        tool = TOOLS[self.rows.calls[call_id].part.name]
        event = e.WidgetShown("card", {"of": call_id}, call_id)
        match self.rng.random():
            case chance if chance < 0.15:
                self.flush((event,))
                self.widgets.setdefault(call_id, []).append(widget_row(self.last_seq, event))
            case chance if chance < 0.25:
                self.flush((e.ToolProgressed(call_id, 1),))
            case chance if chance < 0.6 and self._may_ask(call_id):
                self.running.discard(call_id)
                self.inbox.append(steps.ConfirmationNeeded(call_id))
            case _:
                self.running.discard(call_id)
                self.settle(call_id, "error" if self.rng.random() < 0.2 else "ok", tool.stops)

    def _may_ask(self, call_id: str) -> bool:
        """A tool asks late only before any effect, so it has shown nothing; and it asks once."""
        asked = any(row.event.call_id == call_id for row in self.rows.questions.values())
        name = self.rows.calls[call_id].part.name
        return TOOLS[name].asks_late and not asked and call_id not in self.widgets

    def settle(self, call_id: str, status: Any, stop: bool = False, turns: int = 0) -> None:
        text = "done" if self.world.manner == "repeating" else f"done {self.rng.randrange(3)}"
        part = self._result(call_id, status, text)
        seq = self.last_seq + 1
        widgets = self.widgets.get(call_id)
        settle = partial(self.rows.settle, call_id, status, text, widgets, stop)
        self.flush((ended_call(part),), (settle, partial(self.advance_last_seq, seq)))
        self._keep(part)
        outcome = sha256_hex(status, text)
        self.inbox.append(steps.CallFinished(call_id, status, outcome, stop, turns))

    def settle_unrun(self, call_id: str, status: Any, text: str) -> None:
        if call_id in self.results:  # it ended while it was being stopped
            return
        part = self._result(call_id, status, text)
        self.add(ended_call(part))
        self.write(self.rows.settle, call_id, status, text)
        self._keep(part)

    def _result(self, call_id: str, status: Any, text: str) -> ToolResultPart:
        name = next(call.name for call in self.turn[1] if call.id == call_id)
        return ToolResultPart(call_id, name, status, (TextPart(text),))

    def _keep(self, part: ToolResultPart) -> None:
        self.results[part.call_id] = part
        self._close_turn()

    def begin_turn(
        self, position: int, settled: dict[str, ToolResultPart], *calls: ToolCallPart
    ) -> None:
        """A turn asks for these calls; some may have their result already, after a crash."""
        self.turn, self.results, self.widgets = (position, calls), settled, {}
        self._close_turn()

    def _close_turn(self) -> None:
        """Once all results are there, they stand directly behind their calls."""
        position, calls = self.turn
        if calls and all(call.id in self.results for call in calls):
            parts = tuple(self.results[call.id] for call in calls)
            place = next(n for n, (seq, _) in enumerate(self.history) if seq == position)
            self.history.insert(place + 1, (position, Message("tool", parts)))

    def _stop_work(self) -> None:
        self.script, self.summarising = None, False
        for call_id in sorted(self.running):
            self.running.discard(call_id)
            if call_id not in self.rows.children:  # those are closed with the call
                self.settle(call_id, self.rng.choice(("ok", "interrupted", "interrupted")))

    # ---- people ----------------------------------------------------------------------

    def _open_question(self, call_id: str) -> None:
        name = next(call.name for call in self.turn[1] if call.id == call_id)
        id = f"int_{self.world.unique()}"
        event: e.ConfirmationRequired | e.UserAsked = e.ConfirmationRequired(id, call_id, name, {})
        if TOOLS[name].question:
            event = e.UserAsked(id, call_id, ({"q": "?"},))
        self.add(event)
        self.write(self.rows.questions.__setitem__, id, QuestionRow(self.run.id, event))
        # Not under way any more: a crash must not take it for a call of unknown outcome.
        self.write(lambda: setattr(self.rows.calls[call_id], "status", "held"))

    def _take(self, given: GivenAnswer) -> steps.Incoming | None:
        row = self.rows.questions[given.interaction_id]
        call_id = row.event.call_id
        if call_id in self.rows.calls and self.rows.calls[call_id].parent:
            return self.children.take(given.interaction_id, row)
        if not any(c.id == call_id and c.status == "asked" for c in self.state.calls):
            return None
        approved = row.status in ("approved", "answered")
        self.add((e.Approved if approved else e.Denied)("act", given.interaction_id, call_id))
        if row.status == "answered":
            self.settle_unrun(call_id, "ok", "blue")
        if row.message is not None:
            self.join(row.message)
        if row.status == "answered":
            return steps.CallFinished(call_id, "ok", sha256_hex("ok", "blue"))
        return steps.Answered(call_id, approved, expired=row.status == "expired")

    # ---- compaction ------------------------------------------------------------------

    def _summarise(self) -> None:
        self.summarising = False
        if self.rng.random() < self.world.summary_trouble:
            self.inbox.append(steps.CompactionFailed())
            return
        split = split_for_compaction(repair([m for _, m in self.history]), self.rng.choice((8, 90)))
        if not split.older:
            self.inbox.append(steps.Compacted(9, 9, 0, fits=False))
            return
        cut = next(seq for seq, message in self.history if message.id == split.recent[0].id)
        message = summary_message("They talked.", f"sum_{self.world.unique()}")
        kept = [item for item in self.history if item[0] >= cut and item[1].role != "summary"]
        at = self.world.now()
        self.summary = (message, cut - 1, kept, at)
        shown = summary_to_api(message.id, message.text, at, self.run.id)
        fits = self.rng.random() < 0.8
        self.inbox.append(steps.Compacted(9, 8, 1, fits, shown))
