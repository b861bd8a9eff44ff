"""The statements that make runs and all that hangs on them.

Law: what one row says of another holds: sums are sums of the rows, numbers of events follow each
other, each call has its result. `:first` and `:last` are numbers of runs, `:runs` is all of them.
"""

from __future__ import annotations

AGENTS = 4
SCOPES = 1_000
DAYS = 30
EACH = 4
"""Runs of a session."""
LIVE = 250
"""The newest sessions end with a run that works (one of five) or waits for a person."""

RUN = "'run_' || left(md5('run' || n), 26)"
SESSION = f"'sess_' || left(md5('session' || ((n - 1) / {EACH})), 26)"
AGENT = f"'agent-' || (((n - 1) / {EACH}) % {AGENTS})"
# The product of two numbers: few scopes have many sessions, most have few.
SCOPE = (
    f"'tenant-' || (((((n - 1) / {EACH}) * 7919::bigint) % 31) * ((((n - 1) / {EACH})"
    f" * 104729::bigint) % 37) % {SCOPES})"
)
BEGAN = f"date_trunc('second', now()) - (:runs - n) * (interval '{DAYS} days' / :runs)"
IS_LIVE = f"(n > :runs - {LIVE * EACH} AND n % {EACH} = 0)"
STATUS = f"CASE WHEN NOT {IS_LIVE} THEN 'done' WHEN n % 5 = 0 THEN 'running' ELSE 'waiting' END"
REASON = (
    f"CASE WHEN {IS_LIVE} THEN '' WHEN n % 67 = 0 THEN 'error' WHEN n % 211 = 0 THEN 'user_abort'"
    " WHEN n % 997 = 0 THEN 'max_turns' WHEN n % 4999 = 0 THEN 'budget_exceeded'"
    " ELSE 'model_stop' END"
)
COST = (
    "(100 + (n * 7919::bigint + {k} * 31) % 20000) * (CASE WHEN n % 1000 = 0 THEN 150 ELSE 1 END)"
)
INPUT, OUTPUT = "(200 + (n * 31::bigint + {k}) % 3000)", "(20 + (n * 17::bigint + {k}) % 400)"


def _both(formula: str) -> str:
    """The sum over a run's two model calls."""
    return f"({formula.replace('{k}', '1')} + {formula.replace('{k}', '2')})"


