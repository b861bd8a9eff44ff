"""A proposal for the knowledge base reaches the client and waits for an operator."""

from __future__ import annotations

from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client


@requirement("agent.proposals")
async def test_a_proposal_is_told_and_kept_in_its_scope(client: Client, lab: Lab) -> None:
    proposed = call("propose_knowledge", title="Locks", content="Turn left.", reasoning="Asked.")
    message = plan({"tools": [proposed]}, {"text": "Proposed."})
    stream = await client.talk(message, scope_id="acme")
    (frame,) = stream.all("kb_proposal")
    told = {"scope": "agent", "title": "Locks", "reasoning": "Asked.", "content": "Turn left."}
    assert frame.data["proposal"] == {"id": frame.data["id"], **told}
    assert told.items() <= frame.data.items()
    rows = lab.query(
        "SELECT agent, scope_id, session_id, status FROM operations_proposal WHERE id = %s",
        frame.data["id"],
    )
    assert rows == [("plain", "acme", stream.session_id, "waiting")]
