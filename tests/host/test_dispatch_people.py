"""Sub-agents that ask people, are stopped, or lose their process."""

from __future__ import annotations

import asyncio
from typing import Any

from agentsite.host.recovery import UNKNOWN
from tests.folding import assert_folds, assert_numbered
from tests.gates import Gates
from tests.host.test_dispatch import dispatch, told
from tests.host.test_interactions import finish, park
from tests.host.test_recovery import count_attempts, read_to_done
from tests.lab import Lab, call, plan, task
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client, eventually

OPEN = (
    "SELECT count(*) FROM sessions_app_toolcall"
    " WHERE session_id = %s AND status IN ('held', 'running')"
)


@requirement("runs.dispatch-person", "http.answer", "http.fold")
async def test_questions_of_subagents_park_the_run_and_are_answered_one_by_one(
    client: Client, elsewhere: Client, lab: Lab, gates: Gates
) -> None:
    gates.auto = "wiped"
    asking = [
        dispatch(
            {"text": "May I? ", "tools": [call("wipe", port=gates.port, note=note)]},
            {"text": f"{note} is settled."},
        )
        for note in ("one", "two")
    ]
    message = plan({"tools": [*asking, call("gate", note="beside")]}, {"text": "All settled."})
    session_id, _ = await park(client, message)  # with the first question, the other may follow

    async def both() -> list[Any] | None:
        pending = (await client.detail(session_id))["pendingInteractions"]
        return pending if len(pending) == 2 else None

    asked = await eventually(both)
    assert gates.notes == []
    assert {each["action"] for each in asked} == {"wipe"}
    assert {each["details"]["subagent"] for each in asked} == {"task"}
    await assert_folds(client, lab, session_id)
    first, second = asked
    reply = await elsewhere.answer(session_id, interactionId=first["interactionId"], approved=True)
    assert reply.status == 200, reply.raw
    async with client.follow(session_id) as log:
        await log.until(lambda log: len(told(log, "done")) == 1)
    assert gates.notes == [first["details"]["arguments"]["note"]]
    detail = await assert_folds(client, lab, session_id)
    assert [p["interactionId"] for p in detail["pendingInteractions"]] == [second["interactionId"]]
    await client.answer(session_id, interactionId=second["interactionId"], approved=False)
    stream = await finish(client, session_id)
    assert stream.text == "All settled."
    assert len(gates.notes) == 1
    assert (len(stream.all("approved")), len(stream.all("denied"))) == (1, 1)
    results = {r.data["result"] for r in stream.all("tool_call_result")}
    assert results == {"one is settled.", "two is settled.", "passed beside"}
    await assert_folds(client, lab, session_id)


@requirement("runs.dispatch-person")
async def test_a_message_answers_a_question_of_a_subagent_and_joins_the_conversation(
    client: Client, lab: Lab
) -> None:
    choice = call("ask_choice", question="Which?", options=[{"label": "a"}, {"label": "b"}])
    asking = call(
        "dispatch", agent_name="porter", task=task({"tools": [choice]}, {"text": "Then b."})
    )
    session_id, _ = await park(client, plan({"tools": [asking]}))
    stream = await client.talk("I take b.", session_id)
    assert stream.reason == "model_stop"
    detail = await assert_folds(client, lab, session_id)
    said = [m["text"] for m in detail["messages"]]
    assert said[2] == "I take b."
    inside = detail["messages"][1]["toolCalls"][0]["subagent"]["toolCalls"][0]
    assert "I take b." in inside["result"]


@requirement("runs.dispatch-stop", "runs.one-result", "http.fold")
async def test_an_interrupt_ends_everything_below(client: Client, lab: Lab, gates: Gates) -> None:
    inner = dispatch({"tools": [call("gate", port=gates.port, note="inner")]}, agent_name="porter")
    work = [
        dispatch({"tools": [call("gate", port=gates.port, note="outer")]}),
        call("dispatch", agent_name="foreman", task=plan({"tools": [inner]})),
        dispatch({"deltas": 90, "silence_after": 5}),
        dispatch({"tools": [call("wipe", note="asked")]}),
    ]
    async with client.stream(plan({"text": "Go. ", "tools": work})) as stream:
        waiting = [await gates.next(), await gates.next()]
        await stream.event("confirmation_required")
        await stream.until(lambda stream: bool(told(stream, "text_delta")))
        await client.post(f"/sessions/{stream.session_id}/interrupt", {})
        await stream.to_end()
        for gate in waiting:
            await gate.left()
    assert stream.reason == "user_abort"
    assert lab.query(OPEN, stream.session_id) == [(0,)]
    detail = await assert_folds(client, lab, stream.session_id)
    assert detail["pendingInteractions"] == []
    ((cut,),) = lab.query(
        "SELECT count(*) FROM sessions_app_modelcall WHERE run_id = %s AND purpose = 'subagent'"
        " AND error = 'cancelled'", stream.run_id,
    )  # fmt: skip
    assert cut == 1
    assert (await client.talk("And now?", stream.session_id)).reason == "model_stop"