SERIES = "FROM generate_series(:first::bigint, :last::bigint) n"
RUNS = f"""
INSERT INTO sessions_app_run (id, session_id, agent, scope_id, agent_version, agent_hash, status,
    attempt, losses, owner, lease_until, state, request, queue_rank, steering, parked_at,
    parked_seconds, rollback_requested, reason, error, cost_micros, cost_known, turns, first_seq,
    last_seq, created_at, ended_at, input, cache_read, cache_write, cache_write_1h, output,
    reasoning)
SELECT {RUN}, {SESSION}, {AGENT}, {SCOPE}, '1.0.0', md5({AGENT}), {STATUS}, 1, 0,
    CASE WHEN {IS_LIVE} AND n % 5 = 0 THEN 'host_made' ELSE '' END,
    CASE WHEN {IS_LIVE} AND n % 5 = 0 THEN now() + interval '30 days' END,
    jsonb_build_object('phase', 'done', 'turn', 2), '{{}}', 1, false,
    CASE WHEN {IS_LIVE} AND n % 5 <> 0 THEN now() END, 0, false, {REASON},
    CASE WHEN {REASON} = 'error' THEN jsonb_build_object('code', 'provider_server', 'message',
        'The model did not answer: overloaded', 'at', 0) END,
    {_both(COST)}, true, 2, 1 + ((n - 1) % {EACH}) * :events, (1 + (n - 1) % {EACH}) * :events,
    {BEGAN}, CASE WHEN NOT {IS_LIVE} THEN {BEGAN} + ((n * 13) % 60000) * interval '1 ms' END,
    {_both(INPUT)}, 0, 0, 0, {_both(OUTPUT)}, 0
{SERIES}
"""
# Most words are in few messages, some are in most.
TEXT = (
    "format('Please look at order %s of item%s: the word%s is word%s and word%s, as in case%s',"
    " n, n % 5000, n % 40, (n * 7919::bigint) % 3000, (n * 31::bigint) % 200,"
    " (n * 104729::bigint) % 100003)"
)
MESSAGES = f"""
INSERT INTO sessions_app_message (id, session_id, run_id, attempt, scope_id, position, role, parts,
    aside, partial, created_at)
SELECT 'msg_' || left(md5('message' || n || r), 26), {SESSION}, {RUN}, 1, {SCOPE},
    1 + ((n - 1) % {EACH}) * :events + k, r,
    CASE r WHEN 'user' THEN json_build_array(json_build_object('kind', 'text', 'text', {TEXT}))
        ELSE json_build_array(
            json_build_object('kind', 'text', 'text', format('Order %s was sent.', n)),
            json_build_object('kind', 'tool_call', 'id', 'tc_' || left(md5('call' || n), 26),
                'name', 'look_up_order', 'arguments', json_build_object('order', n))) END,
    '', false, {BEGAN}
{SERIES}, (VALUES ('user', 0), ('assistant', 1)) said(r, k)
"""
CALLS = f"""
INSERT INTO sessions_app_toolcall (id, session_id, run_id, attempt, message_id, scope_id, position,
    name, arguments, status, result, widgets, running_label, completed_label, internal,
    stops, duration_ms, created_at, started_at, ended_at)
SELECT 'tc_' || left(md5('call' || n), 26), {SESSION}, {RUN}, 1,
    'msg_' || left(md5('message' || n || 'assistant'), 26), {SCOPE}, 0, 'look_up_order',
    json_build_object('order', n),
    CASE WHEN {STATUS} = 'waiting' THEN 'held' WHEN n % 101 = 0 THEN 'error' ELSE 'ok' END,
    CASE WHEN {STATUS} <> 'waiting' THEN json_build_array(json_build_object('kind', 'text', 'text',
        format('{{"order": %s, "state": "sent"}}', n))) END,
    '[]', '', '', false, false, n % 900, {BEGAN}, {BEGAN}, {BEGAN}
{SERIES}
"""
MODEL_CALLS = f"""
INSERT INTO sessions_app_modelcall (session_id, run_id, agent, scope_id, purpose, attempt, turn,
    provider, model, price, cost_micros, first_token_ms, total_ms, error, created_at, prompt_id,
    input, cache_read, cache_write, cache_write_1h, output, reasoning)
SELECT {SESSION}, {RUN}, {AGENT}, {SCOPE}, 'main', 1, k,
    CASE WHEN n % 3 = 0 THEN 'openai' ELSE 'anthropic' END,
    CASE WHEN n % 3 = 0 THEN 'gpt-4.1' ELSE 'claude-sonnet-4-5' END, NULL, {COST}, 200 + n % 700,
    900 + n % 5000, CASE WHEN n % 67 = 0 AND k = 2 THEN 'server' ELSE '' END, {BEGAN}, '',
    {INPUT}, 0,
    0, 0, {OUTPUT}, 0
{SERIES}, (VALUES (1), (2)) turns(k)
""".replace("{k}", "k")
QUESTIONS = f"""
INSERT INTO sessions_app_interaction (id, session_id, run_id, call_id, scope_id, kind, status,
    event, binding, comment, created_at, expires_at)
SELECT 'int_' || left(md5('question' || n), 26), {SESSION}, {RUN},
    'tc_' || left(md5('call' || n), 26), {SCOPE}, 'confirmation', 'open', json_build_object(
        'e', 'confirmation_required', 'interaction_id', 'int_' || left(md5('question' || n), 26),
        'call_id', 'tc_' || left(md5('call' || n), 26), 'action', 'look_up_order',
        'details', json_build_object('order', n)), '', '', {BEGAN}, now() + interval '30 days'
{SERIES} WHERE {STATUS} = 'waiting'
"""
SEQ = f"((n - 1) % {EACH}) * :events"
AT = "floor(extract(epoch FROM began) * 1000)::bigint"
INIT = (
    'format(\'[[%s,%s,{"e":"init","session_id":"%s","run_id":"%s","message":'
    '{"type":"user","id":"%s","text":"Please look at order %s."}}]]\','
    f" {SEQ} + 1, {AT}, session, run, 'msg_' || left(md5('message' || n || 'user'), 26), n)"
)
REST = (
    '\'[\' || (SELECT string_agg(format(\'[%s,%s,{"e":"text_delta","text":"word%s "}]\','
    f" {SEQ} + s, {AT} + s * 40, s), ',') FROM generate_series(2, :events - 1) s)"
    f" || format(',[%s,%s,', {SEQ} + :events, {AT} + :events * 40) || CASE {REASON} WHEN '' THEN"
    ' \'{"e":"text_delta","text":"more"}\' ELSE format(\'{"e":"done","reason":"%s","usage":'
    '{"input":%s,"output":%s},"cost_micros":%s,"run_id":"%s"}\','
    f" {REASON}, {_both(INPUT)}, {_both(OUTPUT)}, {_both(COST)}, run) END || ']]'"
)
EVENTS = f"""
INSERT INTO sessions_app_eventbatch (session_id, run_id, attempt, scope_id, first_seq, last_seq,
    entries)
SELECT session, run, 1, scope, made.first_seq, made.last_seq, convert_to(made.entries, 'UTF8')
FROM (SELECT n, {SESSION} AS session, {RUN} AS run, {SCOPE} AS scope, {BEGAN} AS began
        {SERIES}) runs,
    LATERAL (VALUES ({SEQ} + 1, {SEQ} + 1, {INIT}), ({SEQ} + 2, {SEQ} + :events, {REST}))
        made(first_seq, last_seq, entries)
"""
SESSIONS = """
INSERT INTO sessions_app_session (id, agent, scope_id, session_type, title, tags, metadata, status,
    automation, provider, model, message_count, cost_micros, cost_known, reserved_seq, created_at,
    updated_at, last_message_at, input, cache_read, cache_write, cache_write_1h, output, reasoning)
SELECT session_id, agent, scope_id, CASE WHEN kind = 0 THEN 'automation' ELSE 'chat' END,
    'Conversation ' || left(session_id, 12), '[]', '{}',
    CASE WHEN 'running' = ANY(states) THEN 'running' WHEN 'waiting' = ANY(states) THEN 'waiting'
        WHEN kind = 0 THEN 'archived' WHEN ended < now() - interval '20 days' THEN 'expired'
        WHEN ended < now() - interval '1 hour' THEN 'idle' ELSE 'active' END,
    CASE WHEN kind = 0 THEN 'nightly-report' ELSE '' END,
    'anthropic', 'claude-sonnet-4-5', 2 * runs, cost, true, last_seq, began, ended, ended,
    input, 0, 0, 0, output, 0
FROM (SELECT session_id, agent, scope_id, hashtext(session_id) % 20 AS kind, count(*) AS runs,
        array_agg(status) AS states, sum(cost_micros) AS cost, max(last_seq) AS last_seq,
        min(created_at) AS began, max(coalesce(ended_at, created_at)) AS ended,
        sum(input) AS input, sum(output) AS output
    FROM sessions_app_run WHERE agent LIKE 'agent-%'
    GROUP BY session_id, agent, scope_id) made
ON CONFLICT DO NOTHING
"""
SCOPE_ROWS = """
INSERT INTO sessions_app_scope (agent, scope_id, label, context, created_at, last_seen_at)
SELECT agent, scope_id, 'Tenant of ' || agent, '{}', min(created_at), max(updated_at)
FROM sessions_app_session
WHERE agent LIKE 'agent-%' GROUP BY agent, scope_id ON CONFLICT DO NOTHING
"""
STEPS = (RUNS, MESSAGES, CALLS, MODEL_CALLS, QUESTIONS, EVENTS)
AFTERWARDS = (SESSIONS, SCOPE_ROWS)
TABLES = ("session", "run", "message", "toolcall", "modelcall", "interaction", "eventbatch")
