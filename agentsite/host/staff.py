"""Members of staff at the chat page: Django's own session cookie, and its CSRF token.

Law: the cookie alone changes nothing. Whoever asks for more than reading must send the token
that only our own page has. Roles come from the groups `admin` and `ops`.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from agentsite.host.errors import Refusal
from agentsite.rows.units import unit

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
MAX_COOKIE = 100


class Staff(msgspec.Struct, frozen=True):
    """A signed-in member of staff."""

    name: str
    role: str


async def find_staff(request: HttpRequest) -> Staff | None:
    """Who sits at the page, or None. Raises `Refusal` 403 where the CSRF token is missing."""
    cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    if not cookie or len(cookie) > MAX_COOKIE:
        return None
    staff = await unit(_read_staff, cookie)
    if staff is not None and request.method not in SAFE and not _has_token(request):
        text = "The form token is missing or old. Load the page again, then repeat it."
        raise Refusal(403, "csrf_failed", text)
    return staff


def _read_staff(cookie: str) -> Staff | None:
    request = HttpRequest()
    request.session = SessionStore(cookie)
    user = cast("Any", get_user(request))
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return None
    groups = set(user.groups.values_list("name", flat=True))
    if user.is_superuser or "ops" in groups:
        role = "ops"
    else:
        role = "admin" if "admin" in groups else "user"
    return Staff(user.get_username(), role)


def _has_token(request: HttpRequest) -> bool:
    check = CsrfViewMiddleware(lambda request: HttpResponse())
    check.process_request(request)
    return check.process_view(request, _unprotected, (), {}) is None


def _unprotected(request: HttpRequest) -> HttpResponse:
    """Stands for a view that Django does protect: ours are exempt, because keys need none."""
    return HttpResponse()
