"""Plan mode: nothing outside is changed before a person has approved the plan."""

from __future__ import annotations

import json

import pytest

from agentsite.connections.caller import PLANNING
from tests.gates import Gates
from tests.lab import Lab, call, plan, task
from tests.requirements import requirement
from tests.wire_client import Client, Stream

STEPS = "1. Go through the gate."


@requirement("runs.plan-mode")
async def test_a_run_that_must_plan_changes_nothing_before_its_plan_is_approved(
    client: Client, gates: Gates, lab: Lab
) -> None:
    gates.auto = "through"
    client = client.of("planning")
    go = call("gate", port=gates.port, note="write")
    look = call("gate_safe", port=gates.port, note="look")
    ask = call("exit_plan_mode", plan=STEPS)
    inner = call("dispatch", task=task({"tools": [go]}, {"text": "Tried."}))
    message = plan(
        {"tools": [go, look, inner]},
        {"tools": [ask, go]},
        {"tools": [go]},
        {"text": "Done."},
        say="plan-first",
    )
    async with client.stream(message) as stream:
        asked = (await stream.event("confirmation_required")).data
        assert asked["action"] == "exit_plan_mode"
        assert asked["details"]["arguments"] == {"plan": STEPS}
        assert gates.notes == ["look"]
        reply = await client.answer(stream.session_id, approved=True)
        assert reply.status == 200
        await stream.to_end()
    # Beside the question the call still met a run that plans; the next one did not.
    assert gates.notes == ["look", "write"]
    told = [frame.data for frame in stream.all("tool_call_result")]
    refused = [each for each in told if PLANNING in str(each["result"])]
    assert len(refused) == 2
    assert [frame.data["action"] for frame in stream.all("plan_mode")] == ["approve", "exit"]
    assert stream.all("plan_mode")[0].data["plan"] == STEPS
    first = json.dumps(lab.fake.requests("plan-first")[0].body)
    assert "# Plan first" in first and "enter_plan_mode" not in first
    again = await client.say(plan({"tools": [go]}, {}), stream.session_id)
    assert PLANNING in again["toolCalls"][0]["error"]  # every run begins so


@requirement("runs.plan-mode")
@pytest.mark.parametrize("approved", [False, True])
async def test_a_plan_that_is_refused_leaves_everything_as_it_was(
    client: Client, gates: Gates, approved: bool
) -> None:
    gates.auto = "through"
    client = client.of("may-plan")
    go = call("gate", port=gates.port, note="write")
    message = plan(
        {"tools": [call("enter_plan_mode")]},
        {"tools": [go]},
        {"tools": [call("exit_plan_mode", plan=STEPS)]},
        {"tools": [go]},
        {"text": "Done."},
    )
    parked = await client.say(message)
    assert gates.notes == []
    assert parked["reason"] == "awaiting_confirmation"
    await client.answer(parked["sessionId"], approved=approved)
    async with client.stream(None, parked["sessionId"]) as stream:
        whole: Stream = await stream.to_end()
    assert gates.notes == (["write"] if approved else [])
    actions = [frame.data["action"] for frame in whole.all("plan_mode")]
    assert actions == ["enter", *(["approve", "exit"] if approved else [])]


async def test_who_does_not_plan_is_not_hindered(client: Client, gates: Gates) -> None:
    gates.auto = "through"
    client = client.of("may-plan")
    answer = await client.say(plan({"tools": [call("gate", port=gates.port, note="x")]}, {}))
    assert answer["toolCalls"][0]["result"] == "through"