@requirement("runs.dispatch-resume", "runs.unknown-outcome", "runs.repeat-safe")
async def test_subagents_of_a_killed_process_go_on_elsewhere(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    def step(name: str, note: str) -> dict[str, object]:
        return {"tools": [call(name, port=gates.port, note=note)]}

    work = [
        dispatch(step("gate", "before"), step("gate", "unknown"), {"text": "First."}),
        dispatch(step("gate_safe", "safe"), {"text": "Second."}),
        dispatch({"deltas": 150, "rate": 40}),
        dispatch(step("wipe", "asked"), {"text": "Fourth."}),
    ]
    message = plan({"text": "Go. ", "tools": work}, {"text": "All are back."})
    async with doomed.stream(message) as stream:
        waiting = {}
        while "unknown" not in waiting or "safe" not in waiting:
            gate = await gates.next()
            waiting[gate.note] = gate
            if gate.note == "before":
                gate.open("through")
        await stream.event("confirmation_required")
        await stream.until(lambda stream: len(told(stream, "text_delta")) > 5)
        asked = stream.all("confirmation_required")[0].data["interactionId"]
        await doomed.answer(stream.session_id, interactionId=asked, approved=False)
        await stream.event("denied")
        await stream.until(lambda stream: any(d["text"] == "Fourth." for d in told(stream, "done")))
        victim.kill()
        await asyncio.gather(waiting["unknown"].left(), waiting["safe"].left())
    again = await gates.next()
    assert (again.note, again.call) == ("safe", waiting["safe"].call)
    again.open("again")
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.reason == "model_stop"
    assert gates.notes.count("before") == gates.notes.count("unknown") == 1
    assert count_attempts(crash_lab, stream.run_id) == (2, 1)
    detail = await assert_folds(survivor, crash_lab, stream.session_id)
    calls = detail["messages"][1]["toolCalls"]
    assert [c["result"] for c in calls if c["result"][0] in "FS"] == [
        "First.",
        "Second.",
        "Fourth.",
    ]
    first = calls[0]["subagent"]["toolCalls"]
    assert [c["result"] for c in first] == ["through", UNKNOWN]
    marked = "SELECT id FROM sessions_app_toolcall WHERE run_id = %s AND outcome_unknown"
    assert crash_lab.query(marked, stream.run_id) == [(waiting["unknown"].call,)]
    assert_numbered(stream.frames + rest.frames)
    ((doubled,),) = crash_lab.query(
        "SELECT count(*) - count(DISTINCT id) FROM sessions_app_toolcall WHERE session_id = %s",
        stream.session_id,
    )
    assert doubled == 0
    assert (await survivor.talk("And?", stream.session_id)).reason == "model_stop"


@requirement("runs.dispatch-resume", "runs.hand-over", "runs.dispatch-person")
async def test_a_parked_subagent_outlives_its_process(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    gates.auto = "wiped"
    inner = dispatch(
        {"tools": [call("wipe", port=gates.port, note="deep")]},
        {"text": "Deep."},
        agent_name="porter",
    )
    outer = call("dispatch", agent_name="foreman", task=plan({"tools": [inner]}, {"text": "So."}))
    session_id, asked = await park(doomed, plan({"tools": [outer]}, {"text": "Done."}))
    victim.kill()
    await survivor.answer(session_id, interactionId=asked[0]["interactionId"], approved=True)
    stream = await finish(survivor, session_id)
    assert gates.notes == ["deep"]
    assert stream.text == "Done."
    detail = await assert_folds(survivor, crash_lab, session_id)
    inside = detail["messages"][1]["toolCalls"][0]["subagent"]["toolCalls"][0]
    assert inside["result"] == "Deep."
