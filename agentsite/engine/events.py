"""What clients are told. One class per event; `host.wire` gives them their wire names.

Tags are stored in the log, so they are stable. Times are milliseconds since the
epoch, UTC, and stand beside the event (`Entry`), as does its number.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from agentsite.engine.deltas import Usage

DoneReason = Literal[
    "model_stop",
    "max_turns",
    "loop_detected",
    "budget_exceeded",
    "user_abort",
    "error",
    "stopped",
    "awaiting_confirmation",
]


class Event(msgspec.Struct, frozen=True, tag_field="e", omit_defaults=True):
    """Base of all events; never instantiated itself."""


class Init(Event, frozen=True, tag="init"):
    """A run begins; always the first event of a run."""

    session_id: str
    run_id: str
    message: dict[str, Any]
    """The user's message as `GET /sessions/{id}` shows it."""
    queued: int | None = None
    """Place in the queue while the run waits."""
    automation: str = ""
    """Name of the automation whose run it is."""


class UserJoined(Event, frozen=True, tag="user_message"):
    """A user message that joined a running loop."""

    message: dict[str, Any]


class MessagesRemoved(Event, frozen=True, tag="messages_removed"):
    run_id: str
    message_ids: tuple[str, ...]


class TextStreamed(Event, frozen=True, tag="text_delta"):
    text: str


class ThinkingStreamed(Event, frozen=True, tag="thinking_delta"):
    text: str


class ToolStarted(Event, frozen=True, tag="tool_call_start"):
    """Leaves before the tool runs; all calls of a turn start before the first of them ends."""

    id: str
    name: str
    arguments: dict[str, Any]
    running_label: str | None = None
    completed_label: str | None = None
    internal: bool = False


class ToolProgressed(Event, frozen=True, tag="tool_call_progress"):
    id: str
    data: Any


class ToolLogged(Event, frozen=True, tag="tool_log"):
    id: str
    name: str
    message: str


class ToolRelabelled(Event, frozen=True, tag="tool_label_update"):
    id: str
    running_label: str | None = None
    completed_label: str | None = None
    name: str = ""


class PlanModeChanged(Event, frozen=True, tag="plan_mode"):
    action: Literal["enter", "approve", "exit"]
    plan: str | None = None


class FieldsScrubbed(Event, frozen=True, tag="field_scrub"):
    connection: str
    endpoint: str
    stripped_count: int


class ToolEnded(Event, frozen=True, tag="tool_call_result"):
    id: str
    name: str
    ok: bool
    result: str
    """Text of the result or of the error, cut at 50,000 characters."""
    duration_ms: int
    content: tuple[dict[str, Any], ...] = ()
    """Content parts, when there is more than text."""
    status: str = "ok"
    """`ok`, `error`, `denied`, `interrupted` or `expired`."""


class SubagentReported(Event, frozen=True, tag="subagent_event"):
    agent_id: str
    agent_name: str
    parent_tool_id: str
    event: dict[str, Any]


class SkillActivated(Event, frozen=True, tag="skill_activated"):
    skill: str


class WidgetShown(Event, frozen=True, tag="widget"):
    widget: str
    data: dict[str, Any]
    call_id: str = ""


class KnowledgeProposed(Event, frozen=True, tag="kb_proposal"):
    proposal: dict[str, Any]


class ConfirmationRequired(Event, frozen=True, tag="confirmation_required"):
    interaction_id: str
    call_id: str
    action: str
    details: dict[str, Any]
    connection: str | None = None
    endpoint: str | None = None
    method: str | None = None
    params: dict[str, Any] | None = None
    reason: str | None = None
    escalated: bool = False


class UserAsked(Event, frozen=True, tag="ask_user"):
    interaction_id: str
    call_id: str
    questions: tuple[dict[str, Any], ...]


class ChoiceAsked(Event, frozen=True, tag="ask_choice"):
    interaction_id: str
    call_id: str
    question: str
    options: tuple[dict[str, Any], ...]
    multi: bool = False


class Approved(Event, frozen=True, tag="approved"):
    action: str
    interaction_id: str
    call_id: str


class Denied(Event, frozen=True, tag="denied"):
    action: str
    interaction_id: str
    call_id: str


class CredentialSaved(Event, frozen=True, tag="credential_saved"):
    connection: str


class CompactionStarted(Event, frozen=True, tag="compaction_start"):
    estimated_tokens: int
    threshold: int


class CompactionEnded(Event, frozen=True, tag="compaction_end"):
    tokens_before: int
    tokens_after: int
    compaction_tokens: int
    message: dict[str, Any] | None = None
    """The summary as `GET /sessions/{id}` shows it; absent when no summary was made."""


class ContextMeasured(Event, frozen=True, tag="context_usage"):
    input_tokens: int
    window: int
    used_pct: float


class ProviderSwitched(Event, frozen=True, tag="provider_switched"):
    """A fallback answered: `provider/model` names."""

    source: str
    target: str
    reason: str


class TitleChanged(Event, frozen=True, tag="title_changed"):
    title: str


class Noticed(Event, frozen=True, tag="notice"):
    message: str
    level: Literal["info", "warning"] = "info"


class RunResumed(Event, frozen=True, tag="run_resumed"):
    """A new attempt: events of this run above `discard_from`, up to this one, do not count."""

    attempt: int
    discard_from: int


class Failed(Event, frozen=True, tag="error"):
    message: str
    code: str
    retryable: bool = False


class Done(Event, frozen=True, tag="done"):
    reason: DoneReason
    usage: Usage
    cost_micros: int | None
    """Micro-dollars; None when a price is unknown."""
    run_id: str


AnyEvent = (
    Init
    | UserJoined
    | MessagesRemoved
    | TextStreamed
    | ThinkingStreamed
    | ToolStarted
    | ToolProgressed
    | ToolLogged
    | ToolRelabelled
    | PlanModeChanged
    | FieldsScrubbed
    | ToolEnded
    | SubagentReported
    | SkillActivated
    | WidgetShown
    | KnowledgeProposed
    | ConfirmationRequired
    | UserAsked
    | ChoiceAsked
    | Approved
    | Denied
    | CredentialSaved
    | CompactionStarted
    | CompactionEnded
    | ContextMeasured
    | ProviderSwitched
    | TitleChanged
    | Noticed
    | RunResumed
    | Failed
    | Done
)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One line of a session's log: number, time in ms since the epoch (UTC), event."""

    seq: int
    at: int
    event: AnyEvent
