"""Questions to people: asked, answered once, by whatever way, on whatever process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client, Stream, eventually

WIPE = plan({"text": "Shall I? ", "tools": [call("wipe", note="disk")]}, {"text": "So be it."})
QUESTION = {"question": "Which name?", "type": "text"}
OPTIONS = [{"label": "Red"}, {"label": "Blue"}]


async def park(client: Client, message: str = WIPE, **more: Any) -> tuple[str, list[Any]]:
    """Let a run wait for a person: its session, and what it asks."""
    answer = await client.say(message, **more)
    assert answer["reason"] == "awaiting_confirmation"
    return answer["sessionId"], answer["pendingInteractions"]


async def finish(client: Client, session_id: str, **more: Any) -> Stream:
    """The newest run's events, once it is done."""
    async with client.stream(None, session_id, **more) as stream:
        return await stream.to_end()  # type: ignore[no-any-return]  # a Stream


@requirement("http.answer-alone", "http.answer")
async def test_an_approved_call_runs_and_the_run_goes_on(client: Client, gates: Gates) -> None:
    gates.auto = "wiped"
    tools = [call("wipe", port=gates.port, note="disk")]
    async with client.stream(plan({"text": "Shall I? ", "tools": tools}, {})) as stream:
        asked = (await stream.event("confirmation_required")).data
        assert asked["action"] == "wipe"
        assert asked["details"]["arguments"] == {"port": gates.port, "note": "disk"}
        assert asked["correlation_id"] == asked["interactionId"]
        assert gates.notes == []

        async def waits() -> bool:
            return bool((await client.detail(stream.session_id))["status"] == "waiting")

        await eventually(waits)
        detail = await client.detail(stream.session_id)
        assert [p["interactionId"] for p in detail["pendingInteractions"]] == [
            asked["interactionId"]
        ]
        reply = await client.answer(stream.session_id, approved=True)
        assert reply.json == {"ok": True, "runId": stream.run_id, "status": "running"}
        await stream.to_end()
    assert gates.notes == ["disk"]
    assert stream.events.count("init") == 1
    decided = stream.all("approved")[0].data
    assert decided["action"] == "wipe"
    assert decided["resource_type"] == "tool_call"
    assert decided["preview_id"] == stream.all("tool_call_start")[0].data["id"]
    assert stream.all("tool_call_result")[0].data["result"] == "wiped"
    assert stream.reason == "model_stop"
    assert (await client.detail(stream.session_id))["pendingInteractions"] == []


@requirement("http.answer", "runs.one-result")
async def test_a_denial_gives_all_waiting_siblings_their_results(
    client: Client, gates: Gates
) -> None:
    tools = [
        call("gate", port=gates.port, note="plain"),
        call("wipe", note="a"),
        call("wipe", note="b"),
    ]
    session_id, asked = await park(client, plan({"tools": tools}, {"text": "All right."}))
    reply = await client.answer(
        session_id, interactionId=asked[0]["interactionId"], approved=False, comment="Not today."
    )
    assert reply.status == 200
    stream = await finish(client, session_id)
    assert gates.notes == []
    assert [r.data["status"] for r in stream.all("tool_call_result")] == ["error"] * 3
    assert len(stream.all("denied")) == 1
    assert stream.text == "All right."
    late = await client.answer(session_id, interactionId=asked[1]["interactionId"], approved=True)
    assert (late.status, late.code) == (410, "interaction_expired")


WAYS = {
    "sessionId": ("/ask-user-response", "sessionId", "interactionId", {"approved": True}),
    "session_id": ("/ask-user-response", "session_id", "correlation_id", {"response": "approve"}),
    "ask_id": ("/ask-user-response", "sessionId", "ask_id", {"approved": True, "comment": "Yes."}),
    "path": (
        "/chat/sessions/{id}/ask-user-response",
        "",
        "interaction_id",
        {"response": "approve"},
    ),
}


@requirement("http.answer")
@pytest.mark.parametrize("way", WAYS)
async def test_every_spelling_of_an_answer_counts(client: Client, way: str) -> None:
    path, session_name, name, decision = WAYS[way]
    session_id, asked = await park(client)
    body = {name: asked[0]["interactionId"], **decision}
    if session_name:
        body[session_name] = session_id
    reply = await client.post(path.format(id=session_id), body)
    assert reply.status == 200, reply.raw
    assert (await finish(client, session_id)).events.count("approved") == 1


