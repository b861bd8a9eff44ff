"""Automations over HTTP: the list, run, start and stop, and what their runs have come to.

Law: where callers are told apart, only the role `admin` sets anything off, and only in a
partition that it may act for. Others read.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from agentsite.host.edges import check_origin
from agentsite.host.errors import Refusal
from agentsite.host.identity import Caller
from agentsite.host.interest import OneRun
from agentsite.host.naming import Named
from agentsite.host.replies import EventStream, follow
from agentsite.host.rest import ApiView, encode_json, json_answer
from agentsite.host.site import site
from agentsite.host.views import read_idempotency_key
from agentsite.rows.tenancy import act_for, acting_for_all
from agentsite.rows.units import unit
from automations_app import rest, rest_schema, verbs
from automations_app.models import EACH, Automation, AutomationRun
from automations_app.rest import Found
from automations_app.starting import (
    WHY,
    Asked,
    KeyReused,
    find_asked,
    start,
)
from automations_app.waiting import wait_for_end, wait_for_start


class AutomationView(ApiView):
    """What the routes of one automation share."""

    of_one_agent = True

    @property
    def actor(self) -> str:
        """Who calls, for the audit log."""
        return self.caller.identity.name or "a caller"

    def _read_named(self) -> tuple[Named, str | None]:
        """A body may be left out; what page it comes from is asked of a request without one too."""
        if self.request.method == "POST":
            check_origin(self.request._request)
            self.scope_in_body = bool(self.request._request.body)
        return super()._read_named()

    async def find(self, name: str, *, to_change: bool = True) -> Found:
        """The automation that the path names. Raises `Refusal` 400, 403, 404."""
        said = self.read_body(rest_schema.Which) if self.scope_in_body else {}
        if to_change and not may_operate(self.caller):
            text = "Automations are set off by keys, tokens and accounts of the role admin."
            raise Refusal(403, "forbidden", text)
        asked = said.get("agentId") or self.request.query_params.get("agentId")
        agent = asked or site().agents.sources.default
        with acting_for_all(WHY):
            return await unit(rest.find, self.caller, agent, name)

    async def begin(self, found: Found) -> tuple[str, str]:
        """Start a run by hand; its id and its partition. Raises `Refusal`.

        The same request again, by its Idempotency-Key, is the same run.
        """
        partition = self.caller.scope_id if found.partition == EACH else found.partition
        check_partition(self.caller, partition)
        asked = self._read_key()
        with acting_for_all(WHY):
            try:
                started = await self._find_or_begin(found, partition, asked)
            except KeyReused:
                text = "This Idempotency-Key was used with another body."
                raise Refusal(422, "idempotency_key_reused", text) from None
        await start(started)
        return started, partition

    def _read_key(self) -> Asked | None:
        given = read_idempotency_key(self.request._request)
        if given is None:
            return None
        return Asked(hashlib.sha256(given.key.encode()).hexdigest(), given.body_hash)

    async def _find_or_begin(self, found: Found, partition: str, asked: Asked | None) -> str:
        if asked is not None:
            known = await unit(find_asked, found.id, partition, asked)
            if known is not None:
                return known
        site().runs.check_room(partition)
        name = self.caller.identity.name
        return await unit(verbs.run_and_record, found.id, partition, name, self.actor, asked)


def may_operate(caller: Caller) -> bool:
    """Whether a caller may set automations off: where nobody is told apart, everybody may."""
    return settings.AGENT_AUTH == ("none",) or caller.identity.has_role("admin")


def may_change(caller: Caller, partition: str) -> bool:
    """Whether what an automation does, and its prompt, is a caller's to decide and to read.

    One that runs in every scope is so for those alone who are bound to none.
    """
    identity = caller.identity
    return not identity.is_bound if partition == EACH else identity.may_act_for(partition)


def check_change(caller: Caller, found: Found) -> None:
    """Refuse a caller to start or stop what runs in scopes that are not its own."""
    if not may_change(caller, found.partition):
        text = f'"{found.name}" runs in scopes that are not yours. Ask the operators.'
        raise Refusal(403, "scope_forbidden", text)


def check_partition(caller: Caller, scope_id: str) -> None:
    """Refuse a caller that may not act for the partition in which an automation runs."""
    if not caller.identity.may_act_for(scope_id):
        raise Refusal(403, "scope_forbidden", "This automation runs in a scope that is not yours.")


class AutomationList(ApiView):
    """`/automations`"""

    @extend_schema(**rest_schema.LIST)
    async def get(self, request: Request) -> HttpResponse:
        """All automations, with what has become of each last run in the caller's scope."""
        agent = request.query_params.get("agentId")
        with acting_for_all(WHY):
            shown = await unit(rest.list_shown, self.caller, agent)
        whole = may_operate(self.caller)
        told = {row.pk for row in shown if whole and may_change(self.caller, row.partition)}
        found = await unit(rest.describe, shown, self.scope_id, told)
        return json_answer(encode_json({"automations": found}))


