"""A chat request becomes a run: resolve, refuse, begin.

Law: everything that can be refused is refused before anything is written; session,
run, message and first events are written in one transaction.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from django.conf import settings

from agentsite.engine.deltas import Usage
from agentsite.engine.events import Entry
from agentsite.engine.messages import (
    ImagePart,
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.steps import RunState
from agentsite.engine.transcript import user_to_api
from agentsite.host.agents import Agent, ServedAgents
from agentsite.host.bodies import ChatBody, TextContent
from agentsite.host.clock import new_id, now_ms, tell_time
from agentsite.host.conversation import Persona, RunRequest
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.identity import UNKNOWN, Caller
from agentsite.host.memory_context import Recall, recall, remembers
from agentsite.manifest.reload import UnknownAgent
from agentsite.rows.secrets import Sealed
from agentsite.tools.base import clean
from sessions_app import actions, lookups
from sessions_app.actions import BegunRun, NewAttachment, NewRun, RunRef, SessionBusy
from sessions_app.history import Remembered, load_history
from sessions_app.keys import KeyReused
from sessions_app.late import tell_late
from sessions_app.models import Session
from sessions_app.scopes import ScopeFacts, open_all, read_facts
from sessions_app.subagents import StoredSubagent

MAX_TITLE = 300
OnBusy = Literal["reject", "enqueue", "interrupt", "rollback", "steer"]


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The header, and a hash of the body it came with."""

    key: str
    body_hash: str


class OpenTurn(msgspec.Struct, frozen=True):
    """A turn whose calls do not all have results (after a crash)."""

    position: int
    calls: tuple[ToolCallPart, ...]
    results: tuple[ToolResultPart, ...]


class OpenedRun(msgspec.Struct, frozen=True):
    """A run that was begun or taken over, and all that its driver starts with."""

    agent: Agent
    ref: RunRef
    last_seq: int
    """Number of the last event that was given out."""
    block_end: int
    state: RunState
    request: RunRequest
    history: tuple[Remembered, ...]
    images: dict[str, ImagePart]
    session_usage: Usage
    message_ids: tuple[str, ...]
    """Of the run's messages so far."""
    seconds_used: float = 0.0
    """Running time of earlier attempts."""
    begun: tuple[Entry, ...] = ()
    """`init` and what follows it, which this process has just committed: for its own listeners."""
    assistant_messages: int = 0
    spent: Usage = Usage()
    """Tokens of earlier attempts."""
    spent_micros: int | None = 0
    turn: OpenTurn | None = None
    subagents: dict[str, StoredSubagent] = {}
    """Those that had begun, by the call that dispatched them."""
    memory: str = ""
    """The session's section on memory, the end of its system prompt."""
    sealed: tuple[Sealed, ...] = ()
    """The scope's credentials, for the redactor."""
    persona: Persona | None = None
    """Who speaks in a replay."""


class Wanted(msgspec.Struct, frozen=True):
    """A run as a caller wants it, checked, not yet written."""

    agent: Agent
    new: NewRun
    request: RunRequest
    on_busy: OnBusy
    facts: Mapping[str, ScopeFacts]
    """What is known of the scope, by agent."""
    sealed: tuple[Sealed, ...] = ()
    """The scope's credentials, for the redactor."""

    def for_automation(self, name: str, tags: tuple[str, ...], title: str) -> Wanted:
        """The same as the run of an automation, in a session of that type."""
        new = msgspec.structs.replace(
            self.new,
            session_type="automation",
            automation=name,
            tags=tags,
            title=title[:MAX_TITLE],
        )
        return msgspec.structs.replace(self, new=new)

    def for_eval(self, title: str) -> Wanted:
        """The same as the run of an eval, in a session of that type."""
        new = msgspec.structs.replace(
            self.new, session_type=Session.EVAL, title=f"Eval: {title}"[:MAX_TITLE]
        )
        return msgspec.structs.replace(self, new=new)