@requirement("http.widget-action")
async def test_a_widget_answers_by_the_call_it_shows(client: Client) -> None:
    session_id, asked = await park(client)
    body = {"sessionId": session_id, "action": "approved", "preview_id": asked[0]["callId"]}
    drawn = await client.post("/widget-actions", {**body, "preview_id": "p1"})
    assert (drawn.status, drawn.code) == (404, "interaction_not_found")
    assert (await client.detail(session_id))["pendingInteractions"] == asked
    reply = await client.post("/widget-actions", body)
    assert reply.status == 200, reply.raw
    assert (await finish(client, session_id)).events.count("approved") == 1
    reply = await client.post("/widget-actions", body)
    assert (reply.status, reply.code) == (409, "already_answered")


@requirement("http.widget-action")
async def test_any_other_action_becomes_the_next_message(client: Client) -> None:
    first = await client.talk("Hello")
    body = {"sessionId": first.session_id, "action": "reorder", "item": "1042", "x\x00": "y\x00"}
    reply = await client.post("/widget-actions", body)
    assert reply.status == 200, reply.raw
    stream = await finish(client, first.session_id)
    assert stream.run_id == reply.json["runId"]
    message = (await client.detail(first.session_id))["messages"][2]
    assert message["type"] == "user"
    again = await client.post("/widget-actions", body, idempotency_key="key of a widget")
    twice = await client.post("/widget-actions", body, idempotency_key="key of a widget")
    assert again.json["runId"] == twice.json["runId"] != reply.json["runId"]
    assert "reorder" in message["text"]
    assert "1042" in message["text"]


@requirement("http.answered", "http.answer")
async def test_the_first_answer_counts_and_later_ones_are_told_it(
    client: Client, elsewhere: Client
) -> None:
    session_id, asked = await park(client)
    body = {"interactionId": asked[0]["interactionId"]}
    replies = await asyncio.gather(
        *(
            reader.answer(session_id, approved=reader is client, **body)
            for reader in (client, elsewhere) * 5
        )
    )
    assert sorted(reply.status for reply in replies) == [200] + [409] * 9
    won = next(n for n, reply in enumerate(replies) if reply.status == 200) % 2 == 0
    for reply in replies:
        if reply.status == 409:
            assert reply.code == "already_answered"
            assert reply.json["error"]["details"]["first"]["status"] == (
                "approved" if won else "denied"
            )
    stream = await finish(client, session_id)
    assert stream.events.count("approved") + stream.events.count("denied") == 1


@requirement("http.several")
async def test_with_several_open_questions_the_caller_must_name_one(client: Client) -> None:
    tools = [call("wipe", note="a"), call("wipe", note="b")]
    session_id, asked = await park(client, plan({"tools": tools}, {}))
    reply = await client.answer(session_id, approved=True)
    assert (reply.status, reply.code) == (409, "several_open")
    assert reply.json["error"]["details"]["pendingInteractions"] == asked
    for each in asked:
        reply = await client.answer(session_id, interactionId=each["interactionId"], approved=True)
        assert reply.status == 200
    stream = await finish(client, session_id)
    assert [r.data["result"] for r in stream.all("tool_call_result")] == ["passed a", "passed b"]


@requirement("http.answer", "http.not-found")
async def test_unknown_and_foreign_questions_look_the_same(client: Client) -> None:
    session_id, asked = await park(client, scope_id="mine")
    other, _ = await park(client, scope_id="mine")
    name = asked[0]["interactionId"]
    replies = [
        await client.answer(other, interactionId=name, approved=True, scope_id="mine"),
        await client.answer(
            session_id, interactionId="int_" + "a" * 26, approved=True, scope_id="mine"
        ),
    ]
    assert {(reply.status, reply.code) for reply in replies} == {(404, "interaction_not_found")}
    foreign = await client.answer(session_id, interactionId=name, approved=True, scope_id="theirs")
    assert (foreign.status, foreign.code) == (404, "session_not_found")
    for wrong in ({}, {"approved": "yes"}, {"response": "maybe"}, {"approved": True, "huh": 1}):
        reply = await client.answer(session_id, scope_id="mine", **wrong)
        assert (reply.status, reply.code) == (400, "invalid_field"), reply.raw
    assert (await client.answer(session_id, approved=True, scope_id="mine")).status == 200
    await finish(client, session_id, scope_id="mine")
    idle = await client.answer(session_id, approved=True, scope_id="mine")
    assert (idle.status, idle.code) == (404, "interaction_not_found")


