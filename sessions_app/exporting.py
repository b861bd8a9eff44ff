"""A run or a session as one JSON document: rows, log, and what models were sent."""

from __future__ import annotations

from typing import Any

from agentsite.rows.tenants import describe_row
from sessions_app.models import (
    EventBatch,
    Interaction,
    Message,
    ModelCall,
    Prompt,
    PromptPiece,
    Run,
    Session,
    Subagent,
    ToolCall,
)

FORMAT = "agentsite-run/1"
FORMAT_OF_SESSION = "agentsite-session/1"


def export_session(session: Session) -> dict[str, Any]:
    """Everything that is kept of a session: each of its runs as `export_run` has it."""
    runs = session.runs.order_by("created_at", "pk").select_related("session")
    return {
        "format": FORMAT_OF_SESSION,
        "session": describe_row(session),
        "runs": [export_run(run) for run in runs],
    }


def export_run(run: Run) -> dict[str, Any]:
    """Everything that is kept of a run, as JSON values."""
    prompts = list(Prompt.objects.filter(session_id=run.session_id, run_id=run.pk))
    wanted = {digest for row in prompts for digest in (row.system, row.tools, *row.messages)}
    pieces = PromptPiece.objects.filter(session_id=run.session_id, digest__in=wanted)
    tables: dict[str, Any] = {
        "messages": Message.objects.filter(run=run).order_by("position"),
        "toolCalls": ToolCall.objects.filter(run=run).order_by("created_at", "position"),
        "subagents": Subagent.objects.filter(run=run).order_by("created_at"),
        "interactions": Interaction.objects.filter(run=run).order_by("created_at"),
        "modelCalls": ModelCall.objects.filter(run_id=run.pk).order_by("pk"),
        "events": EventBatch.objects.filter(run=run).order_by("first_seq"),
        "prompts": prompts,
        "promptPieces": pieces,
    }
    rows = {name: [describe_row(row) for row in found] for name, found in tables.items()}
    return {
        "format": FORMAT,
        "session": describe_row(run.session),
        "run": describe_row(run),
        **rows,
    }
