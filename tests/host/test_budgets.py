"""Runs with a budget: held before each call, one last word, then the end."""

from __future__ import annotations

import json
import uuid
from typing import Any

from agentsite.engine.compaction import LEFT_OUT
from agentsite.providers.anthropic import to_messages
from tests.gates import Gates
from tests.host.test_dispatch import dispatch
from tests.host.test_run_page import read
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client

DEAR = {"input": 140_000, "output": 10}
"""Usage of a call of $0.42015."""


def held(lab: Lab, run_id: str) -> list[tuple[Any, ...]]:
    """What is held for a run: purpose, micro-dollars, whether it was lost; but for its title."""
    return lab.query(
        "SELECT purpose, micros, lost_at IS NOT NULL FROM operations_reservation"
        " WHERE run_id = %s AND purpose <> 'title' ORDER BY purpose", run_id,
    )  # fmt: skip


def spent(lab: Lab, run_id: str) -> int:
    """What the calls of a run were charged."""
    ((micros,),) = lab.query(
        "SELECT sum(charge_micros)::bigint FROM sessions_app_modelcall WHERE run_id = %s", run_id
    )
    return int(micros)


def set_budget(lab: Lab, scope: str, dollars: float) -> None:
    lab.change(
        'INSERT INTO operations_budget (kind, agent, scope_id, subject, period, "limit", soft,'
        " changed_at) VALUES ('scope', 'paying', %s, '', 'day', %s, 0.8, now())", scope, dollars,
    )  # fmt: skip


@requirement("runs.budget-stop", "runs.closing-turn", "runs.budget-gate")
async def test_a_run_that_has_used_up_its_budget_says_a_last_word(
    client: Client, lab: Lab, gates: Gates
) -> None:
    thrifty = client.of("thrifty")
    word = uuid.uuid4().hex
    message = plan(
        {"text": "I look. ", "tools": [call("gate", port=gates.port)], "usage": DEAR},
        {"text": "Never said: the last word answers the note."},
        say=word,
    )
    async with thrifty.stream(message) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        ((kept, micros, _),) = held(lab, stream.run_id)
        assert (kept, micros > 0) == ("closing", True), "its cost is kept back while tools run"
        gate.open("found")
        await stream.to_end()
    assert stream.reason == "budget_exceeded"
    last_word = stream.text.removeprefix("I look. ")
    assert last_word and "Never said" not in last_word
    (notice,) = stream.all("notice")
    assert notice.data["message"] == "The budget of this run is used up."
    last = [each for each in lab.fake.requests(word) if each.vendor == "anthropic"][-1].body
    assert "the budget is used up" in json.dumps(last)
    assert last["max_tokens"] <= 1_024
    assert held(lab, stream.run_id) == []
    assert spent(lab, stream.run_id) <= 500_000
    again = await thrifty.talk("Go on, please.", stream.session_id)
    assert again.reason == "model_stop", "each run has its own"


@requirement("runs.closing-turn", "admin.prompt")
async def test_a_last_word_that_was_made_shorter_is_shown_as_it_was_sent(
    client: Client, lab: Lab, gates: Gates
) -> None:
    word = uuid.uuid4().hex
    tools = [call("gate", port=gates.port)]
    usage = {"input": 150_000, "output": 10}
    message = plan({"tools": tools}, {"tools": tools, "usage": usage}, {}, say=word)
    async with client.of("thrifty").stream(message) as stream:
        for found in ("found " * 3_000, "found"):  # what is left cannot pay for the first one
            (await gates.next()).open(found)
        await stream.to_end()
    assert stream.reason == "budget_exceeded"
    last = lab.fake.requests(word)[-1].body
    assert LEFT_OUT in json.dumps(last["messages"])
    ((prompt_id,),) = lab.query(
        "SELECT prompt_id FROM sessions_app_modelcall WHERE run_id = %s ORDER BY id DESC LIMIT 1",
        stream.run_id,
    )
    recorded = read(lab, stream.session_id, prompt_id)
    assert last["messages"] == to_messages(recorded.messages, thinking=False)


@requirement("runs.budget-stop")
async def test_without_money_for_a_last_word_the_run_ends_at_once(
    client: Client, lab: Lab, gates: Gates
) -> None:
    usage = {"input": 166_000, "output": 10}
    tools = {"tools": [call("gate", port=gates.port)], "usage": usage}
    async with client.of("thrifty").stream(plan(tools, {"text": "Never said."})) as stream:
        (await gates.next()).open("found")
        await stream.to_end()
    assert (stream.reason, stream.text) == ("budget_exceeded", "")
    assert len(stream.all("notice")) == 1
    ((calls,),) = lab.query(
        "SELECT count(*) FROM sessions_app_modelcall WHERE run_id = %s", stream.run_id
    )
    assert calls == 1
    assert held(lab, stream.run_id) == []


@requirement("runs.budget-race", "runs.budget-alert")
async def test_sub_agents_at_once_stay_within_the_scopes_budget(client: Client, lab: Lab) -> None:
    scope = f"scope-{uuid.uuid4().hex}"
    set_budget(lab, scope, 0.4)
    both = [dispatch({"text": f"Report {n}.", "rate": 40}) for n in range(64)]
    message = plan({"text": "Sent. ", "tools": both}, {"text": "Back."})
    stream = await client.of("paying").talk(message, scope_id=scope)
    assert stream.reason in ("model_stop", "budget_exceeded")
    reports = [each.data["result"] for each in stream.all("tool_call_result")]
    assert len(reports) == 64
    assert any(report.startswith("Report") for report in reports)
    assert spent(lab, stream.run_id) <= 400_000
    assert held(lab, stream.run_id) == []
    set_budget(lab, f"{scope}-2", 0.0)
    refused = await client.of("paying").talk(f"{scope}-2?", scope_id=f"{scope}-2")
    assert (refused.reason, refused.text) == ("budget_exceeded", "")
    assert lab.fake.requests(f"{scope}-2") == []


@requirement("runs.lost-calls")
async def test_a_call_whose_process_died_counts_with_what_was_held(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client
) -> None:
    scope = f"scope-{uuid.uuid4().hex}"
    message = plan({"text": "Slowly. " * 20, "rate": 20}, say=scope)
    async with doomed.of("paying").stream(message, scope_id=scope) as stream:
        await stream.event("text_delta")
        session_id, run_id = stream.session_id, stream.run_id
        kinds = {purpose for purpose, _, _ in held(crash_lab, run_id)}
        assert kinds == {"closing", "main"}
        victim.kill()
    async with survivor.of("paying").follow(session_id, **{"X-Scope-Id": scope}) as log:
        await log.event("done")
    lost = held(crash_lab, run_id)
    assert [(purpose, gone) for purpose, _, gone in lost] == [("main", True)]
