"""What a request passes on its way in, shaped so that API calls never change threads.

Law: Django runs a synchronous middleware hook on a thread, twice per middleware and request.
Pure ones run in place here; those that read rows run for staff pages alone. Static files are
served before Django (`statics.py`), so whitenoise's middleware is not in the list either.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from csp.constants import HEADER
from csp.middleware import CSPMiddleware, PolicyParts
from csp.utils import build_policy
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

DATA = ("application/json", "text/event-stream")

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from django.http import HttpRequest, HttpResponsePermanentRedirect
    from django.http.response import HttpResponseBase


class InPlace(MiddlewareMixin):
    """Run hooks that only look at headers on the event loop instead of on a thread."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        before = getattr(self, "process_request", None)
        after = getattr(self, "process_response", None)
        response: HttpResponseBase | None = before(request) if before else None
        if response is None:
            response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
        return after(request, response) if after else response


class StaffOnly(MiddlewareMixin):
    """Step aside for every path that is not a staff page."""

    def __call__(self, request: HttpRequest) -> Any:
        if is_staff_path(request.path_info):
            return super().__call__(request)
        return self.get_response(request)


def is_staff_path(path: str) -> bool:
    """Whether a page behind the sign-in is asked for."""
    return path.startswith(settings.STAFF_PATHS)


class Security(InPlace, SecurityMiddleware):
    """Django's security headers, and the check of the host's name.

    Without the check a page of a stranger, whose name he lets point at this machine, could call
    the API as if it were ours (DNS rebinding).
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        """Refuse names that are not ours: `DisallowedHost` becomes a 400."""
        request.get_host()
        return super().process_request(request)


class XFrameOptions(InPlace, XFrameOptionsMiddleware):
    """Keeps other sites from framing our pages."""


class ContentSecurityPolicy(InPlace, CSPMiddleware):
    """The strict policy, with the few loosenings that `CSP_RELAXED` names by path."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """The policy for this response, out of the settings and what the view asked for."""
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, more in settings.CSP_RELAXED.items():
            if request.path_info.startswith(prefix):
                parts.update = {**more, **(parts.update or {})}
        return parts

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Set the header, as it was made once where nobody asked for more than the settings say."""
        if asks_nothing(request, response):
            response[HEADER] = _usual_policy()
            return response
        return super().process_response(request, response)


def asks_nothing(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether an answer is data and neither its path nor its view loosens the policy."""
    return (
        response.headers.get("Content-Type") in DATA
        and not settings.DEBUG
        and not any(name.startswith("_csp") for name in vars(response))
        and not request.path_info.startswith(tuple(settings.CSP_RELAXED))
    )


@cache
def _usual_policy() -> str:
    return build_policy()


class StaffSession(StaffOnly, SessionMiddleware):
    """Sessions of signed-in staff."""


class StaffCsrf(StaffOnly, CsrfViewMiddleware):
    """Forged form posts are refused on staff pages."""

    async def process_view(  # type: ignore[override]  # Django awaits it where it is a coroutine
        self,
        request: HttpRequest,
        callback: Any,
        callback_args: tuple[Any, ...],
        callback_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        """Check the token; a coroutine, so that other paths do not pay for a thread."""
        if not is_staff_path(request.path_info):
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)


class StaffAuthentication(StaffOnly, AuthenticationMiddleware):
    """`request.user` for staff pages."""


class StaffMessages(StaffOnly, MessageMiddleware):
    """The admin's messages."""