def enter_run(
    agents: ServedAgents,
    body: ChatBody,
    caller: Caller,
    owner: str,
    key: IdempotencyKey | None,
    refusal: Refusal | None = None,
    foreseen: Callable[[OpenedRun], None] | None = None,
) -> tuple[Wanted, OpenedRun | SessionBusy | KeyReused]:
    """Prepare and open a run, or tell what is in its way. Synchronous: for `unit`.

    Raises `Refusal`: the one that is given, unless the request repeats an earlier one.
    """
    wanted = prepare_run(agents, body, caller, owner, key)
    try:
        if refusal is not None:
            raise actions.find_reuse(wanted.new) or refusal
        return wanted, open_run(wanted, foreseen)
    except (SessionBusy, KeyReused) as obstacle:
        return wanted, obstacle


def prepare_run(
    agents: ServedAgents, body: ChatBody, caller: Caller, owner: str, key: IdempotencyKey | None
) -> Wanted:
    """Check a chat body against its agent and compose the run. Raises `Refusal`."""
    agent_id, scope_id = body.agentId, caller.scope_id
    if caller.facts is None:
        caller = msgspec.structs.replace(caller, facts=read_facts(scope_id))
    if agent_id is None and body.sessionId is not None and agents.several:
        agent_id = lookups.agent_of(body.sessionId, scope_id)
    try:
        agent = agents.current(agent_id)
    except UnknownAgent as error:
        raise Refusal(404, "agent_not_found", f'There is no agent "{agent_id}".') from error
    caller.enter(agent)
    if body.session_type == "admin" and not caller.identity.has_role("admin"):
        text = 'session_type "admin" needs the role admin: a key, token or account that has it.'
        raise Refusal(403, "forbidden", text)
    pinned = _find_pin(agent, body)
    context = caller.context(agent.id, body.context)
    request = RunRequest(
        pinned=pinned,
        max_session_tokens=body.max_session_tokens,
        context={clean(key): clean(value) for key, value in context.items()},
        user=caller.describe(context),
        key=caller.identity.key_id,
        admin=body.session_type == "admin",
        make_title=True,
    )
    message, attachments = read_message(body)
    wanted = compose_run(
        agent, scope_id, request, message, caller.facts or {}, owner, session_id=body.sessionId
    )
    new = msgspec.structs.replace(
        wanted.new,
        session_type=body.session_type,
        attachments=attachments,
        key=key.key if key else None,
        body_hash=key.body_hash if key else "",
    )
    on_busy = body.onBusy or agent.block.on_busy
    return msgspec.structs.replace(wanted, new=new, on_busy=on_busy)


def compose_run(
    agent: Agent,
    scope_id: str,
    request: RunRequest,
    message: Message,
    facts: Mapping[str, ScopeFacts],
    owner: str,
    *,
    session_id: str | None = None,
) -> Wanted:
    """A run of a message, not yet written; in a session of its own unless one is named."""
    sealed = facts.get(agent.id, UNKNOWN).sealed
    message = agent.redactor_with(open_all(sealed)).struct(message)
    new_session = session_id is None
    run_id, session_id, at = new_id("run"), session_id or new_id("sess"), now_ms()
    config = agent.config("main", request.pinned)
    state = RunState(
        max_turns=agent.block.max_turns,
        max_tool_repeats=agent.block.max_tool_repeats,
        planning=agent.block.plan_mode == "required",
    )
    new = NewRun(
        session_id=session_id,
        new_session=new_session,
        agent=agent.id,
        scope_id=scope_id,
        session_type="chat",
        provider=config.provider,
        model=config.model,
        run_id=run_id,
        message=message,
        aside=tell_time(at),
        api_message=user_to_api(message, at, run_id, session_id),
        attachments=(),
        agent_version=agent.bundle.version,
        agent_hash=agent.bundle.hash,
        state=state,
        request=msgspec.to_builtins(request),
        owner=owner,
        lease_seconds=settings.RUN_LEASE_SECONDS,
        at=at,
    )
    return Wanted(agent, new, request, agent.block.on_busy, facts, sealed)


