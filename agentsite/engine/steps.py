"""The words the machine speaks: its state, what comes in, what it wants done.

All are immutable JSON values. Ids, times and randomness come in from outside.
The state holds ids and counters only: messages, results and prices are rows.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from agentsite.engine.events import AnyEvent, DoneReason
from agentsite.engine.limits import RepeatTracker
from agentsite.engine.messages import ResultStatus
from agentsite.engine.ports import ErrorKind

Phase = Literal[
    "thinking", "streaming", "executing", "confirming", "compacting", "dispatching", "done"
]
CallStatus = Literal[
    "held",
    "asked",
    "approved",
    "running",
    "waiting",
    "ok",
    "error",
    "denied",
    "interrupted",
    "expired",
]
OPEN_STATUSES: frozenset[str] = frozenset({"held", "asked", "approved", "running", "waiting"})


class CallState(msgspec.Struct, frozen=True):
    """One tool call of the turn in hand."""

    id: str
    name: str
    status: CallStatus
    arguments_hash: str = ""
    dispatch: bool = False

    @property
    def open(self) -> bool:
        return self.status in OPEN_STATUSES


class RunState(msgspec.Struct, frozen=True):
    """Everything a process needs, besides rows, to go on with a run."""

    version: int = 1
    phase: Phase = "thinking"
    max_turns: int = 50
    max_tool_repeats: int = 0
    """Calls of one tool with similar arguments that may run; 0 = no limit."""
    turn: int = 0
    """Model calls begun, those of sub-agents that are done included."""
    calls: tuple[CallState, ...] = ()
    repeats: RepeatTracker = RepeatTracker()
    stopping: DoneReason | None = None
    """Set while open calls are settled before the run ends for this reason."""
    planning: bool = False
    """Nothing may be written before a person has approved the plan."""
    joined: bool = False
    """A user message waits for the next turn boundary."""
    short_compactions: int = 0
    """Compactions in a row that did not get under the threshold."""
    summary_failures: int = 0
    overflow_retried: bool = False
    closing: bool = False
    """A budget is used up: the next answer is the last, whatever it asks for."""
    reason: DoneReason | None = None


# ---- what comes in ---------------------------------------------------------------


class Begun(msgspec.Struct, frozen=True, tag=True):
    """The run starts."""


class Resumed(msgspec.Struct, frozen=True, tag=True):
    """Another attempt takes over; the journal has decided what became of the open calls."""

    settled: dict[str, ResultStatus] = {}
    """Calls whose result is known or has just been written (`interrupted` for unknown)."""
    turns: int = 0
    """Model calls of the sub-agents among them."""
    stop: bool = False
    """One of the open ones among them had wished for the end of the run."""


class ContextReady(msgspec.Struct, frozen=True, tag=True):
    """The next request fits the model's window."""


class ContextFull(msgspec.Struct, frozen=True, tag=True):
    """The next request is above the threshold."""

    estimated: int
    threshold: int


class Compacted(msgspec.Struct, frozen=True, tag=True):
    tokens_before: int
    tokens_after: int
    compaction_tokens: int
    fits: bool
    message: dict[str, object] | None = None


class CompactionFailed(msgspec.Struct, frozen=True, tag=True):
    """The summariser failed."""


class PlannedCall(msgspec.Struct, frozen=True):
    """A call of a finished turn, and what must happen before it runs."""

    id: str
    name: str
    arguments: dict[str, object]
    gate: Literal["run", "ask"] = "run"
    dispatch: bool = False


class ModelFinished(msgspec.Struct, frozen=True, tag=True):
    """The model's answer is whole."""

    calls: tuple[PlannedCall, ...] = ()


class ModelFailed(msgspec.Struct, frozen=True, tag=True):
    """The model's answer never came or was cut."""

    kind: ErrorKind
    message: str
    retryable: bool = False
    estimated: int = 0
    """Tokens of the request, as far as we could tell; of use when the window was too small."""
    threshold: int = 0


class Unaffordable(msgspec.Struct, frozen=True, tag=True):
    """The model was not asked: a budget has too little left. `closing`: for a last word it may."""

    message: str
    closing: bool = False


