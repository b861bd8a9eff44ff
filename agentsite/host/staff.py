"""Members of staff at the chat page: Django's own session cookie, and its CSRF token.

Law: the cookie alone changes nothing. Whoever asks for more than reading must send the token
that only our own page has. What the account may do is what it may in the admin: look at sessions,
and act on runs. Roles come from the groups `admin` and `ops`.
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
LOOK, ACT = "sessions_app.view_session", "sessions_app.change_run"
"""What staff need in every scope; the groups `viewers` and `operators` have it."""
NO_LOOK = (
    "Your account may not look at conversations. Whoever manages accounts can put it into the group"
    f" viewers or operators, or give it {LOOK}."
)
NO_ACT = (
    "Your account may look and not act here. Whoever manages accounts can put it into the group"
    f" operators, or give it {ACT}."
)


class Staff(msgspec.Struct, frozen=True):
    """A signed-in member of staff."""

    name: str
    role: str
    may_look: bool
    may_act: bool

    def check(self, method: str | None) -> None:
        """Refuse what this account may not do. Raises `Refusal` 403."""
        if not self.may_look:
            raise Refusal(403, "forbidden", NO_LOOK)
        if method not in SAFE and not self.may_act:
            raise Refusal(403, "forbidden", NO_ACT)


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
    return Staff(user.get_username(), role, user.has_perm(LOOK), user.has_perm(ACT))


def may_follow(user: Any) -> bool:
    """Whether a signed-in account may hear of every scope."""
    return bool(user.is_active and user.is_staff and user.has_perm(LOOK))


def _has_token(request: HttpRequest) -> bool:
    check = CsrfViewMiddleware(lambda request: HttpResponse())
    check.process_request(request)
    return check.process_view(request, _unprotected, (), {}) is None


def _unprotected(request: HttpRequest) -> HttpResponse:
    """Stands for a view that Django does protect: ours are exempt, because keys need none."""
    return HttpResponse()
