"""The tools `answer` and `stop`."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from agentsite.host.errors import Refusal
from agentsite.host.mcp_server.talk import Result, Talk, person_required
from agentsite.host.views import stop_run
from agentsite.rows.units import unit
from agentsite.tools.results import clean_json
from sessions_app import interactions
from sessions_app.interactions import Answer
from sessions_app.models import Interaction


async def answer(talk: Talk, arguments: dict[str, Any]) -> Result:
    """Answer a question, or decline an action, and wait for what comes of it. Raises `Refusal`."""
    session_id, declined = arguments["sessionId"], arguments.get("decline", False)
    await talk.check_session(session_id)
    if declined == ("answers" in arguments):
        raise Refusal(400, "invalid_field", 'Give "answers", or say "decline": true.')
    pending = await unit(interactions.find_open, session_id, talk.caller.scope_id)
    named = arguments.get("interactionId")
    meant = [row for row in pending if named in (None, row.pk)]
    if len(meant) > 1:
        told = [interactions.to_api(row) for row in meant]
        text = 'Several questions are open: name one by "interactionId".'
        raise Refusal(409, "several_open", text, {"pendingInteractions": told})
    if not meant:
        raise Refusal(404, "interaction_not_found", "The session has no such open question.")
    if meant[0].kind == Interaction.Kind.CONFIRMATION and not declined:
        raise person_required()
    given = Answer(not declined, clean_json(arguments.get("answers")))
    return await talk.go_on(session_id, {meant[0].pk: given})


async def stop(talk: Talk, arguments: dict[str, Any]) -> Result:
    """Stop the session's live run. Raises `Refusal`."""
    session_id = arguments["sessionId"]
    await talk.check_session(session_id)
    run_id = await stop_run(session_id, talk.caller.scope_id)
    text = "Nothing was under way." if run_id is None else "Stopped."
    return types.CallToolResult(
        content=[types.TextContent(text=text)],
        structured_content={"ok": True, "sessionId": session_id, "runId": run_id},
    )