@requirement("http.expired")
async def test_a_question_whose_time_is_over_counts_as_denied(client: Client) -> None:
    session_id, asked = await park(client.of("fleeting"))
    stream = await finish(client.of("fleeting"), session_id)
    while stream.reason != "model_stop":  # the grace ended before the question's time was noticed
        stream = await finish(client.of("fleeting"), session_id)
    assert stream.all("tool_call_result")[0].data["status"] == "error"
    assert "Nobody answered" in stream.all("tool_call_result")[0].data["result"]
    reply = await client.answer(session_id, interactionId=asked[0]["interactionId"], approved=True)
    assert (reply.status, reply.code) == (410, "interaction_expired")


@requirement("http.answer-by-chat")
@pytest.mark.parametrize("word", ["approve", "deny"])
async def test_the_agreed_sentence_is_an_answer(client: Client, word: str) -> None:
    session_id, asked = await park(client)
    name = asked[0]["interactionId"]
    said = f"I {word} the action (correlation: {name})"
    stream = await client.talk(said, session_id)
    assert stream.events.count("approved" if word == "approve" else "denied") == 1
    assert stream.all("user_message")[0].data["message"]["text"] == said
    assert stream.reason == "model_stop"
    messages = (await client.detail(session_id))["messages"]
    assert [m["text"] for m in messages if m["type"] == "user"][1:] == [said]


@requirement("runs.busy-reject", "runs.one-live-run")
async def test_a_parked_run_lets_nothing_pass_but_its_answer(client: Client, lab: Lab) -> None:
    session_id, asked = await park(client)
    before = lab.query("SELECT count(*) FROM sessions_app_message")
    for mode in (None, "reject", "enqueue", "interrupt", "rollback", "steer"):
        reply = await client.post("/chat", client.body("Something else", session_id, onBusy=mode))
        assert (reply.status, reply.code) == (409, "session_busy")
        assert reply.json["error"]["details"]["pendingInteractions"] == asked
    wrong = f"I approve the action (correlation: {'int_' + 'a' * 26})"
    assert (await client.post("/chat", client.body(wrong, session_id))).status == 409
    assert lab.query("SELECT count(*) FROM sessions_app_message") == before
    reply = await client.post(f"/sessions/{session_id}/interrupt", {})
    assert reply.json["runId"]
    stream = await finish(client, session_id)
    assert stream.reason == "user_abort"
    assert stream.all("tool_call_result")[0].data["status"] == "error"
    assert (await client.detail(session_id))["pendingInteractions"] == []


@requirement("http.answer")
async def test_answers_to_asked_questions_reach_the_model(client: Client) -> None:
    questions = [QUESTION, {"question": "Now?", "type": "yesno"}]
    message = plan({"tools": [call("ask_user", questions=questions)]}, {"text": "Thanks."})
    async with client.stream(message) as stream:
        asked = (await stream.event("ask_user")).data
        assert asked["questions"] == questions
        assert asked["ask_id"] == asked["interactionId"]
        answers = {"Which name?": "Zoë \x00", "Now?": True}
        reply = await client.answer(stream.session_id, ask_id=asked["ask_id"], answers=answers)
        assert reply.status == 200, reply.raw
        await stream.to_end()
    assert "Zoë" in stream.all("tool_call_result")[0].data["result"]
    assert stream.text == "Thanks."


@requirement("http.choice-by-chat")
async def test_the_next_message_answers_a_choice(client: Client) -> None:
    message = plan({"tools": [call("ask_choice", question="Colour?", options=OPTIONS)]}, {})
    session_id, asked = await park(client, message)
    assert asked[0]["options"] == OPTIONS
    stream = await client.talk("Blue, please", session_id)
    assert stream.all("tool_call_result")[0].data["result"] == "Blue, please"
    assert stream.reason == "model_stop"


