"""Answers of the wrong kind, to a question that is closed, or given twice under one key."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.host.test_interactions import OPTIONS, QUESTION, finish, park
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client


@requirement("http.answer")
async def test_answers_alone_approve_nothing_and_a_question_is_not_approved(
    client: Client,
) -> None:
    session_id, asked = await park(client)
    reply = await client.answer(session_id, answers={"Which name?": "Ada"})
    assert (reply.status, reply.code) == (400, "invalid_field")
    assert (await client.detail(session_id))["pendingInteractions"] == asked
    assert (await client.answer(session_id, approved=True, answers={})).status == 200
    assert (await finish(client, session_id)).events.count("approved") == 1
    question = plan({"tools": [call("ask_user", questions=[QUESTION])]}, {"text": "Thanks."})
    session_id, asked = await park(client, question)
    name = asked[0]["interactionId"]
    wrongs: list[dict[str, Any]] = [{"approved": True}, {"response": "approve"}]
    for wrong in wrongs:
        reply = await client.answer(session_id, **wrong)
        assert (reply.status, reply.code) == (400, "invalid_field")
    said = client.body(f"I approve the action (correlation: {name})", session_id)
    assert (await client.post("/chat", said)).status == 400
    assert (await client.detail(session_id))["pendingInteractions"] == asked
    assert (await client.answer(session_id, answers={"Which name?": "Ada"})).status == 200
    stream = await finish(client, session_id)
    assert "Ada" in stream.all("tool_call_result")[0].data["result"]
    session_id, _ = await park(client, question)
    assert (await client.answer(session_id, approved=False)).status == 200
    assert (await finish(client, session_id)).events.count("denied") == 1


@requirement("http.answer-by-chat")
async def test_the_agreed_sentence_about_a_closed_question_is_no_message(client: Client) -> None:
    answered, first = await park(client)
    assert (await client.answer(answered, approved=False)).status == 200
    stopped, second = await park(client)
    await client.post(f"/sessions/{stopped}/interrupt", {})
    for session_id, asked, expected in (
        (answered, first, (409, "already_answered")),
        (stopped, second, (410, "interaction_expired")),
    ):
        await finish(client, session_id)
        before = (await client.detail(session_id))["messages"]
        said = f"I approve the action (correlation: {asked[0]['interactionId']})"
        for mode in (None, "enqueue"):
            reply = await client.post("/chat", client.body(said, session_id, onBusy=mode))
            assert (reply.status, reply.code) == expected
        assert (await client.detail(session_id))["messages"] == before
    # To another session the same words are a message like any other.
    other = (await client.talk("Hello")).session_id
    assert (await client.talk(said, other)).reason == "model_stop"


@requirement("http.idempotency", "http.choice-by-chat")
async def test_a_repeated_message_answers_a_question_once(
    client: Client, elsewhere: Client, lab: Lab
) -> None:
    choice = call("ask_choice", question="Colour?", options=OPTIONS)
    session_id, _ = await park(client, plan({"tools": [choice]}, {}))
    blue = plan({"text": "Blue it is."}, say="Blue")
    body, key = client.body(blue, session_id), {"idempotency_key": "key of test four"}
    replies = await asyncio.gather(
        *(reader.post("/chat", body, **key) for reader in (client, elsewhere) * 3)
    )
    replies.append(await elsewhere.post("/chat", body, **key))
    said = {(reply.status, reply.json.get("response")) for reply in replies}
    assert said == {(200, "Blue it is.")}
    assert len({reply.json["runId"] for reply in replies}) == 1
    rows = "SELECT count(*) FROM sessions_app_run WHERE session_id = %s"
    assert lab.query(rows, session_id) == [(1,)]
    said_at_last = [message["text"] for message in (await client.detail(session_id))["messages"]]
    assert said_at_last.count(blue) == 1
    other = await client.post("/chat", client.body("Red", session_id), **key)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


@requirement("http.idempotency", "http.answer-by-chat")
async def test_a_repeated_approval_is_the_run_that_it_woke(
    client: Client, elsewhere: Client
) -> None:
    session_id, asked = await park(client)
    said = f"I approve the action (correlation: {asked[0]['interactionId']})"
    body, key = client.body(said, session_id), {"idempotency_key": "key of test five"}
    first = await client.post("/chat", body, **key)
    again = await elsewhere.post("/chat", body, **key)
    assert (first.status, again.status) == (200, 200), again.raw
    assert again.json == first.json
    for other in (await client.post("/chat", body, idempotency_key="another key"),
                  await client.post("/chat", body)):  # fmt: skip
        assert (other.status, other.code) == (409, "already_answered")
