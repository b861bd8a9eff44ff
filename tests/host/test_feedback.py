"""Thumbs under answers: kept once, read from the rows, and nobody else's."""

from __future__ import annotations

from tests.lab import Lab
from tests.requirements import requirement
from tests.wire_client import Client


async def answer_of(client: Client, session_id: str, **scope: str) -> str:
    """The id of the session's last answer."""
    query = "".join(f"?scope_id={value}" for value in scope.values())
    session = await client.get(f"/sessions/{session_id}{query}")
    last = next(m for m in reversed(session["messages"]) if m["type"] == "assistant_text")
    return str(last["id"])


@requirement("ops.feedback")
async def test_a_thumb_tells_operators_of_the_answer_and_its_run(client: Client, lab: Lab) -> None:
    stream = await client.talk("How are you?")
    message = await answer_of(client, stream.session_id)
    thumb = {"sessionId": stream.session_id, "messageId": message}
    for rating, comment in (("up", ""), ("down", "Too short")):
        reply = await client.post("/api/feedback", {**thumb, "rating": rating, "comment": comment})
        assert (reply.status, reply.json["ok"]) == (200, True)
    rows = lab.query(
        "SELECT rating, comment, query, response <> '', run_id FROM operations_feedback"
        " WHERE session_id = %s",
        stream.session_id,
    )
    run_id = stream.frames[-1].data["runId"]
    assert rows == [("down", "Too short", "How are you?", True, run_id)]
    told = await client.get(f"/api/feedback?sessionId={stream.session_id}")
    assert told == {"feedback": {message: "down"}}


@requirement("ops.feedback", "scope.enumerated")
async def test_what_cannot_be_rated_is_told(client: Client) -> None:
    stream = await client.talk("How are you?", scope_id="owner-of-thumbs")
    message = await answer_of(client, stream.session_id, scope_id="owner-of-thumbs")
    thumb = {"sessionId": stream.session_id, "messageId": message, "rating": "up"}
    for wrong, status, code in (
        (thumb, 404, "session_not_found"),
        ({**thumb, "scope_id": "stranger"}, 404, "session_not_found"),
        (
            {**thumb, "scope_id": "owner-of-thumbs", "messageId": "msg_x_1"},
            404,
            "message_not_found",
        ),
        ({**thumb, "rating": "sideways"}, 400, "invalid_field"),
        ({"rating": "up"}, 400, "invalid_field"),
        ({**thumb, "stars": 5}, 400, "unknown_field"),
    ):
        reply = await client.post("/api/feedback", wrong)
        assert (reply.status, reply.json["error"]["code"]) == (status, code), wrong
