"""What a run does: its turns, its limits, its ends, what it costs."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

from agentsite.engine import steps
from agentsite.engine.limits import loop_sentence
from agentsite.host.driver import Driver
from agentsite.host.liverun import LiveRun
from tests.gates import Gates
from tests.lab import MAIN, Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client, Stream, eventually

GATE = {"tools": [call("gate", note="x")]}


@requirement("runs.max-turns")
async def test_a_limit_of_three_turns_is_three_model_calls(client: Client, lab: Lab) -> None:
    message = plan(GATE, GATE, GATE, {"text": "A fourth."}, say="turns-of-three")
    stream = await client.of("few-turns").talk(message)
    assert stream.reason == "max_turns"
    assert stream.events.count("tool_call_result") == 3
    assert len([r for r in lab.fake.requests("turns-of-three") if r.body["model"] == MAIN]) == 3
    exact = await client.of("few-turns").talk(plan(GATE, GATE, {"text": "The third."}))
    assert (exact.reason, exact.text) == ("model_stop", "The third.")


@requirement("runs.loop")
async def test_too_many_similar_calls_end_the_run(client: Client) -> None:
    stream = await client.of("no-repeats").talk(plan(*[GATE] * 5))
    assert stream.reason == "loop_detected"
    results = [frame.data["status"] for frame in stream.all("tool_call_result")]
    assert results == ["success", "success", "error"]
    assert stream.text == loop_sentence(2)
    detail = await client.detail(stream.session_id)
    assert detail["messages"][-1]["text"] == loop_sentence(2)
    assert (
        await client.of("no-repeats").talk(plan(GATE), stream.session_id)
    ).reason == "model_stop"


@requirement("runs.stop")
async def test_a_tool_may_end_the_run(client: Client) -> None:
    tools = [call("stop_execution", reason="Nothing left to do."), call("gate", note="y")]
    stream = await client.talk(plan({"text": "That is all.", "tools": tools}, {"text": "More?"}))
    assert stream.reason == "stopped"
    assert [frame.data["status"] for frame in stream.all("tool_call_result")] == ["success"] * 2
    assert stream.text == "That is all."


@requirement("runs.run-timeout", "runs.one-result")
async def test_a_run_ends_when_its_time_is_over(client: Client, gates: Gates) -> None:
    message = plan({"tools": [call("gate", port=gates.port)]})
    async with client.of("hurried").stream(message) as stream:
        gate = await gates.next()
        await stream.to_end()
        await gate.left()
    assert stream.reason == "error"
    assert stream.all("error")[0].data["code"] == "run_timeout"
    assert stream.all("tool_call_result")[0].data["status"] == "error"
    assert stream.events.index("tool_call_result") < stream.events.index("error")


@requirement("http.interrupt", "runs.interrupt-text")
async def test_a_stop_in_the_middle_of_a_sentence_keeps_what_was_said(
    client: Client, elsewhere: Client, lab: Lab
) -> None:
    message = plan({"deltas": 8, "silence_after": 4}, say="stop-me-now")
    left = lab.fake.fake.left_streams
    async with client.stream(message) as stream:
        await stream.event("text_delta")
        reply = await elsewhere.post(f"/sessions/{stream.session_id}/interrupt", {})
        assert reply.json == {"ok": True, "runId": stream.run_id}
        await stream.to_end(2)
    assert stream.reason == "user_abort"
    await lab.fake.wait_until(lambda fake: fake.left_streams > left)
    answer = (await client.detail(stream.session_id))["messages"][1]
    assert answer["partial"] is True
    assert answer["text"] == stream.text != ""
    again = await elsewhere.post(f"/sessions/{stream.session_id}/interrupt", {})
    assert again.json == {"ok": True, "runId": None}
    await client.talk("And after the stop?", stream.session_id)
    told = json.dumps(lab.fake.requests("And after the stop?")[0].body)
    assert answer["text"] in told


@requirement("http.interrupt", "runs.one-result")
async def test_a_stop_in_the_middle_of_calls_gives_each_its_result(
    client: Client, gates: Gates
) -> None:
    tools = [call("gate", port=gates.port, note=note) for note in "ab"]
    async with client.stream(plan({"text": "Two.", "tools": tools})) as stream:
        waiting = [await gates.next(), await gates.next()]
        next(gate for gate in waiting if gate.note == "a").open("done before")
        await stream.event("tool_call_result")
        await client.post(f"/sessions/{stream.session_id}/interrupt", {})
        await stream.to_end()
        for gate in waiting:
            await gate.left()
    assert stream.reason == "user_abort"
    results = [(r.data["status"], r.data["result"]) for r in stream.all("tool_call_result")]
    assert results[0] == ("success", "done before")
    assert results[1][0] == "error"
    detail = await client.detail(stream.session_id)
    assert [c["status"] for c in detail["messages"][1]["toolCalls"]] == ["success", "error"]


@requirement("runs.tools-parallel")
async def test_two_tools_that_wait_for_each_other_both_finish(client: Client, gates: Gates) -> None:
    tools = [call("gate", port=gates.port, note=note) for note in ("one", "other")]
    async with client.stream(plan({"tools": tools}, {"text": "Both."})) as stream:
        one, other = await gates.next(), await gates.next()
        await stream.event("tool_call_start", 2)
        assert not stream.all("tool_call_result"), "each waits for the other"
        for gate, met in ((one, other), (other, one)):
            gate.open(f"{gate.note} met {met.note}")
        await stream.to_end()
    kinds = [name for name in stream.events if name.startswith("tool_call_")]
    assert kinds == ["tool_call_start"] * 2 + ["tool_call_result"] * 2
    results = {each.data["result"] for each in stream.all("tool_call_result")}
    assert results == {"one met other", "other met one"}
    assert stream.reason == "model_stop"


@requirement("runs.tools-parallel")
async def test_calls_of_a_turn_run_together_and_results_stand_in_order(
    client: Client, gates: Gates, lab: Lab
) -> None:
    tools = [call("gate", port=gates.port, note=note) for note in ("one", "two", "three")]
    async with client.stream(plan({"tools": tools}, {}, say="in-call-order")) as stream:
        waiting = {gate.note: gate for gate in [await gates.next() for _ in tools]}
        for count, note in enumerate(("three", "one", "two"), start=1):
            waiting[note].open(f"result of {note}")
            ended = await stream.event("tool_call_result", count)
            assert ended.data["result"] == f"result of {note}"
        await stream.to_end()
    assert stream.events.index("tool_call_result") > max(
        place for place, name in enumerate(stream.events) if name == "tool_call_start"
    )
    told = json.dumps(lab.fake.requests("in-call-order")[1].body)
    places = [told.index(f"result of {note}") for note in ("one", "two", "three")]
    assert places == sorted(places)


@requirement("runs.invalid-arguments")
async def test_broken_arguments_are_an_error_that_the_model_sees(client: Client, lab: Lab) -> None:
    broken = {"tools": [call("gate", note="x")], "invalid_args": '{"note": "x'}
    wrong = {"tools": [call("gate", note=5)]}
    unknown = {"tools": [call("teleport", to="Rome")]}
    stream = await client.talk(plan(broken, wrong, unknown, {"text": "I see."}, say="broken-args"))
    assert stream.reason == "model_stop"
    assert stream.text == "I see."
    results = [frame.data for frame in stream.all("tool_call_result")]
    assert [result["status"] for result in results] == ["error"] * 3
    told = json.dumps(lab.fake.requests("broken-args")[-1].body)
    assert "not a JSON object" in told
    assert "Invalid parameters" in told
    assert "not found" in told


@requirement("runs.cost")
async def test_the_costs_of_the_calls_add_up(client: Client, lab: Lab) -> None:
    usage = {"input": 308, "cache_read": 118_424, "cache_write": 181, "output": 111}
    message = plan({**GATE, "usage": usage}, {"text": "Paid.", "usage": usage})
    stream = await client.talk(message)
    async with client.follow(stream.session_id) as log:
        await log.event("title_changed")
    rows = lab.query(
        "SELECT purpose, cost_micros, input + cache_read + cache_write + cache_write_1h + output"
        " + reasoning FROM sessions_app_modelcall WHERE session_id = %s ORDER BY id",
        stream.session_id,
    )
    assert [row[0] for row in rows] == ["main", "main", "title"]
    assert [row[1] for row in rows[:2]] == [38_795, 38_795]
    done = stream.frames[-1].data
    assert done["cost"]["estimatedCostMicros"] == 2 * 38_795
    assert done["usage"]["total_tokens"] == rows[0][2] + rows[1][2]
    detail = await client.detail(stream.session_id)
    assert detail["cost"]["estimatedCostMicros"] == sum(row[1] for row in rows)
    assert detail["token_usage"]["total_tokens"] == sum(row[2] for row in rows)
    run = lab.query(
        "SELECT cost_micros, input + cache_read + cache_write + output FROM sessions_app_run"
        " WHERE id = %s", stream.run_id,
    )  # fmt: skip
    assert run[0][0] == sum(row[1] for row in rows)


@requirement("runs.compaction")
async def test_a_conversation_that_outgrows_its_window_is_summarised(
    client: Client, lab: Lab
) -> None:
    narrow = client.of("narrow")
    first = await narrow.talk("Remember the word turnstone.")
    session_id = first.session_id
    stream: Stream | None = None
    for _ in range(12):
        stream = await narrow.talk("Tell me more. " + "blah " * 400, session_id)
        if "compaction_end" in stream.events:
            break
    assert stream is not None
    assert stream.reason == "model_stop"
    start, end = stream.all("compaction_start")[0].data, stream.all("compaction_end")[0].data
    assert start["threshold"] == int(6_000 * 0.8)
    assert start["estimated_tokens"] > start["threshold"] > end["tokens_after"]
    assert end["compaction_tokens"] > 0
    detail = await client.detail(session_id)
    kinds = [message["type"] for message in detail["messages"]]
    assert kinds.count("summary") == 1
    assert detail["messages"][0]["text"] == "Remember the word turnstone."
    summary = next(m for m in detail["messages"] if m["type"] == "summary")
    told = json.dumps(lab.fake.requests(f"{summary['text'][:40]}")[-1].body)
    assert "turnstone" not in told
    purposes = lab.query(
        "SELECT purpose FROM sessions_app_modelcall WHERE session_id = %s", session_id
    )
    assert ("compaction",) in purposes


@requirement("runs.late")
async def test_what_outlives_its_run_is_told_with_the_next_message_once(
    client: Client, gates: Gates, lab: Lab
) -> None:
    tools = [call("stubborn", port=gates.port, note="on")]
    first = asyncio.create_task(client.say(plan({"tools": tools}, {"text": "Given up."})))
    gate = await gates.next()
    answer = await first
    session, given_up = answer["sessionId"], answer["toolCalls"][0]
    assert "did not finish within 0.2 s" in given_up["error"]
    quiet = await client.say(plan({"text": "Nothing yet."}, say="before-it-came"), session)
    gate.open("it was done after all")

    async def kept() -> bool:
        return bool(lab.query("SELECT 1 FROM sessions_app_lateresult WHERE text <> ''"))

    await eventually(kept)
    read = [call("read_tool_result", call_id=given_up["id"])]
    told = await client.say(plan({"tools": read}, {}, say="after-it-came"), session)
    assert told["toolCalls"][0]["result"].count("it was done after all") == 1
    await client.say(plan({"text": "Bye."}, say="once-only"), session)
    assert quiet["reason"] == "model_stop"

    def count(word: str) -> int:
        """How often a request tells of it, beside what the tool has read."""
        body = json.dumps(lab.fake.requests(word)[0].body)
        return body.count("stubborn {") if "# Late results" in body else 0

    assert [count(w) for w in ("before-it-came", "after-it-came", "once-only")] == [0, 1, 1]
    [(told_by,)] = lab.query("SELECT told_by_id FROM sessions_app_lateresult")
    assert told_by == told["runId"]


@requirement("runs.busy-rollback")
def test_a_rollback_is_heard_behind_a_stop_that_is_not_yet_obeyed() -> None:
    posted: list[Any] = []
    driver = SimpleNamespace(rolled_back=False, post=posted.append)
    run = LiveRun(cast(Driver, driver))
    for rollback in (False, True, False):
        run.interrupt(rollback=rollback)
    assert driver.rolled_back
    assert posted == [steps.Cancelled("user_abort")]
