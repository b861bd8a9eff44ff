"""A person's answers over HTTP: `/ask-user-response` in both forms, `/widget-actions`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from agentsite.host.bodies import ChatBody, Id, ScopeId, parse_json, to_refusal
from agentsite.host.busy import refuse_answer
from agentsite.host.caller import resolve_caller
from agentsite.host.credentials import save_credential
from agentsite.host.edges import api, read_json_body
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.naming import Named
from agentsite.host.site import site
from agentsite.host.views import start_message
from agentsite.rows.units import unit
from agentsite.tools.results import clean, clean_json
from sessions_app import interactions, lookups
from sessions_app.interactions import Answer

NAMES = {
    "session_id": "sessionId",
    "interactionId": "interaction_id",
    "correlation_id": "interaction_id",
    "ask_id": "interaction_id",
    "scopeId": "scope_id",
    "user_id": "userId",
    "tenant_id": "tenantId",
}
MAX_COMMENT = 4_000


class AnswerBody(BaseModel):
    """`POST /ask-user-response`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sessionId: Id | None = None
    interaction_id: Id | None = None
    scope_id: ScopeId | None = None
    userId: ScopeId | None = None
    tenantId: ScopeId | None = None
    approved: bool | None = None
    response: Literal["approve", "deny"] | None = None
    answers: dict[str, Any] | list[Any] | str | None = None
    comment: Annotated[str, StringConstraints(max_length=MAX_COMMENT)] = ""


class WidgetBody(BaseModel):
    """`POST /widget-actions`; what else it carries belongs to the action."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    sessionId: Id
    action: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    scope_id: ScopeId | None = None
    userId: ScopeId | None = None
    tenantId: ScopeId | None = None
    preview_id: Id | None = None
    approved: bool = True


def _parse(raw: bytes) -> dict[str, Any]:
    payload = parse_json(raw)
    unified: dict[str, Any] = {}
    for key, value in payload.items():
        if value is not None:
            unified.setdefault(NAMES.get(key, key), value)
    return unified


def _name(body: AnswerBody | WidgetBody) -> Named:
    return Named(body.scope_id, body.userId, body.tenantId)


@api("POST")
async def ask_user_response(request: HttpRequest, session_id: str = "") -> HttpResponseBase:
    """Answer an interaction; the run goes on by itself."""
    payload = _parse(read_json_body(request))
    if session_id:
        payload["sessionId"] = session_id
    try:
        body = AnswerBody.model_validate(payload)
    except ValidationError as error:
        raise to_refusal(error) from error
    if body.sessionId is None:
        raise Refusal(400, "invalid_field", '"sessionId" is required.')
    caller = await resolve_caller(request, _name(body), session=body.sessionId)
    answer = Answer(_read_decision(body), clean_json(body.answers), clean(body.comment))
    run_id = await answer_interaction(body.sessionId, caller.scope_id, body.interaction_id, answer)
    return JsonResponse({"ok": True, "runId": run_id, "status": "running"})


def _read_decision(body: AnswerBody) -> bool | None:
    if body.response is not None:
        return body.response == "approve"
    if body.approved is not None:
        return body.approved
    if body.answers is not None:
        return None
    text = 'Say "approved": true or false, or give "answers".'
    raise Refusal(400, "invalid_field", text)


async def answer_interaction(
    session_id: str,
    scope_id: str,
    interaction_id: str | None,
    answer: Answer,
    *,
    call_id: str | None = None,
) -> str:
    """Store an answer and let its run go on, here if nobody has it; the run's id.

    The question may be named by its call instead; the only open one is meant when neither is
    given. Raises `Refusal`.
    """
    if await unit(lookups.session_status, session_id, scope_id) is None:
        raise session_not_found()
    try:
        if call_id is not None:
            interaction_id = await unit(interactions.find_by_call, session_id, scope_id, call_id)
        run_id = await unit(interactions.give_answer, session_id, scope_id, interaction_id, answer)
    except interactions.REFUSED as error:
        raise refuse_answer(error) from error
    runs = site().runs
    await runs.claim(run_id)
    await runs.take_signals([run_id])
    return run_id


@api("POST")
async def widget_actions(request: HttpRequest) -> HttpResponseBase:
    """What a person did in a widget: an answer, or the session's next message."""
    raw = read_json_body(request)
    try:
        body = WidgetBody.model_validate(_parse(raw))
    except ValidationError as error:
        raise to_refusal(error) from error
    caller = await resolve_caller(request, _name(body), session=body.sessionId)
    if body.action == "credential_saved":
        await save_credential(caller, body.sessionId, dict(body.model_extra or {}))
        return JsonResponse({"ok": True, "message": "The credentials have been saved."})
    if body.action != "approved":
        extra = dict(body.model_extra or {})
        said = f"[{body.action}]" + (f" {json.dumps(extra, ensure_ascii=False)}" if extra else "")
        chat = ChatBody(
            message=said,
            sessionId=body.sessionId,
            scope_id=body.scope_id,
            userId=body.userId,
            tenantId=body.tenantId,
        )
        session_id, run_id = await start_message(request, chat)
        return JsonResponse(
            {"ok": True, "sessionId": session_id, "runId": run_id, "status": "running"}
        )
    # What a model has drawn may name anything: only a widget that names nothing leaves the choice.
    run_id = await answer_interaction(
        body.sessionId,
        caller.scope_id,
        None,
        Answer(body.approved),
        call_id=body.preview_id,
    )
    return JsonResponse({"ok": True, "runId": run_id, "status": "running"})