def open_run(wanted: Wanted, foreseen: Callable[[OpenedRun], None] | None = None) -> OpenedRun:
    """Begin the run. Synchronous: for `unit`.

    `foreseen` is told of a run in a new session while the database still writes it, where
    nothing has to be read for it.

    Raises `Refusal`, `actions.SessionBusy`, or `KeyReused` for a repeated request.
    """
    new = wanted.new
    used = actions.find_reuse(new)
    if used is not None:
        raise used
    telling: Callable[[BegunRun], None] | None = None
    if foreseen is not None and _needs_no_rows(wanted):

        def telling(begun: BegunRun) -> None:
            foreseen(_describe(wanted, begun, Recall()))

    try:
        begun = actions.begin_run(new, telling)
    except actions.SessionNotFound as error:
        raise session_not_found() from error
    ref = RunRef(new.run_id, 1, new.session_id, new.scope_id)
    position = begun.entries[0].seq
    if not new.new_session:
        tell_late(ref, position)
    memory = recall(
        wanted.agent, ref, position,
        starting=True, fresh=new.new_session, admin=wanted.request.admin,
    )  # fmt: skip
    return _describe(wanted, begun, memory)


def _needs_no_rows(wanted: Wanted) -> bool:
    """Whether nothing is read or written beside the beginning of the run."""
    new = wanted.new
    alone = new.new_session and new.key is None and not new.attachments
    return alone and not remembers(wanted.agent)


def _describe(wanted: Wanted, begun: BegunRun, memory: Recall) -> OpenedRun:
    new = wanted.new
    history, images = _load(new, begun, memory.aside)
    return OpenedRun(
        agent=wanted.agent,
        ref=RunRef(new.run_id, 1, new.session_id, new.scope_id),
        last_seq=begun.entries[-1].seq,
        block_end=begun.block_end,
        state=new.state,
        request=wanted.request,
        history=history,
        images=images,
        session_usage=begun.session_usage,
        message_ids=(new.message.id,),
        begun=begun.entries,
        memory=memory.section,
        sealed=wanted.sealed,
    )


def _load(
    new: NewRun, begun: BegunRun, recalled: str
) -> tuple[tuple[Remembered, ...], dict[str, ImagePart]]:
    if new.new_session:  # nothing to read: it is what was just written
        aside = TextPart("\n\n".join(filter(None, (new.aside, recalled))))
        told = msgspec.structs.replace(new.message, parts=(*new.message.parts, aside))
        history: tuple[Remembered, ...] = (Remembered(begun.entries[0].seq, told),)
    else:
        history = load_history(new.session_id)
    return history, load_images(new.session_id, history)


def load_images(session_id: str, history: tuple[Remembered, ...]) -> dict[str, ImagePart]:
    """The stored images that a history refers to."""
    wanted = {
        part.attachment
        for item in history
        for part in item.message.parts
        if isinstance(part, ImagePart) and part.attachment
    }
    return actions.images_of(session_id, wanted) if wanted else {}


def _find_pin(agent: Agent, body: ChatBody) -> int | None:
    if body.model is None:
        return None
    place = agent.find_model(body.model.provider, body.model.model)
    if place is None:
        known = sorted({f"{config.provider}/{config.model}" for config in agent.configs})
        text = f'"model" must be one of the agent\'s models: {", ".join(known)}.'
        raise Refusal(400, "invalid_field", text)
    return place


def read_message(body: ChatBody) -> tuple[Message, tuple[NewAttachment, ...]]:
    """The user's message, its pictures as attachments."""
    parts: list[Any] = []
    attachments: list[NewAttachment] = []

    def attach(media_type: str, data: str, name: str = "") -> None:
        attachment = NewAttachment(new_id("att"), name, media_type, base64.b64decode(data))
        attachments.append(attachment)
        parts.append(ImagePart(media_type, attachment=attachment.id))

    if isinstance(body.message, str):
        parts.append(TextPart(clean(body.message)))
    for content in body.message if isinstance(body.message, list) else ():
        if isinstance(content, TextContent):
            parts.append(TextPart(clean(content.text)))
        elif content.source.type == "url":
            parts.append(ImagePart(content.source.mediaType or "", url=content.source.url))
        else:
            attach(content.source.mediaType or "", content.source.data or "")
    for image in body.images:
        attach(image.mimeType, image.data)
    for file in body.attachments:
        attach(file.mimeType, file.base64, clean(file.name))
    return Message("user", tuple(parts), new_id("msg")), tuple(attachments)
