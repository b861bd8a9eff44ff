"""The statements that make what stands beside runs: memory, documents, logs, automations.

Law: every list of the admin has enough rows to be slow by, some of them old and clustered;
`:runs` is the number of runs, and all else is a share of it.
"""

from __future__ import annotations

MANY = "FROM generate_series(1, greatest(:runs / 5, 50)) n"
SOME = "FROM generate_series(1, greatest(:runs / 10, 50)) n"
FEW = "FROM generate_series(1, greatest(:runs / 100, 50)) n"
AGENT = "'agent-' || n % 4"
SCOPE = "'tenant-' || (n * 7919::bigint) % 1000"
AT = "now() - n * interval '13 seconds'"
SAID = "'Likes tea number ' || n || ', and word' || n % 3000"

MEMORY = f"""
INSERT INTO memory_app_memoryentry (id, agent, scope_id, content, category, source_session,
    source_run, created_at, updated_at)
SELECT md5('memory' || n), {AGENT}, {SCOPE}, {SAID}, '',
    'sess_' || left(md5('session' || n), 26), 'run_' || left(md5('run' || n), 26), {AT}, {AT}
{MANY}
"""
DOCUMENTS = f"""
INSERT INTO stores_app_document (agent, scope_id, store, key, version, payload, shared, created_at,
    updated_at)
SELECT {AGENT}, {SCOPE}, 'orders', 'o-' || n, 1, jsonb_build_object('number', n), false, {AT}, {AT}
{MANY}
"""
VERSIONS = f"""
INSERT INTO stores_app_documentversion (agent, scope_id, store, key, version, payload, shared,
    written_at, superseded_at, deleted)
SELECT {AGENT}, {SCOPE}, 'orders', 'o-' || n, 1, jsonb_build_object('number', n), false, {AT}, {AT},
    n < 100
{SOME}
"""
LETTERS = f"""
INSERT INTO stores_app_deadletter (agent, scope_id, store, items, problem, origin, attempts, status,
    created_at)
SELECT {AGENT}, {SCOPE}, 'orders', '[]', 'It has no number.', '{{}}', 1,
    CASE WHEN n < 100 THEN 'open' ELSE 'discarded' END, {AT}
{SOME}
"""
AUDIT = f"""
INSERT INTO operations_auditentry (number, at, actor, action, subject, details, previous, hash)
SELECT 1000000 + n, now() - (:runs - n) * interval '1 second',
    CASE WHEN n < 5000 THEN 'ada' ELSE 'operator-' || n % 7 END,
    CASE WHEN n < 5000 THEN 'scope.blocked' ELSE 'run.retry' END, 'subject-' || n, '{{}}',
    md5('hash' || n - 1), md5('hash' || n)
{SOME}
"""
FEEDBACK = f"""
INSERT INTO operations_feedback (agent, scope_id, session_id, run_id, message_id, rating, comment,
    query, response, tool_calls, model, created_at, reviewed_at, reviewed_by)
SELECT {AGENT}, {SCOPE}, 'sess_' || left(md5('session' || n), 26),
    'run_' || left(md5('run' || n * 4), 26), 'msg_' || n, CASE WHEN n % 9 = 0 THEN 'down'
    ELSE 'up' END, '', 'Where is it?', 'It was sent.', '[]', 'claude-sonnet-4-5', {AT},
    CASE WHEN n % 90 <> 0 THEN now() END, 'ada'
{SOME}
"""
ALERTS = f"""
INSERT INTO operations_alert (kind, level, agent, scope_id, title, details, once, created_at,
    closed_at, closed_by)
SELECT CASE WHEN n % 5 = 0 THEN 'provider' ELSE 'budget' END,
    CASE WHEN n % 2 = 0 THEN 'critical' ELSE 'warning' END, {AGENT}, {SCOPE},
    'The budget of scope ' || n || ' is used up', '{{"agent": "agent-1"}}', 'made ' || n, {AT},
    CASE WHEN n > 300 THEN now() END, ''
{FEW}
"""
PROPOSALS = f"""
INSERT INTO operations_proposal (id, agent, scope_id, session_id, title, reasoning, content, status,
    file, comment, created_at, decided_by)
SELECT 'prop_' || n, {AGENT}, {SCOPE}, 'sess_' || n, 'Returns ' || n, 'Asked often.', {SAID},
    CASE WHEN n > 500 THEN 'refused' ELSE 'waiting' END, '', '', {AT}, ''
{FEW}
"""
AUTOMATIONS = """
INSERT INTO automations_app_automation (agent, name, origin, title, prompt, trigger, schedule,
    timezone, overlap, catch_up, write_enabled, wait_for_person, partition, mode, retries, changed,
    paused, pause_reason, created_at, updated_at)
SELECT 'agent-' || n % 4, 'report-' || n, 'staff', 'Report ' || n, 'Report.', 'cron', '0 9 * * *',
    '', 'skip', 'last', false, false, '', 'sync', 0, '[]', true, 'made to measure', now(), now()
FROM generate_series(1, 200) n
"""
AUTOMATION = "(SELECT min(id) FROM automations_app_automation WHERE name LIKE 'report-%') + n % 200"
OCCURRENCES = f"""
INSERT INTO automations_app_occurrence (automation_id, due_at, status, reason, claimed_by,
    claimed_at)
SELECT {AUTOMATION}, date_trunc('second', {AT}), 'run', '', 'host_made', {AT}
{SOME}
"""
INBOUND = f"""
INSERT INTO automations_app_inbounddelivery (automation_id, scope_id, sender_id, headers, body,
    answer_status, answer, received_at)
SELECT {AUTOMATION}, {SCOPE}, 'sender-' || n, '{{}}', '', CASE WHEN n % 50 = 0 THEN 401 ELSE 200
    END, '{{}}', {AT}
{SOME}
"""
AUTOMATION_RUNS = f"""
INSERT INTO automations_app_automationrun (id, automation_id, scope_id, cause, requested_by, tries,
    status, session_id, run_id, output, summary, error, last_tool_call, request_key, request_hash,
    created_at, started_at, ended_at)
SELECT 'arun_' || n, {AUTOMATION}, {SCOPE}, 'cron', '', 1,
    CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'success' END,
    'sess_' || left(md5('session' || n), 26), 'run_' || left(md5('run' || n * 4), 26), 'Done.', '',
    '', '', '', '', {AT}, {AT}, {AT}
{SOME}
"""
DELIVERIES = f"""
INSERT INTO automations_app_delivery (id, automation_id, automation_run_id, scope_id, kind,
    target_index, target_mark, target_type, target, payload, status, attempts, problem, created_at,
    ended_at)
SELECT 'del_' || n, {AUTOMATION}, 'arun_' || n, {SCOPE}, 'result', 0, '', 'webhook', '{{}}',
    '{{}}',
    CASE WHEN n % 500 = 0 THEN 'dead' ELSE 'delivered' END, 1, '', {AT}, {AT}
{SOME}
"""
EVAL_RUNS = f"""
INSERT INTO operations_evalrun (id, agent, agent_version, agent_hash, status, evals, model_names,
    judge, repeats, lanes, allow_writes, requested_by, by_command, owner, attempts, passed, failed,
    errors, cost_micros, cost_known, error, created_at)
SELECT 'evr_' || n, {AGENT}, '', '', 'done', '["weigh"]', '["openai/gpt-4.1"]', '', 1, 1, false,
    'ada', false, '', 0, 1, 0, 0, 5, true, '', {AT}
{FEW}
"""
EVAL_RESULTS = f"""
INSERT INTO operations_evalresult (eval_run_id, agent, name, title, model, repeat, status, query,
    response, tool_calls, assertions, turns, input_tokens, output_tokens, session_id, run_id, lane,
    error, created_at)
SELECT 'evr_' || n, {AGENT}, 'weigh', 'Weighs', 'openai/gpt-4.1', 1, 'passed', 'Weigh it.', 'Yes.',
    '[]', '[]', 1, 5, 5, '', '', 1, '', {AT}
{FEW}
"""
OTHERS = (
    MEMORY, DOCUMENTS, VERSIONS, LETTERS, AUDIT, FEEDBACK, ALERTS, PROPOSALS, AUTOMATIONS,
    OCCURRENCES, INBOUND, AUTOMATION_RUNS, DELIVERIES, EVAL_RUNS, EVAL_RESULTS,
)  # fmt: skip
OTHER_TABLES = (
    "memory_app_memoryentry", "stores_app_document", "stores_app_documentversion",
    "stores_app_deadletter", "operations_auditentry", "operations_feedback", "operations_alert",
    "operations_proposal", "automations_app_automation", "automations_app_occurrence",
    "automations_app_inbounddelivery", "automations_app_automationrun",
    "automations_app_delivery", "operations_evalrun", "operations_evalresult",
)  # fmt: skip
