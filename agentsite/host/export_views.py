"""Everything of one scope as a download, for staff who may change scopes.

Law: who takes a scope's data away stands in the audit log before the first byte leaves.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from agentsite.host.edges import api
from agentsite.host.errors import Refusal
from agentsite.host.replies import Download
from agentsite.rows.auditing import record
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.tenants import export_partition
from agentsite.rows.units import unit
from sessions_app.scopes import Scope

WHY = "staff export a scope that they name"


@api("GET")
async def export_scope(request: HttpRequest, key: int) -> HttpResponseBase:
    """The scope with this key as JSON; pieces are read as the download goes on."""
    with acting_for_all(WHY):
        if not await unit(_may_export, request):
            raise Refusal(403, "forbidden", "Sign in to the admin as one who may change scopes.")
        scope = await unit(_find_and_tell, request, key)
    if scope is None:
        raise Refusal(404, "not_found", "There is no such scope.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{scope.agent}-{scope.scope_id or 'empty'}")
    return Download(_read(scope.agent, scope.scope_id), f"{name}.json")


def _may_export(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.is_active and user.is_staff and user.has_perm("sessions_app.change_scope"))


def _find_and_tell(request: HttpRequest, key: int) -> Scope | None:
    scope = Scope.objects.filter(pk=key).first()
    if scope is not None:
        record(request.user.get_username(), "scope.export", str(scope.pk), {"row": str(scope)})
    return scope


async def _read(agent: str, scope_id: str) -> AsyncIterator[bytes]:
    for piece in export_partition(agent, scope_id):
        with acting_for_all(WHY):
            read = await unit(piece)
        yield read
