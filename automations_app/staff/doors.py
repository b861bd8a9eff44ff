"""Who may open a page of staff, asked once for each of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase

from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]


def staff_page(
    permission: str, *methods: str
) -> Callable[[Page[P]], Callable[Concatenate[HttpRequest, P], Any]]:
    """Open a page to staff with a permission of automations: `view`, `add` or `change`.

    Whoever is not signed in is led to the sign-in page; whoever may not is told 403.
    """

    def decorate(page: Page[P]) -> Callable[Concatenate[HttpRequest, P], Any]:
        @functools.wraps(page)
        async def open_page(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            act_for_all("staff")
            may = await unit(_ask, request, permission)
            if may is None:
                return HttpResponseRedirect(f"{settings.LOGIN_URL}?next={quote(request.path)}")
            if not may:
                raise PermissionDenied
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            return await page(request, *args, **kwargs)

        return open_page

    return decorate


def _ask(request: HttpRequest, permission: str) -> bool | None:
    """None for strangers, else whether they may."""
    user: Any = request.user
    if not user.is_authenticated:
        return None
    name = f"automations_app.{permission}_automation"
    return bool(user.is_active and user.is_staff and user.has_perm(name))