class CallFinished(msgspec.Struct, frozen=True, tag=True):
    """A call has its result. `stop` when the tool asked the run to end."""

    call_id: str
    status: ResultStatus
    result_hash: str = ""
    stop: bool = False
    turns: int = 0
    """Model calls that a sub-agent has used for it."""
    planning: bool | None = None
    """Whether the run plans from here on; None: as before."""


class ChildWaits(msgspec.Struct, frozen=True, tag=True):
    """A sub-agent can only go on when a person has answered a question of its own."""

    call_id: str


class ChildWoken(msgspec.Struct, frozen=True, tag=True):
    """The answer has come: the sub-agent goes on, whoever else still waits."""

    call_id: str


class ConfirmationNeeded(msgspec.Struct, frozen=True, tag=True):
    """A call found out, while it ran and before any effect, that a person must agree."""

    call_id: str


class Answered(msgspec.Struct, frozen=True, tag=True):
    """A person (or the clock: `expired`) has decided on a call."""

    call_id: str
    approved: bool
    expired: bool = False
    absent: bool = False
    """Nobody is there who could be asked."""


class Joined(msgspec.Struct, frozen=True, tag=True):
    """A user message was added to the running loop (steering)."""


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """Stop now: by a person, a budget, or the clock."""

    reason: Literal["user_abort", "budget_exceeded", "error"]
    message: str = ""
    code: str = ""


Incoming = (
    Begun
    | Resumed
    | ContextReady
    | ContextFull
    | Compacted
    | CompactionFailed
    | ModelFinished
    | ModelFailed
    | Unaffordable
    | CallFinished
    | ChildWaits
    | ChildWoken
    | ConfirmationNeeded
    | Answered
    | Joined
    | Cancelled
)


# ---- what shall be done ------------------------------------------------------------


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Build the next request and measure it: answer `ContextReady` or `ContextFull`."""


class CallModel(msgspec.Struct, frozen=True, tag=True):
    turn: int


class RecordTurn(msgspec.Struct, frozen=True, tag=True):
    """Write the assistant's message, as far as it came."""

    partial: bool = False


class StartCalls(msgspec.Struct, frozen=True, tag=True):
    """Announce these calls (unless announced) and run them."""

    call_ids: tuple[str, ...]


class Dispatch(msgspec.Struct, frozen=True, tag=True):
    """The same for calls that are sub-agents; those that had begun go on where they stood."""

    call_ids: tuple[str, ...]


class AskPerson(msgspec.Struct, frozen=True, tag=True):
    """Open an interaction for each of these calls."""

    call_ids: tuple[str, ...]


class Park(msgspec.Struct, frozen=True, tag=True):
    """Nothing to do until a person answers: let go of the run, keep the state."""


class SettleCalls(msgspec.Struct, frozen=True, tag=True):
    """Give these calls a result without running them."""

    call_ids: tuple[str, ...]
    status: ResultStatus
    text: str


class Compact(msgspec.Struct, frozen=True, tag=True):
    """Summarise the older part: answer `Compacted` or `CompactionFailed`."""


class CutWindow(msgspec.Struct, frozen=True, tag=True):
    """Drop the older part but the first user message: answer `Compacted`."""


class Say(msgspec.Struct, frozen=True, tag=True):
    """Add an assistant text that no model wrote."""

    text: str


class Emit(msgspec.Struct, frozen=True, tag=True):
    event: AnyEvent


class Hint(msgspec.Struct, frozen=True, tag=True):
    """Add one line to the model's next request, and tell the operators."""

    text: str


class StopWork(msgspec.Struct, frozen=True, tag=True):
    """Close the provider's stream and cancel what runs."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    reason: DoneReason


Effect = (
    Prepare
    | CallModel
    | RecordTurn
    | StartCalls
    | Dispatch
    | AskPerson
    | Park
    | SettleCalls
    | Compact
    | CutWindow
    | Say
    | Emit
    | Hint
    | StopWork
    | Finish
)


class IllegalInput(Exception):
    """This input does not fit the state; nothing has changed."""
