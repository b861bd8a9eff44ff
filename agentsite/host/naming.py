"""Which partition a request names: by header, query and body, and by its token's claims.

Law: a token's claims win and a differing value is logged; without one, two places that
contradict each other are refused. In one body the camelCase spelling counts, `userId` last.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from django.http import HttpRequest

from agentsite.host.errors import Refusal
from agentsite.host.identity import Identity

logger = logging.getLogger(__name__)

MAX_SCOPE = 200
HEADER = "x-scope-id"
SCOPE_NAMES = ("scopeId", "scope_id")
USER_NAMES = ("userId", "user_id")
TENANT_NAMES = ("tenantId", "tenant_id")
ALL_NAMES = frozenset(SCOPE_NAMES + USER_NAMES + TENANT_NAMES)


class Named(msgspec.Struct, frozen=True):
    """Whom one place of a request (its header, query or body) names."""

    scope: str | None = None
    user: str | None = None
    tenant: str | None = None

    @classmethod
    def by(cls, given: Mapping[str, Any]) -> Named:
        """What a body names; of two spellings the camelCase one counts. Raises `Refusal`."""

        def find(names: tuple[str, ...]) -> str | None:
            for name in names:
                value = given.get(name)
                if isinstance(value, str):
                    return value
                if value is not None:
                    raise Refusal(400, "invalid_field", f'"{name}" must be a text.')
            return None

        return cls(find(SCOPE_NAMES), find(USER_NAMES), find(TENANT_NAMES))


NOBODY = Named()


def read_places(request: HttpRequest) -> list[Named]:
    """What header and query name, each value a place of its own, so that none hides another."""
    query = request.GET
    scopes = [value for name in SCOPE_NAMES for value in query.getlist(name)]
    users = [value for name in USER_NAMES for value in query.getlist(name)]
    tenants = [value for name in TENANT_NAMES for value in query.getlist(name)]
    found = [Named(scope=value) for value in scopes] + [Named(tenant=value) for value in tenants]
    found += [Named(user=value) for value in users]
    return [Named(request.headers.get(HEADER)), *found]


def choose_scope(identity: Identity, places: list[Named]) -> str:
    """The partition out of a token's claims and what header, query and body name.

    Raises `Refusal`: 400 for two that contradict each other, 403 for one that is not allowed.
    """
    for place in places:
        for value in (place.scope, place.user, place.tenant):
            _check_text(value)
    tenant = _choose_tenant(identity, places)
    if identity.scope_id is not None:
        given = {place.scope or place.user for place in places} - {None, identity.scope_id}
        if given:
            told = sorted(map(str, given))
            logger.warning("the token's scope_id wins over the request's %s", told)
        return identity.scope_id
    if tenant is not None and not any(place.scope is not None for place in places):
        user = _agree("userId", [place.user for place in places])
        scope_id = tenant if user is None else f"{tenant}:{user}"
        _check_text(scope_id)
    else:
        named = [place.user if place.scope is None else place.scope for place in places]
        scope_id = _agree("scope_id", named if tenant is None else [p.scope for p in places]) or ""
    if not identity.in_tenant(scope_id):
        own = identity.tenant_id
        text = f'This token is for the tenant "{own}": its scopes are "{own}" and "{own}:…".'
        raise Refusal(403, "scope_forbidden", text)
    if not identity.in_scopes(scope_id):
        allowed = ", ".join(f'"{each}"' for each in identity.scopes)
        text = (
            f'This key may not act for the scope "{scope_id}". It may act for: {allowed}. '
            "Name one of them by X-Scope-Id."
        )
        raise Refusal(403, "scope_forbidden", text)
    return scope_id


def _choose_tenant(identity: Identity, places: list[Named]) -> str | None:
    tenant = _agree("tenantId", [place.tenant for place in places])
    if tenant is not None and ":" in tenant:
        text = 'A tenantId has no colon: it divides tenant and user in "tenantId:userId".'
        raise Refusal(400, "invalid_field", text)
    if identity.tenant_id is not None:
        if tenant not in (None, identity.tenant_id):
            text = f'This token is for the tenant "{identity.tenant_id}".'
            raise Refusal(403, "tenant_forbidden", text)
        return identity.tenant_id
    return tenant


def _agree(name: str, given: list[str | None]) -> str | None:
    distinct = sorted({value for value in given if value is not None})
    if len(distinct) > 1:
        told = " and ".join(f'"{value}"' for value in distinct)
        text = f"The request names two different values of {name}: {told}. Name one."
        raise Refusal(400, "scope_contradiction", text)
    return distinct[0] if distinct else None


def _check_text(value: str | None) -> None:
    if value is not None and (len(value) > MAX_SCOPE or not value.isprintable()):
        text = f"A scope_id has 1 to {MAX_SCOPE} printable characters."
        raise Refusal(400, "invalid_field", text)