class AutomationRunNow(AutomationView):
    """`/automations/{automation}/run`"""

    http_method_names = ["post"]

    @extend_schema(**rest_schema.RUN)
    async def post(self, request: Request, automation: str) -> HttpResponse:
        """Run it now and answer when it has ended."""
        found = await self.find(automation)
        started, _ = await self.begin(found)
        row = await wait_for_end(started)
        told = {"automation": found.name, "runId": row.pk, "sessionId": row.session_id or None}
        if row.status == AutomationRun.Status.SUCCESS:
            return json_answer(encode_json({"status": "completed", **told, "output": row.output}))
        if row.status == AutomationRun.Status.WAITING:
            return _answer(202, {"status": "waiting", **told})
        return _answer(500, {"error": row.error, "matched": True, **told})


class AutomationStream(AutomationView):
    """`/automations/{automation}/stream`"""

    http_method_names = ["post"]

    @extend_schema(**rest_schema.STREAM)
    async def post(self, request: Request, automation: str) -> HttpResponseBase:
        """Run it now and follow it, as SSE."""
        started, partition = await self.begin(await self.find(automation))
        place = await wait_for_start(started)
        if isinstance(place, AutomationRun):
            raise Refusal(503, "cannot_start", place.error or "The run could not be started.")
        session_id, run_id, after = place
        act_for(partition)  # the answer reads that session's log
        return EventStream(follow(site().hub, session_id, after, OneRun(run_id, 0.0)), replay=True)


class AutomationStart(AutomationView):
    """`/automations/{automation}/start`"""

    http_method_names = ["post"]

    @extend_schema(**rest_schema.START)
    async def post(self, request: Request, automation: str) -> HttpResponse:
        """Let its schedule set it off again."""
        found = await self.find(automation)
        check_change(self.caller, found)
        check_schedule(found)
        with acting_for_all(WHY):
            if not await unit(verbs.turn_and_record, found.id, self.actor, paused=False):
                raise Refusal(409, "already_running", f'"{found.name}" is already running.')
        return _answer(200, {"status": "started", "automation": found.name})


class AutomationStop(AutomationView):
    """`/automations/{automation}/stop`"""

    http_method_names = ["post"]

    @extend_schema(**rest_schema.STOP)
    async def post(self, request: Request, automation: str) -> HttpResponse:
        """Let nothing but a person set it off any more."""
        found = await self.find(automation)
        check_change(self.caller, found)
        check_schedule(found)
        with acting_for_all(WHY):
            if not await unit(verbs.turn_and_record, found.id, self.actor, paused=True):
                raise Refusal(409, "not_running", f'"{found.name}" is not running.')
        return _answer(200, {"status": "stopped", "automation": found.name})


def check_schedule(found: Found) -> None:
    """Refuse to start or stop what no clock sets off."""
    if found.trigger == Automation.Trigger.WEBHOOK:
        text = f'"{found.name}" is webhook-triggered — it is always available.'
        raise Refusal(409, "webhook_triggered", text)
    if not found.schedule:
        raise Refusal(409, "no_schedule", f'"{found.name}" has no schedule.')


class AutomationRuns(AutomationView):
    """`/automations/{automation}/runs`"""

    http_method_names = ["get", "head"]

    @extend_schema(**rest_schema.RUNS)
    async def get(self, request: Request, automation: str) -> HttpResponse:
        """Its runs in the caller's scope, newest first."""
        query = self.read_query(rest_schema.RunsQuery)
        found = await self.find(automation, to_change=False)
        limit, cursor = query.get("limit", 50), query.get("cursor")
        page = await unit(rest.list_runs, found.id, self.scope_id, limit, cursor)
        return json_answer(encode_json(page))


def _answer(status: int, told: dict[str, Any]) -> HttpResponse:
    return HttpResponse(encode_json(told), status=status, content_type="application/json")
