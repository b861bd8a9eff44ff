"""One run with 20,000 events, a hundred in each commit; each fiftieth begins a tool call."""

from __future__ import annotations

LONG_RUN, LONG_SESSION = "run_long", "sess_long"
LONG = """
INSERT INTO sessions_app_session (id, agent, scope_id, session_type, title, tags, metadata, status,
    automation, provider, model, message_count, cost_micros, cost_known, reserved_seq, created_at,
    updated_at, last_message_at, input, cache_read, cache_write, cache_write_1h, output, reasoning)
SELECT 'sess_long', 'agent-0', 'tenant-0', 'chat', 'A long one', '[]', '{}', 'idle', '',
    'anthropic', 'claude-sonnet-4-5', 2, 0, true, 20000, now(), now(), now(), 0, 0, 0, 0, 0,
    0;
INSERT INTO sessions_app_run (id, session_id, agent, scope_id, agent_version, agent_hash, status,
    attempt, losses, owner, state, request, queue_rank, steering, parked_seconds,
    rollback_requested, reason, cost_micros, cost_known, turns, first_seq, last_seq, created_at,
    ended_at, input, cache_read, cache_write, cache_write_1h, output, reasoning)
SELECT 'run_long', 'sess_long', 'agent-0', 'tenant-0', '1.0.0', '', 'done', 1, 0, '', '{}',
    '{}', 1, false, 0, false, 'model_stop', 0, true, 200, 1, 20000,
    now() - interval '1 hour', now(), 0, 0, 0, 0, 0, 0;
INSERT INTO sessions_app_message (id, session_id, run_id, attempt, scope_id, position, role, parts,
    aside, partial, created_at)
SELECT 'msg_long_' || k, 'sess_long', 'run_long', 1, 'tenant-0', k, r,
    json_build_array(json_build_object('kind', 'text', 'text', 'Go on, and on.')), '', false, now()
FROM (VALUES ('user', 1), ('assistant', 2)) said(r, k);
INSERT INTO sessions_app_toolcall (id, session_id, run_id, attempt, message_id, scope_id, position,
    name, arguments, status, result, widgets, running_label, completed_label, internal, stops,
    duration_ms, created_at, started_at, ended_at)
SELECT 'tc_long_' || n, 'sess_long', 'run_long', 1, 'msg_long_2', 'tenant-0', n,
    'look_up_order', json_build_object('order', n), 'ok',
    json_build_array(json_build_object('kind', 'text', 'text', repeat('It was sent. ', 30))), '[]',
    '', '', false, false, 10, now(), now(), now()
FROM generate_series(1, 400) n;
INSERT INTO sessions_app_eventbatch (session_id, run_id, attempt, scope_id, first_seq, last_seq,
    entries)
SELECT 'sess_long', 'run_long', 1, 'tenant-0', (b - 1) * 100 + 1, b * 100,
    convert_to('[' || string_agg(format('[%s,%s,%s]', s,
        floor(extract(epoch FROM now() - interval '1 hour') * 1000)::bigint + s * 100,
        CASE WHEN s = 1 THEN '{"e":"init","session_id":"sess_long","run_id":"run_long",'
            || '"message":{"type":"user","id":"msg_long_1","text":"Go on, and on."}}'
        WHEN s = 20000 THEN '{"e":"done","reason":"model_stop","usage":{},'
            || '"cost_micros":0,"run_id":"run_long"}'
        WHEN s % 50 = 2 THEN format('{"e":"tool_call_start","id":"tc_long_%s",'
            || '"name":"look_up_order","arguments":{}}', s / 50 + 1)
        ELSE format('{"e":"text_delta","text":"word%s "}', s) END), ',' ORDER BY s) || ']',
        'UTF8')
FROM generate_series(1, 200) b,
    generate_series((b - 1) * 100 + 1, b * 100) s
GROUP BY b;
INSERT INTO sessions_app_modelcall (session_id, run_id, agent, scope_id, purpose, attempt, turn,
    provider, model, cost_micros, first_token_ms, total_ms, error, created_at, prompt_id, input,
    cache_read, cache_write, cache_write_1h, output, reasoning)
SELECT 'sess_long', 'run_long', 'agent-0', 'tenant-0', 'main', 1, n, 'anthropic',
    'claude-sonnet-4-5', 0, 200, 900, '', now() - (200 - n) * interval '10 seconds', '', 0, 0, 0, 0,
    0, 0
FROM generate_series(1, 200) n
"""
