"""Wire names, all of them: an event becomes one SSE frame.

Law: `spec/http-and-sse.md` §3. The JSON is a superset: the seed's keys and the
reference client's keys, plus `type` and `timestamp`. One event, one frame, one
line of data. Nothing else in the project knows these names.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, assert_never

import msgspec

from agentsite.engine import events as e
from agentsite.engine.deltas import Usage
from agentsite.engine.transcript import timestamp

KEEPALIVE = b": keepalive\n\n"
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=256)
def _stamp(at: int) -> bytes:
    """A time as text; at full load many events share a millisecond."""
    return timestamp(at).encode()


def encode_entry(entry: e.Entry) -> bytes:
    """The frame of one logged event; equal for equal entries, on every process."""
    event = entry.event
    if type(event) is e.TextStreamed:  # by far the most frequent: no dictionaries
        text = _encode(event.text)
        return (
            b'id: %d\nevent: text_delta\ndata: {"type":"text_delta","timestamp":"%s",'
            b'"delta":%s,"content":%s}\n\n' % (entry.seq, _stamp(entry.at), text, text)
        )
    name, payload = to_wire(event)
    data = _encode({"type": name, "timestamp": timestamp(entry.at), **payload})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, name.encode(), data)


def encode_unlogged(event: e.AnyEvent, at: int) -> bytes:
    """A frame that is not in the log and has no number (the end of a parked response)."""
    name, payload = to_wire(event)
    data = _encode({"type": name, "timestamp": timestamp(at), **payload})
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def entry_to_api(entry: e.Entry) -> dict[str, Any]:
    """A logged event as JSON lists show it: number, name, and the frame's own data."""
    name, payload = to_wire(entry.event)
    data = {"type": name, "timestamp": timestamp(entry.at), **payload}
    return {"id": entry.seq, "event": name, "data": data}


def usage_to_wire(usage: Usage) -> dict[str, int]:
    """The five keys of the reference; the classes add up to `total_tokens`."""
    return {
        "input_tokens": usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h,
        "output_tokens": usage.output + usage.reasoning,
        "cached_tokens": usage.cache_read,
        "cache_creation_tokens": usage.cache_write + usage.cache_write_1h,
        "total_tokens": usage.total,
    }


def cost_to_wire(micros: int | None) -> dict[str, Any]:
    return {"currency": "USD", "estimatedCostMicros": micros}


def _both(**pairs: Any) -> dict[str, Any]:
    return {key: value for key, value in pairs.items() if value is not None}


def to_wire(event: e.AnyEvent) -> tuple[str, dict[str, Any]]:  # noqa: C901 - one case per event
    """Wire name and payload of an event."""
    match event:
        case e.Init(session_id, run_id, message, queued, automation):
            return "init", {
                "sessionId": session_id,
                "session_id": session_id,
                "runId": run_id,
                "message": message,
                **_both(queued=queued, automation=automation or None),
            }
        case e.UserJoined(message):
            return "user_message", {"message": message}
        case e.MessagesRemoved(run_id, message_ids):
            return "messages_removed", {"runId": run_id, "messageIds": message_ids}
        case e.TextStreamed(text):
            return "text_delta", {"delta": text, "content": text}
        case e.ThinkingStreamed(text):
            return "thinking_delta", {"delta": text}
        case e.ToolStarted():
            return "tool_call_start", {
                "name": event.name,
                "tool_name": event.name,
                "id": event.id,
                "tool_id": event.id,
                "args": event.arguments,
                "parameters": event.arguments,
                **_both(running_label=event.running_label, completed_label=event.completed_label),
                **({"internal": True} if event.internal else {}),
            }
        case e.ToolProgressed(call_id, data):
            return "tool_call_progress", {"id": call_id, "tool_id": call_id, "data": data}
        case e.ToolLogged(call_id, name, message):
            return "tool_log", {
                "tool_name": name,
                "id": call_id,
                "tool_id": call_id,
                "message": message,
            }
        case e.ToolRelabelled(call_id, running, completed, name):
            return "tool_label_update", {
                "tool_name": name,
                "id": call_id,
                "tool_id": call_id,
                **_both(running_label=running, completed_label=completed),
            }
        case e.PlanModeChanged(action, plan):
            return "plan_mode", {"action": action, **_both(plan=plan)}
        case e.FieldsScrubbed(connection, endpoint, count):
            return "field_scrub", {
                "connection": connection,
                "endpoint": endpoint,
                "stripped_count": count,
            }
        case e.ToolEnded():
            return "tool_call_result", _tool_result(event)
        case e.SubagentReported():
            return "subagent_event", _subagent(event)
        case e.SkillActivated(skill):
            return "skill_activated", {"skill": skill, "skill_name": skill}
        case e.WidgetShown(widget, data):
            # The one frame whose JSON `type` is not the event's name: the seed's client reads it.
            return "widget", {
                "type": widget,
                "widget_type": widget,
                "data": data,
                **({"tool_id": event.call_id} if event.call_id else {}),
            }
        case e.KnowledgeProposed(proposal):
            return "kb_proposal", {**proposal, "proposal": proposal}
        case e.ConfirmationRequired():
            return "confirmation_required", _confirmation(event)
        case e.UserAsked(interaction_id, call_id, questions):
            return "ask_user", {
                "ask_id": interaction_id,
                "interactionId": interaction_id,
                "tool_id": call_id,
                "questions": questions,
            }
        case e.ChoiceAsked():
            return "ask_choice", {
                "ask_id": event.interaction_id,
                "interactionId": event.interaction_id,
                "tool_id": event.call_id,
                "question": event.question,
                "options": event.options,
                "multi": event.multi,
            }
        case e.Approved(action, interaction_id, call_id):
            return "approved", _decision(action, interaction_id, call_id)
        case e.Denied(action, interaction_id, call_id):
            return "denied", _decision(action, interaction_id, call_id)
        case e.CredentialSaved(connection):
            return "credential_saved", {"connection": connection, "connection_name": connection}
        case e.CompactionStarted(estimated, threshold):
            return "compaction_start", {"estimated_tokens": estimated, "threshold": threshold}
        case e.CompactionEnded(before, after, spent, summary):
            return "compaction_end", {
                "tokens_before": before,
                "tokens_after": after,
                "compaction_tokens": spent,
                **_both(message=summary),
            }
        case e.ContextMeasured(tokens, window, used):
            return "context_usage", {"input_tokens": tokens, "window": window, "used_pct": used}
        case e.ProviderSwitched(source, target, reason):
            return "provider_switched", {"from": source, "to": target, "reason": reason}
        case e.TitleChanged(title):
            return "title_changed", {"title": title}
        case e.Noticed(message, level):
            return "notice", {"message": message, "level": level}
        case e.RunResumed(attempt, discard_from):
            return "run_resumed", {"attempt": attempt, "discardFrom": discard_from}
        case e.Failed(message, code, retryable):
            return "error", {"message": message, "code": code, "retryable": retryable}
        case e.Done(reason, usage, micros, run_id):
            return "done", {
                "reason": reason,
                "usage": usage_to_wire(usage),
                "cost": cost_to_wire(micros),
                "runId": run_id,
            }
        case _:
            assert_never(event)


