"""Folding the log gives what the session shows: while a run lives, and whatever became of it."""

from __future__ import annotations

from tests.folding import assert_folds
from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client


@requirement("http.fold")
async def test_the_fold_agrees_at_every_moment_of_a_run(
    client: Client, lab: Lab, gates: Gates
) -> None:
    tools = [
        call("gate", port=gates.port, note="first", chatty=True),
        call("present", widget="metric", data={"label": "Ones", "value": 1}),
        call("fail"),
        call("gate", port=gates.port, note="second"),
    ]
    message = plan({"text": "I look. ", "tools": tools}, {"tools": [call("wipe")]}, {"text": "So."})
    async with client.stream(message) as stream:
        waiting = {gate.note: gate for gate in [await gates.next(), await gates.next()]}
        session_id = (await stream.event("tool_label_update")) and stream.session_id
        await stream.event("tool_call_result", 2)
        await assert_folds(client, lab, session_id)
        waiting["second"].open()
        await stream.event("tool_call_result", 3)
        await assert_folds(client, lab, session_id)
        waiting["first"].close()
        await stream.event("confirmation_required")
        detail = await assert_folds(client, lab, session_id)
        assert len(detail["pendingInteractions"]) == 1
        await client.answer(session_id, approved=True)
        await stream.to_end()
    async with client.follow(session_id) as log:
        await log.event("title_changed")
    detail = await assert_folds(client, lab, session_id)
    assert detail["title"]


@requirement("http.fold")
async def test_the_fold_agrees_after_all_that_can_befall_a_run(
    client: Client, elsewhere: Client, lab: Lab, gates: Gates
) -> None:
    work = plan({"text": "At work. ", "tools": [call("gate", port=gates.port)]}, {"text": "End."})
    session_id = (await client.talk("Hello")).session_id
    async with client.stream(work, session_id) as stream:  # rolled back
        await gates.next()
        await elsewhere.talk("Instead", session_id, onBusy="rollback")
        await stream.to_end()
    await assert_folds(client, lab, session_id)
    async with client.stream(work, session_id) as stream:  # steered
        gate = await gates.next()
        async with elsewhere.stream("Joining", session_id, onBusy="steer") as joining:
            gate.open()
            await joining.to_end()
        await stream.to_end()
    await assert_folds(client, lab, session_id)
    async with client.stream(work, session_id) as stream:  # interrupted between two calls
        await gates.next()
        await elsewhere.post(f"/sessions/{session_id}/interrupt", {})
        await stream.to_end()
    await assert_folds(client, lab, session_id)
    silent = plan({"deltas": 5, "silence_after": 2})
    async with client.stream(silent, session_id) as stream:  # interrupted in a sentence
        await stream.event("text_delta")
        await elsewhere.post(f"/sessions/{session_id}/interrupt", {})
        await stream.to_end()
    await assert_folds(client, lab, session_id)
    await client.talk(plan({"deltas": 5, "cut_after": 2}), session_id)  # cut
    await client.talk(plan({"error": {"status": 400}}), session_id)  # refused
    await client.talk(plan({"thinking": "Hm. ", "tools": [call("stop_execution")]}), session_id)
    detail = await assert_folds(client, lab, session_id)
    kinds = {message["type"] for message in detail["messages"]}
    assert kinds == {"user", "assistant_text", "error"}


@requirement("http.fold", "runs.compaction")
async def test_the_fold_agrees_across_compactions(client: Client, lab: Lab) -> None:
    narrow = client.of("narrow")
    session_id = (await narrow.talk("Hello")).session_id
    for _ in range(14):
        await narrow.talk(
            plan({"text": "Well. ", "tools": [call("long", chars=4_000)]}, {}), session_id
        )
        await assert_folds(client, lab, session_id)
    kinds = [message["type"] for message in (await client.detail(session_id))["messages"]]
    assert "summary" in kinds
