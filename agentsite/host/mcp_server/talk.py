"""A call of `chat`: the run of a message, its progress told, its questions put to the person.

Law: the run is the host's and goes on whatever becomes of the call. An action is approved by what
the client's own form brings back, and by nothing else that arrives here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentsite.engine import events as e
from agentsite.engine.limits import canonical_json, sha256_hex
from agentsite.host.agents import Agent
from agentsite.host.answer_views import answer_interaction
from agentsite.host.bodies import parse_chat
from agentsite.host.busy import decides
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.identity import Caller
from agentsite.host.interest import Answered
from agentsite.host.lifecycle import IdempotencyKey
from agentsite.host.mcp_server.forms import make_form, read_form
from agentsite.host.replies import conclude, follow
from agentsite.host.site import site
from agentsite.host.streams import Follower
from agentsite.host.views import begin
from agentsite.rows.units import unit
from sessions_app import interactions, lookups
from sessions_app.interactions import Answer

Result = types.CallToolResult | types.InputRequiredResult
GONE = {"already_answered", "interaction_expired", "interaction_not_found"}
"""Somebody else was faster, or nobody was in time."""


class Talk:
    """One call of one caller to one agent."""

    def __init__(
        self,
        caller: Caller,
        agent: Agent,
        context: ServerRequestContext[Any, Any],
        params: types.CallToolRequestParams,
        key: str | None,
    ) -> None:
        self.caller = caller
        self.agent = agent
        self._context = context
        self._params = params
        self._key = key
        self._heard: list[e.AnyEvent] = []
        self._count = 0

    async def say(self, arguments: dict[str, Any]) -> Result:
        """`chat`: a message and its answer. Raises `Refusal`."""
        if self._params.input_responses is not None:
            return await self._take_forms()
        if decides(arguments.get("message", "")):
            raise person_required()
        session_id = arguments.get("sessionId")
        if session_id is not None:
            await self.check_session(session_id)
        body = parse_chat(msgspec.json.encode({**arguments, "agentId": self.agent.id}))
        key = None if body.message is None else self._make_key(arguments)
        entrance, follower = await begin(self.caller, body, 0.0, key=key)
        return await self._conclude(follower, replay=entrance.replay)

    def _make_key(self, arguments: dict[str, Any]) -> IdempotencyKey | None:
        """The request's key for the call itself: numbers and tokens around it differ each time."""
        if self._key is None:
            return None
        said = sha256_hex("mcp", self.agent.id, self._params.name, canonical_json(arguments))
        return IdempotencyKey(self._key, said)

    async def check_session(self, session_id: str) -> None:
        """Raises `Refusal` 404 unless it is a session of this caller with this agent."""
        if await unit(lookups.agent_of, session_id, self.caller.scope_id) != self.agent.id:
            raise session_not_found()

    async def go_on(self, session_id: str, answers: dict[str, Answer]) -> Result:
        """Give answers by interaction, and wait for what comes of them. Raises `Refusal`."""
        scope_id = self.caller.scope_id
        # In this order: what is asked after `live` was looked up stands behind its last event.
        live = await unit(lookups.live_run, session_id, scope_id)
        pending = await unit(interactions.find_open, session_id, scope_id)
        if live is None:
            raise Refusal(404, "interaction_not_found", "The session has no such open question.")
        given = set()
        for interaction_id, answer in answers.items():
            with suppress_gone():
                await answer_interaction(session_id, scope_id, interaction_id, answer)
                given.add(interaction_id)
        interest = Answered(
            live.run_id,
            0.0,
            given=[row.call_id for row in pending if row.pk in given],
            asked=[row.call_id for row in pending if row.pk not in answers],
        )
        follower = follow(site().hub, session_id, live.last_seq, interest)
        return await self._conclude(follower, replay=True)

    async def _take_forms(self) -> Result:
        session_id = self._params.request_state or ""
        await self.check_session(session_id)
        pending = await unit(interactions.find_open, session_id, self.caller.scope_id)
        forms = self._params.input_responses or {}
        answers = {
            row.pk: answer
            for row in pending
            if isinstance(form := forms.get(row.pk), types.ElicitResult)
            and (answer := read_form(interactions.to_api(row), form)) is not None
        }
        if pending and not answers:  # the person has closed every form: the questions stay open
            return self._tell(await self._parked(session_id))
        return await self.go_on(session_id, answers)

    async def _parked(self, session_id: str) -> dict[str, Any]:
        """What a caller is told whose person has not decided."""
        pending = await unit(interactions.list_pending, session_id)
        return {
            "sessionId": session_id,
            "reason": "awaiting_confirmation",
            "pendingInteractions": pending,
        }

    async def _conclude(self, follower: Follower, *, replay: bool) -> Result:
        follower.overhear = self._heard.append
        status, document = await conclude(follower, replay=replay, tell=self._tell_progress)
        pending = document.get("pendingInteractions")
        if pending and self._has_forms():
            return types.InputRequiredResult(
                input_requests={each["interactionId"]: make_form(each) for each in pending},
                request_state=document["sessionId"],
            )
        return self._tell(document, is_error=status >= 400)

    def _has_forms(self) -> bool:
        """Whether the client says that it can put a form before its person."""
        known = self._context.session.client_capabilities
        asks = known.elicitation if known is not None else None
        modern = self._context.protocol_version in MODERN_PROTOCOL_VERSIONS
        return modern and asks is not None and (asks.form is not None or asks.url is None)

    def _tell(self, document: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
        said = document["error"]["message"] if is_error else document.get("response", "")
        rest = {key: document[key] for key in SHOWN if key in document}
        texts = [said, json.dumps(rest, ensure_ascii=False)]
        return types.CallToolResult(
            content=[types.TextContent(text=text) for text in texts if text],
            structured_content=document,
            is_error=is_error,
        )

    async def _tell_progress(self) -> None:
        heard = list(self._heard)
        self._heard.clear()
        self._count += len(heard)
        if said := "".join(map(describe, heard)):
            await self._context.session.report_progress(self._count, message=said)


SHOWN = ("sessionId", "runId", "reason", "pendingInteractions")
"""What a model needs beside the answer's text, of clients that show it nothing else."""


@contextmanager
def suppress_gone() -> Iterator[None]:
    """Pass over an answer that came too late: the run tells how it went on."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code not in GONE:
            raise


def describe(event: e.AnyEvent) -> str:
    """What a person would be shown of an event while it happens."""
    match event:
        case e.TextStreamed():
            return event.text
        case e.ToolStarted() if not event.internal:
            return f"\n[{event.running_label or event.name}]\n"
        case _:
            return ""


def person_required() -> Refusal:
    """403: what a model writes approves nothing."""
    text = (
        "An action is approved by a person: in a client that supports elicitation (protocol "
        "2026-07-28), on the chat page, or by your application with POST /ask-user-response. "
        "It can be declined here."
    )
    return Refusal(403, "person_required", text)