def subagent_event(event: e.AnyEvent) -> dict[str, Any]:
    """A sub-agent's own event object, `{type, …}`: the seed's names, each thing once."""
    match event:
        case e.TextStreamed(text):
            return {"type": "text_delta", "delta": text}
        case e.ToolStarted():
            return {
                "type": "tool_call_start",
                "name": event.name,
                "id": event.id,
                "args": event.arguments,
                **_both(running_label=event.running_label, completed_label=event.completed_label),
                **({"internal": True} if event.internal else {}),
            }
        case e.ToolEnded():
            told = _tool_result(event)
            return {"type": "tool_call_result", **{k: told[k] for k in told if k != "tool_id"}}
        case _:
            name, payload = to_wire(event)
            return {**payload, "type": name}


SUBAGENT_WORDS = {
    "tool_call_result": "tool_call_end",
    "text_delta": "thought",
    "done": "complete",
}
"""The reference's names for what a sub-agent does, where they are not ours."""


def _subagent(event: e.SubagentReported) -> dict[str, Any]:
    told = event.event
    kind = told.get("type", "")
    failed = kind == "error" or told.get("status") == "error"
    return {
        "agentId": event.agent_id,
        "agent_name": event.agent_name,
        "parent_tool_id": event.parent_tool_id,
        "event_type": SUBAGENT_WORDS.get(kind, kind),
        **_both(
            tool_name=told.get("name"),
            tool_args=told.get("args"),
            result=told.get("result"),
            text=told.get("delta", told.get("text")),
            error=told.get("message", told.get("result")) if failed else None,
        ),
        "event": told,
    }


def _tool_result(event: e.ToolEnded) -> dict[str, Any]:
    return {
        "id": event.id,
        "tool_id": event.id,
        "name": event.name,
        "status": "success" if event.ok else "error",
        "result": event.result,
        **({"content": event.content} if event.content else {}),
        **({} if event.ok else {"error": event.result}),
        "duration_ms": event.duration_ms,
    }


def _confirmation(event: e.ConfirmationRequired) -> dict[str, Any]:
    return {
        "action": event.action,
        "details": event.details,
        "correlation_id": event.interaction_id,
        "interactionId": event.interaction_id,
        "tool_id": event.call_id,
        "connection_name": event.connection,
        "endpoint": event.endpoint,
        "method": event.method,
        "params": event.params,
        "reason": event.reason,
        "escalated": event.escalated,
    }


def _decision(action: str, interaction_id: str, call_id: str) -> dict[str, Any]:
    return {
        "action": action,
        "interactionId": interaction_id,
        "resource_type": "tool_call",
        "preview_id": call_id,
    }
