"""The simulation's database: rows as values, with the constraints that the real one has.

Law: a crash loses nothing that is here. History and the client's view are computed
from these rows as `sessions_app.history` and `sessions_app.projection` do it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agentsite.engine import events as e
from agentsite.engine.messages import (
    Message,
    ResultStatus,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.transcript import (
    assistant_to_api,
    error_to_api,
    interaction_to_api,
    summary_to_api,
    user_to_api,
    widget_to_api,
)
from agentsite.engine.transcript_calls import (
    Api,
    call_to_api,
    settle_api_call,
    subagent_to_api,
)

BLOCK = 24
"""Numbers that one committed write reserves; small, so that blocks run out often."""
Question = e.ConfirmationRequired | e.UserAsked | e.ChoiceAsked
Remembered = tuple[int, Message]
"""Position in the log, message."""


@dataclass
class MessageRow:
    run_id: str
    position: int
    at: int
    message: Message
    partial: bool = False
    covers_until: int = 0


@dataclass
class CallRow:
    run_id: str
    message_id: str
    part: ToolCallPart
    parent: str = ""
    """The dispatching call, when a sub-agent makes this one."""
    status: str = "held"
    text: str = ""
    stops: bool = False
    widgets: list[tuple[int, Api]] = field(default_factory=list)
    """(number of the event, widget)"""

    @property
    def open(self) -> bool:
        return self.status in ("held", "running")

    @property
    def result(self) -> ToolResultPart:
        status: ResultStatus = self.status  # type: ignore[assignment]  # settled: one of the five
        return ToolResultPart(self.part.id, self.part.name, status, (TextPart(self.text),))


@dataclass
class QuestionRow:
    run_id: str
    event: Question
    status: Literal["open", "approved", "denied", "answered", "expired", "withdrawn"] = "open"
    message: Message | None = None
    """The chat message that carried the answer."""


@dataclass
class RunRow:
    id: str
    first_seq: int
    last_seq: int
    state: bytes
    observed: object
    """What the checker had seen when the state was saved."""
    status: Literal["running", "waiting", "done"] = "running"
    attempt: int = 1
    losses: int = 0
    error: tuple[str, int] | None = None
    """Message and time."""


class Rows:
    """Every table of one session."""

    def __init__(self) -> None:
        self.title = ""
        self.reserved = 0
        self.log: list[e.Entry] = []
        self.runs: list[RunRow] = []
        self.messages: list[MessageRow] = []
        self.calls: dict[str, CallRow] = {}
        self.questions: dict[str, QuestionRow] = {}
        self.children: dict[str, int] = {}
        """Dispatching call to the model calls of its sub-agent."""
        self.steering: list[Message] = []
        """Messages that wait to join the running loop."""

    @property
    def run(self) -> RunRow:
        return self.runs[-1]

    def reserve(self) -> int:
        self.reserved += BLOCK
        return self.reserved

    def append(self, entries: list[e.Entry]) -> None:
        for entry in entries:
            assert not self.log or entry.seq > self.log[-1].seq, "a number was given out twice"
            self.log.append(entry)

    def add_message(self, row: MessageRow, held: tuple[ToolCallPart, ...] = ()) -> None:
        assert all(row.position != other.position for other in self.messages)
        assert all(row.message.id != other.message.id for other in self.messages)
        self.messages.append(row)
        self.messages.sort(key=lambda row: row.position)
        for part in held:
            assert part.id not in self.calls
            self.calls[part.id] = CallRow(row.run_id, row.message.id, part)

    def insert_user(self, run_id: str, position: int, at: int, message: Message) -> None:
        self.add_message(MessageRow(run_id, position, at, message))

    def settle(
        self,
        call_id: str,
        status: str,
        text: str,
        widgets: list[tuple[int, Api]] | None = None,
        stops: bool = False,
    ) -> None:
        call = self.calls[call_id]
        assert call.open, f"{call_id} has the result {call.status} already"
        call.status, call.text, call.widgets = status, text, widgets or []
        call.stops = stops
        self.withdraw(call_id)

    def finish(self, run: RunRow, last_seq: int) -> None:
        assert run.status != "done", "a run ended twice"
        unsettled = [c.part.id for c in self.calls.values() if c.run_id == run.id and c.open]
        assert not unsettled, f"a run ended while {unsettled} had no result"
        assert not self.open_questions(), "a question outlives its run"
        run.status, run.last_seq, self.reserved = "done", last_seq, last_seq

    def withdraw(self, call_id: str) -> None:
        for question in self.open_questions():
            if question.event.call_id == call_id:
                question.status = "withdrawn"

    def open_questions(self) -> list[QuestionRow]:
        return [row for row in self.questions.values() if row.status == "open"]

    def remove_run(self, run: RunRow) -> None:
        """Roll a run back."""
        self.messages = [row for row in self.messages if row.run_id != run.id]
        self.calls = {key: row for key, row in self.calls.items() if row.run_id != run.id}
        self.questions = {key: row for key, row in self.questions.items() if row.run_id != run.id}

    # ---- what is made of them -----------------------------------------------------------

    def load_history(self) -> list[Remembered]:
        """What the model may see."""
        summaries = [row for row in self.messages if row.message.role == "summary"]
        history: list[Remembered] = []
        covered = 0
        if summaries:
            history.append((summaries[-1].position, summaries[-1].message))
            covered = summaries[-1].covers_until
        for row in self.messages:
            if row.position <= covered or row.message.role == "summary":
                continue
            history.append((row.position, row.message))
            settled = [call.result for call in self.calls_of(row) if not call.open]
            if settled:
                history.append((row.position, Message("tool", tuple(settled))))
        return history

    def calls_of(self, row: MessageRow) -> list[CallRow]:
        return [self.calls[part.id] for part in row.message.tool_calls]

    def project(self) -> list[Api]:
        """`messages[]` of `GET /sessions/{id}`."""
        places: dict[str, int] = {}
        placed: list[tuple[int, Api]] = []
        for row in self.messages:
            match row.message.role:
                case "user":
                    shown = user_to_api(row.message, row.at, row.run_id)
                case "summary":
                    text = row.message.text
                    shown = summary_to_api(row.message.id, text, row.at, row.run_id)
                case _:
                    if not (row.message.text or row.message.tool_calls):
                        continue  # reasoning alone tells a client nothing
                    places[row.run_id] = places.get(row.run_id, 0) + 1
                    shown = self._project_answer(row, places[row.run_id])
            placed.append((row.position, shown))
        for run in self.runs:
            if run.error is not None and run.status == "done":
                placed.append((run.last_seq, error_to_api(run.id, *run.error)))
        return [shown for _, shown in sorted(placed, key=lambda pair: pair[0])]

    def _project_answer(self, row: MessageRow, place: int) -> Api:
        calls = self.calls_of(row)
        widgets = sorted((pair for call in calls for pair in call.widgets), key=lambda p: p[0])
        return assistant_to_api(
            row.run_id,
            place,
            row.at,
            row.message.text,
            [self.project_call(call) for call in calls],
            [widget for _, widget in widgets],
            row.partial,
        )

    def calls_of_child(self, parent: str) -> list[CallRow]:
        return [call for call in self.calls.values() if call.parent == parent]

    def project_call(self, call: CallRow) -> Api:
        part = call.part
        shown = call_to_api(part.id, part.name, part.arguments, None, None, False)
        if not call.open:
            settle_api_call(shown, call.status == "ok", call.text, 0)
        if part.id in self.children:
            shown["subagent"] = subagent_to_api(f"agent_{part.id}", "explore")
            shown["subagent"]["toolCalls"] = list(
                map(self.project_call, self.calls_of_child(part.id))
            )
        return shown

    def project_pending(self) -> list[Api]:
        return [interaction_to_api(row.event) for row in self.open_questions()]


def widget_row(seq: int, event: e.WidgetShown) -> tuple[int, Api]:
    return seq, widget_to_api(event.widget, event.data)
