"""Permission rules in a run: refused calls never start work, asked ones wait for a person."""

from __future__ import annotations

from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client


@requirement("agent.permissions", "agent.audit")
async def test_rules_refuse_and_ask(client: Client, gates: Gates, lab: Lab) -> None:
    gates.auto = "through"
    tools = [call("gate", port=gates.port, note=note) for note in ("bad one", "odd one")]
    body = plan({"tools": tools}, {"text": "Done."})
    async with client.stream(body, agentId="strict") as stream:
        asked = (await stream.event("confirmation_required")).data
        assert asked["details"]["arguments"]["note"] == "odd one"
        assert gates.notes == []
        await client.answer(stream.session_id, approved=True)
        await stream.to_end()
    results = {each.data["result"] for each in stream.all("tool_call_result")}
    assert results == {"through", "Permission denied: the rule gate(note=bad*) says so."}
    assert gates.notes == ["odd one"]
    calls = [each.data["id"] for each in stream.all("tool_call_start")]
    audited = lab.query(
        "SELECT action FROM operations_auditentry WHERE subject = ANY(%s) ORDER BY number", calls
    )
    assert [action for (action,) in audited] == ["tool.approved", "tool.refused"]