@requirement("http.bound")
@pytest.mark.parametrize("column", ["arguments", "parts"])
async def test_only_what_was_shown_is_carried_out(
    client: Client, lab: Lab, gates: Gates, column: str
) -> None:
    gates.auto = "wiped"
    tools = [call("wipe", port=gates.port, note="the old disk")]
    session_id, _ = await park(client, plan({"tools": tools}, {"text": "So be it."}))
    table = {"arguments": "toolcall", "parts": "message"}[column]
    lab.change("ALTER TABLE sessions_app_message DISABLE TRIGGER USER")
    lab.change("ALTER TABLE sessions_app_toolcall DISABLE TRIGGER USER")
    changed = lab.change(
        f"UPDATE sessions_app_{table} SET {column} = replace({column}::text, 'the old disk',"  # noqa: S608 - names of ours
        " 'the new disk')::jsonb WHERE session_id = %s AND"
        f" {column}::text LIKE '%%{{\"%%old disk%%'", session_id,
    )  # fmt: skip
    lab.change("ALTER TABLE sessions_app_message ENABLE TRIGGER USER")
    lab.change("ALTER TABLE sessions_app_toolcall ENABLE TRIGGER USER")
    assert changed >= 1
    assert (await client.answer(session_id, approved=True)).status == 200
    stream = await finish(client, session_id)
    result = stream.all("tool_call_result")[0].data
    assert "the new disk" not in gates.notes
    if gates.notes == []:
        assert result["status"] == "error"
        assert "not the one that was approved" in result["result"]
    else:
        assert gates.notes == ["the old disk"]


@requirement("http.grace", "http.parked-done")
async def test_a_listening_response_ends_after_the_grace_and_the_run_goes_on_later(
    client: Client, lab: Lab
) -> None:
    stream = await client.of("impatient").talk(WIPE)
    assert stream.reason == "awaiting_confirmation"
    last = stream.frames[-1]
    assert last.id is None
    assert last.data["runId"] == stream.run_id
    logged = [type(entry.event).__name__ for entry in lab.entries(stream.session_id)]
    assert "Done" not in logged
    joined = await finish(client, stream.session_id)  # the agent is that of the session
    assert joined.reason == "awaiting_confirmation"
    async with client.follow(stream.session_id, stream.last_id) as log:
        assert (await client.answer(stream.session_id, approved=True)).status == 200
        assert (await log.event("done")).data["reason"] == "model_stop"
    assert log.frames[0].id == stream.last_id + 1


@requirement("http.durable-question")
async def test_questions_outlive_the_process_that_asked(
    victim: Server, doomed: Client, survivor: Client
) -> None:
    session_id, asked = await park(doomed)
    victim.kill()
    assert (await survivor.detail(session_id))["pendingInteractions"] == asked
    async with survivor.follow(session_id) as log:
        assert (await survivor.answer(session_id, approved=True)).status == 200
        await log.event("done")
    assert "run_resumed" not in log.events
    assert [frame.id for frame in log.frames] == list(range(1, len(log.frames) + 1))
    assert log.all("tool_call_result")[0].data["result"] == "passed disk"


@requirement("http.durable-question", "http.answer")
async def test_a_question_can_be_answered_on_another_process(
    client: Client, elsewhere: Client
) -> None:
    async with client.stream(WIPE) as stream:
        await stream.event("confirmation_required")
        assert (await elsewhere.answer(stream.session_id, approved=True)).status == 200
        await stream.to_end()
    assert stream.text == "Shall I? So be it."
    assert [frame.id for frame in stream.frames] == list(range(1, len(stream.frames) + 1))


@requirement("http.chat-parked", "http.answer-by-chat", "http.reconnect")
async def test_answers_by_text_wait_for_none_of_the_other_questions(client: Client) -> None:
    tools = [call("wipe", note="a"), call("wipe", note="b")]
    session_id, asked = await park(client, plan({"tools": tools}, {}))
    said = f"I approve the action (correlation: {asked[0]['interactionId']})"
    answer = await client.say(said, session_id)
    assert answer["reason"] == "awaiting_confirmation"
    assert answer["pendingInteractions"] == asked[1:]
    last = str((await client.detail(session_id))["lastSeq"])
    body = {"sessionId": session_id}
    reply = await client.post("/chat/sync", body, last_event_id=last)
    assert reply.json["reason"] == "awaiting_confirmation"
    await client.answer(session_id, approved=True)
    assert (await finish(client, session_id)).reason == "model_stop"
