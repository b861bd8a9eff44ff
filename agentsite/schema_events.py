"""The SSE events and what their data carries, for the OpenAPI document.

Law: one line for each wire name of `host.wire` (a test checks it).
"""

from __future__ import annotations

EVENTS = {
    "init": "`sessionId`, `runId`, `message` (the user's), `queued`; the first of every run",
    "user_message": "`message`: one that joined the run later",
    "messages_removed": "`runId`, `messageIds[]`",
    "text_delta": "`delta`",
    "thinking_delta": "`delta`, where the agent shows reasoning",
    "tool_call_start": "`id`, `name`, `args`, `running_label`, `completed_label`",
    "tool_call_progress": "`id`, `data`",
    "tool_log": "`id`, `tool_name`, `message`",
    "tool_label_update": "`id`, `tool_name`, `running_label`, `completed_label`",
    "tool_call_result": "`id`, `name`, `status` (`success`, `error`), `result`, `duration_ms`",
    "plan_mode": "`action` (`enter`, `approve`, `exit`), `plan`",
    "field_scrub": "`connection`, `endpoint`, `stripped_count`",
    "subagent_event": "`agentId`, `agent_name`, `parent_tool_id`, `event`",
    "skill_activated": "`skill`",
    "widget": "`type` and `widget_type` (both the widget's), `data`",
    "kb_proposal": "`proposal`",
    "confirmation_required": "`interactionId`, `action`, `details`: a person must decide",
    "ask_user": "`interactionId`, `questions[]`",
    "ask_choice": "`interactionId`, `question`, `options[]`, `multi`",
    "approved": "`interactionId`, `action`",
    "denied": "`interactionId`, `action`",
    "credential_saved": "`connection`",
    "compaction_start": "`estimated_tokens`, `threshold`",
    "compaction_end": "`tokens_before`, `tokens_after`, `compaction_tokens`",
    "context_usage": "`input_tokens`, `window`, `used_pct`",
    "provider_switched": "`from`, `to`, `reason`",
    "title_changed": "`title`",
    "notice": "`message`, `level`",
    "run_resumed": "`attempt`, `discardFrom`: later events of this run, up to here, do not count",
    "error": "`message`, `code`, `retryable`",
    "done": "`reason`, `usage`, `cost`, `runId`; the last of every run",
}
