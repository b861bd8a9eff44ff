"""Sub-agents: side by side, live, limited, metered, and folded into the call that began them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.folding import assert_folds
from tests.gates import Gates
from tests.lab import MAIN, SIMPLE, Lab, call, plan, task
from tests.requirements import requirement
from tests.wire_client import Client, Stream


def dispatch(*plans: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A call that dispatches a sub-agent whose answers are these plans."""
    return call("dispatch", task=task(*plans), **more)


def told(stream: Stream, kind: str) -> list[dict[str, Any]]:
    """What sub-agents reported of one kind, as the frames' data."""
    frames = stream.all("subagent_event")
    return [frame.data for frame in frames if frame.data["event"]["type"] == kind]


@requirement("runs.dispatch", "runs.dispatch-live", "runs.dispatch-cost", "http.fold")
async def test_two_subagents_that_wait_for_each_other_both_finish(
    client: Client, lab: Lab, gates: Gates
) -> None:
    both = [
        dispatch(
            {"text": f"I go to {side}. ", "tools": [call("gate", port=gates.port, note=side)]},
            {"text": f"The report of {side}."},
        )
        for side in ("left", "right")
    ]
    message = plan({"text": "Sent. ", "tools": both}, {"text": "Both are back."})
    async with client.stream(message) as stream:
        one, other = await gates.next(), await gates.next()
        await stream.until(lambda stream: len(told(stream, "tool_call_start")) == 2)
        assert not stream.all("tool_call_result")
        other.open("opened by the one")
        one.open("opened by the other")
        await stream.to_end()
    assert stream.text == "Sent. Both are back."
    starts, results = stream.all("tool_call_start"), stream.all("tool_call_result")
    assert [s.data["name"] for s in starts] == ["dispatch"] * 2
    reports = {r.data["id"]: r.data["result"] for r in results}
    assert [reports[s.data["id"]] for s in starts] == [
        "The report of left.", "The report of right.",
    ]  # fmt: skip
    (ended, _) = told(stream, "tool_call_result")
    assert ended["event_type"] == "tool_call_end"
    assert ended["tool_name"] == ended["event"]["name"] == "gate"
    assert ended["parent_tool_id"] in reports
    assert {data["event_type"] for data in told(stream, "text_delta")} == {"thought"}
    detail = await assert_folds(client, lab, stream.session_id)
    shown = detail["messages"][1]["toolCalls"]
    assert [each["subagent"]["agentName"] for each in shown] == ["task", "task"]
    assert [each["subagent"]["toolCalls"][0]["toolName"] for each in shown] == ["gate", "gate"]
    rows = lab.query(
        "SELECT purpose, count(*), sum(cost_micros) FROM sessions_app_modelcall"
        " WHERE run_id = %s AND purpose <> 'title' GROUP BY purpose", stream.run_id,
    )  # fmt: skip
    calls = {purpose: (count, cost) for purpose, count, cost in rows}
    assert calls["main"][0] == 2
    assert calls["subagent"][0] == 4
    ((turns,),) = lab.query("SELECT turns FROM sessions_app_run WHERE id = %s", stream.run_id)
    assert turns == 6
    cost = stream.frames[-1].data["cost"]["estimatedCostMicros"]
    assert cost == calls["subagent"][1] + calls["main"][1]
    (_, last) = [r.body for r in lab.fake.requests("Both are back.") if r.body["model"] == MAIN]
    blocks = [block for said in last["messages"] for block in said["content"]]
    results = [block["content"] for block in blocks if block["type"] == "tool_result"]
    assert [block[0]["text"] for block in results] == [
        "The report of left.",
        "The report of right.",
    ]


LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({"agent_name": "nobody", "prompt": "x"}, 'There is no sub-agent "nobody"'),
    "no task": ({"agent_name": "explore"}, 'Say in "task"'),
    "no such tool": ({"task": "x", "tools": ["gate", "missile"]}, "cannot have missile"),
    "not to read": (
        {"task": "x", "agent_name": "explore", "tools": ["gate"]}, "cannot have gate",
    ),
    "no levels": ({"task": "x", "agent_name": "porter", "tools": ["dispatch"]}, "cannot have"),
    "wrong": ({"task": "x", "max_turns": 0}, "Invalid parameters: max_turns"),
}  # fmt: skip


@requirement("runs.dispatch-limits")
@pytest.mark.parametrize("case", LIMITS)
async def test_a_subagent_that_cannot_be_is_an_error_that_says_why(
    client: Client, case: str
) -> None:
    arguments, problem = LIMITS[case]
    stream = await client.talk(plan({"tools": [call("dispatch", **arguments)]}, {"text": "Oh."}))
    (result,) = stream.all("tool_call_result")
    assert result.data["status"] == "error"
    assert problem in result.data["result"]
    assert stream.reason == "model_stop"


