"""The one place that decides who calls and which partition that is.

Law: no route reads tenant rows without `resolve_caller`. What a request brings is checked or
refused, never passed over: with keys or tokens on, an Authorization header that is no good is
a 401 even where anonymous callers are served. What staff change stands in the audit log.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.identity import (
    Caller,
    Identity,
    Role,
    scope_blocked,
    scope_required,
)
from agentsite.host.naming import NOBODY, Named, choose_scope, read_places
from agentsite.host.redaction import CALLERS
from agentsite.host.site import site
from agentsite.host.staff import SAFE, find_staff
from agentsite.host.tokens import PAUSE_SECONDS, IssuerUnavailable, TokenRefused
from agentsite.rows.auditing import record
from agentsite.rows.tenancy import act_for, acting_for_all
from agentsite.rows.units import unit
from agentsite.telemetry.ids import carry
from sessions_app import lookups
from sessions_app.api_keys import SIGN

KEPT = "_agentsite_identity"


async def resolve_caller(
    request: HttpRequest,
    body: Named = NOBODY,
    *,
    agent: str | None = None,
    session: str | None = None,
    facts_later: bool = False,
) -> Caller:
    """The caller of a request, checked for the agent that it names, else for all it could mean.

    `body` is what the body names, `agent` and `session` what the route is about; with
    `facts_later` what is not at hand of the scope is left to whoever enters an agent.
    Row work of the request's task is on that scope's behalf from here on.
    Raises `Refusal`: 400 `scope_required` and for contradictions, 401, 403, 429, 503.
    """
    identity = await identify(request)
    scope_id = choose_scope(identity, [*read_places(request), body])
    act_for(scope_id)
    carry(scope_id=scope_id)
    here = site()
    facts = here.callers.known_scope(scope_id)
    if facts is None and not facts_later:
        facts = await here.callers.find_scope(scope_id)
    caller = Caller(scope_id, identity, facts)
    CALLERS.set(caller.sealed())
    named = agent or next(
        (request.GET[name] for name in ("agentId", "agent") if request.GET.get(name)), None
    )
    _check_agents(caller, named)
    if identity.kind == "staff" and request.method not in SAFE:
        await unit(_tell_of, request, caller)
    if session is not None and identity.agents:
        owner = await unit(lookups.agent_of, session, scope_id)
        if owner is None or not caller.may_use(owner):
            raise session_not_found()
    return caller


async def resolve_asgi(scope: Mapping[str, Any]) -> Caller:
    """The same for a plain ASGI application, from the connection's scope. Raises `Refusal`."""
    return await resolve_caller(ASGIRequest(dict(scope), io.BytesIO()))


def _tell_of(request: HttpRequest, caller: Caller) -> None:
    """Note in the audit log what a member of staff asks for in somebody's scope."""
    deed = f"api.{(request.method or '').lower()}"
    record(caller.identity.name, deed, request.path, {"scope": caller.scope_id})


def _check_agents(caller: Caller, named: str | None) -> None:
    agents = site().agents
    known = agents.latest()
    if named is not None:
        if named in known:
            caller.enter(known[named])
            site().callers.saw(named, caller.scope_id)
        return  # an unknown one is refused where it is looked for
    meant = [agent for agent in known.values() if caller.may_use(agent.id)]
    if not meant:
        if known:
            raise Refusal(403, "agent_forbidden", "This key is for none of the agents here.")
        return
    if not caller.scope_id and all(a.bundle.config.scope.require_scope for a in meant):
        raise scope_required()
    if any(caller.fact(agent.id).blocked for agent in meant):
        raise scope_blocked()


async def identify(request: HttpRequest) -> Identity:
    """The caller of a request, looked up once per request. Raises `Refusal` 401, 403, 429, 503."""
    known: Identity | None = getattr(request, KEPT, None)
    if known is None:
        with acting_for_all("who calls is not known yet"):
            known = await _identify(request)
        setattr(request, KEPT, known)
    return known


async def _identify(request: HttpRequest) -> Identity:
    modes = settings.AGENT_AUTH
    if modes == ("none",):
        return Identity()
    given = request.headers.get("authorization", "")
    scheme, _, secret = given.partition(" ")
    secret = secret.strip()
    if given:
        if scheme.lower() != "bearer" or not secret:
            raise unauthorized("The Authorization header must read: Bearer <key or token>.")
        if secret.startswith(SIGN) and "key" in modes:
            return await _take_key(secret)
        if "jwt" in modes:
            return await _take_token(secret)
        raise unauthorized("This is no key of this server.")
    staff = None if "none" in modes else await find_staff(request)
    if staff is not None:
        staff.check(request.method)
        return Identity("staff", staff.name, cast("Role", staff.role))
    if "none" in modes:
        return Identity()
    raise unauthorized("Nobody is named.", error=None)


async def _take_key(text: str) -> Identity:
    callers = site().callers
    key = await callers.find_key(text)
    if key is None:
        raise unauthorized("This key is unknown, revoked or expired.")
    wait = await callers.spend(key)
    if wait is not None:
        told = f"This key may send {key.rate_limit} requests a minute. Try again in {wait} s."
        raise Refusal(429, "rate_limited", told, headers={"Retry-After": str(wait)})
    role = cast("Role", key.role)
    return Identity("key", key.name, role, key.agents, key.scopes, key_id=key.id)


async def _take_token(text: str) -> Identity:
    try:
        claims = await site().callers.tokens.verify(text)
    except TokenRefused as refusal:
        raise unauthorized(str(refusal)) from refusal
    except IssuerUnavailable as error:
        text = "The token's issuer cannot be asked for its keys just now. Try again in a moment."
        wait = {"Retry-After": f"{PAUSE_SECONDS:.0f}"}
        raise Refusal(503, "issuer_unavailable", text, headers=wait) from error
    return Identity(
        "token",
        claims.subject,
        cast("Role", claims.role),
        scope_id=claims.scope_id,
        context=claims.context,
        tenant_id=claims.tenant_id,
    )


def unauthorized(problem: str, error: str | None = "invalid_token") -> Refusal:
    """401 that says how to call; the header is RFC 6750's."""
    ways = []
    if "key" in settings.AGENT_AUTH:
        ways.append(
            "a key (Authorization: Bearer ak_…; operators make one in the admin or with "
            "`manage.py createkey`)"
        )
    if "jwt" in settings.AGENT_AUTH:
        ways.append("a signed token of the application you use (Authorization: Bearer <jwt>)")
    challenge = 'Bearer realm="agentsite"' + (f', error="{error}"' if error else "")
    text = f"{problem} Call with {', or '.join(ways)}."
    return Refusal(401, "unauthorized", text, headers={"WWW-Authenticate": challenge})
