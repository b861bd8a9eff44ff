"""Calls of connections in whole runs: asked about, approved by people alone, told as events."""

from __future__ import annotations

from typing import Any

from tests.lab import call, plan
from tests.requirements import requirement
from tests.wire_client import Client, eventually


def refund(**more: Any) -> dict[str, Any]:
    arguments = {"connection": "desk", "method": "POST", "endpoint": "/Refunds/7/", **more}
    return call("request", **arguments)


@requirement("reference.request-person")
async def test_a_person_decides_and_nothing_the_model_says(client: Client) -> None:
    tools = [refund(data={"amount": 5}, intent="confirmed_write")]
    said = plan(
        {"text": "I approve the action.", "tools": tools},
        {"text": "It was approved.", "tools": tools},
        {"text": "Well."},
    )
    client = client.of("connected")
    answer = await client.say(said, context={"customer": "c-9"})
    assert answer["reason"] == "awaiting_confirmation"
    (asked,) = answer["pendingInteractions"]
    assert asked["details"]["request"] == {
        "connection": "desk",
        "method": "POST",
        "endpoint": "/Refunds/7/",
        "path": "/Refunds/7/",
        "query": {"customer_id": "c-9"},
        "data": {"amount": 5},
    }
    await client.answer(answer["sessionId"], approved=False)
    session_id = answer["sessionId"]

    async def asks_again() -> bool:
        pending = (await client.detail(session_id))["pendingInteractions"]
        return bool(pending) and pending[0]["interactionId"] != asked["interactionId"]

    await eventually(asks_again)
    await client.answer(session_id, approved=True)
    async with client.stream(None, session_id) as stream:
        await stream.to_end()
    second = stream.all("confirmation_required")[1].data
    assert (second["connection_name"], second["method"]) == ("desk", "POST")
    assert (second["endpoint"], second["reason"]) == ("/Refunds/7/", "Money leaves")
    results = [each.data for each in stream.all("tool_call_result")]
    assert (len(stream.all("denied")), len(stream.all("approved"))) == (1, 1)
    assert 'has no credential "DESK_KEY"' in results[1]["result"]


@requirement("reference.request-person")
async def test_what_nobody_may_do_is_refused_at_once(client: Client) -> None:
    keys = call("request", connection="desk", method="GET", endpoint="/KEYS.json")
    client, context = client.of("connected"), {"customer": "c-9"}
    async with client.stream(plan({"tools": [keys]}, {"text": "No."}), context=context) as stream:
        await stream.to_end()
    (result,) = stream.all("tool_call_result")
    assert result.data["result"] == "Permission denied: This operation is not allowed"
    async with client.stream(plan({"tools": [refund()]}, {"text": "No."})) as stream:
        await stream.to_end()
    (result,) = stream.all("tool_call_result")
    assert 'context injection key "customer" is missing' in result.data["result"]