@requirement("runs.dispatch", "runs.dispatch-limits")
async def test_the_parameters_of_the_reference_are_read_and_a_limit_of_calls_holds(
    client: Client, lab: Lab, gates: Gates
) -> None:
    gates.auto = "open"
    many = [call("gate", port=gates.port, note=str(n)) for n in range(5)]
    arguments = {
        "agent_name": "porter",
        "tools": ["gate"],
        "prompt": task({"tools": many}, {"text": "Three went through."}),
        "max_turns": 2,
    }
    stream = await client.talk(plan({"tools": [call("dispatch_task", **arguments)]}, {}))
    assert sorted(gates.notes) == ["0", "1", "2"]
    statuses = [data["event"]["status"] for data in told(stream, "tool_call_result")]
    assert sorted(statuses) == ["error"] * 2 + ["success"] * 3
    (result,) = stream.all("tool_call_result")
    assert result.data["result"] == "Three went through."
    assert {data["agent_name"] for data in told(stream, "init")} == {"porter"}
    asked = [r for r in lab.fake.requests("Three went through.") if r.body["model"] == SIMPLE]
    assert [[tool["function"]["name"] for tool in r.body["tools"]] for r in asked] == [["gate"]] * 2
    await assert_folds(client, lab, stream.session_id)


@requirement("runs.dispatch-limits", "runs.max-turns")
async def test_a_run_makes_no_more_model_calls_than_it_may_whoever_makes_them(
    client: Client, lab: Lab
) -> None:
    busy = [dispatch(*[{"tools": [call("gate", note=str(n))]} for n in range(9)]) for _ in range(2)]
    stream = await client.of("few-turns").talk(plan({"tools": busy}, {"text": "That is all."}))
    ((calls,),) = lab.query(
        "SELECT count(*) FROM sessions_app_modelcall WHERE run_id = %s AND purpose <> 'title'",
        stream.run_id,
    )
    assert calls == 3
    assert stream.text == "That is all."
    assert stream.reason == "model_stop"
    assert all(result.data["status"] == "error" for result in stream.all("tool_call_result"))
    await assert_folds(client, lab, stream.session_id)


@requirement("runs.dispatch-limits")
async def test_a_subagent_that_takes_too_long_is_stopped_alone(
    client: Client, lab: Lab, gates: Gates
) -> None:
    slow = {"text": "I try. ", "tools": [call("gate", port=gates.port)]}
    late = call("dispatch", agent_name="hasty", task=task(slow, {"text": "Never."}))
    stream = await client.talk(plan({"tools": [late, call("gate", note="x")]}, {"text": "Well."}))
    gate = await gates.next()
    await gate.left()
    first = stream.all("tool_call_start")[0].data["id"]
    result = next(r.data for r in stream.all("tool_call_result") if r.data["id"] == first)
    assert result["result"].startswith('Sub-agent "hasty" failed: it did not finish within 0.5 s')
    assert "I try." in result["result"]
    assert stream.text == "Well."
    await assert_folds(client, lab, stream.session_id)


@requirement("runs.dispatch-limits")
async def test_a_subagent_draws_on_the_tokens_of_the_session(client: Client, lab: Lab) -> None:
    stream = await client.talk(
        plan({"tools": [dispatch({"text": "Paid."})]}), max_session_tokens=50
    )
    (result,) = stream.all("tool_call_result")
    assert result.data["result"] == (
        "Sub-agent dispatch skipped: session token budget (50) already reached."
    )
    assert stream.reason == "budget_exceeded"


@requirement("runs.dispatch", "http.fold")
async def test_a_subagent_may_have_its_own(client: Client, lab: Lab, gates: Gates) -> None:
    gates.auto = "open"
    inner = call(
        "dispatch",
        agent_name="porter",
        task=task({"tools": [call("gate", port=gates.port, note="deep")]}, {"text": "Deep."}),
    )
    outer = call("dispatch", agent_name="foreman", task=plan({"tools": [inner]}, {"text": "So."}))
    stream = await client.talk(plan({"tools": [outer]}, {"text": "Done."}))
    assert gates.notes == ["deep"]
    detail = await assert_folds(client, lab, stream.session_id)
    shown = detail["messages"][1]["toolCalls"][0]
    inside = shown["subagent"]["toolCalls"][0]
    assert (shown["result"], inside["result"]) == ("So.", "Deep.")
    assert inside["subagent"]["toolCalls"][0]["args"]["note"] == "deep"
    ((turns,),) = lab.query("SELECT turns FROM sessions_app_run WHERE id = %s", stream.run_id)
    assert turns == 6
