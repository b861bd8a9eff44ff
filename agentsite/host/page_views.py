"""The door of the chat page: open where anybody may call, else for signed-in staff."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseForbidden,
    HttpResponseRedirect,
)
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.views.decorators.http import require_safe

from agentsite.host.staff import NO_LOOK, find_staff
from agentsite.rows.tenancy import acting_for_all
from sessions_app.pages import chat_page


@require_safe
async def enter_page(request: HttpRequest) -> HttpResponse:
    """`/`: the page, or the way to the sign-in. Reading it needs no form token."""
    if "none" in settings.AGENT_AUTH:
        return await chat_page(request)
    with acting_for_all("who sits at the page is not known yet"):
        staff = await find_staff(request)
    if staff is None:
        way = urlencode({"next": request.get_full_path()})
        return HttpResponseRedirect(f"{settings.LOGIN_URL}?{way}")
    if not staff.may_look:
        return HttpResponseForbidden(NO_LOOK, content_type="text/plain; charset=utf-8")
    csrf = CsrfViewMiddleware(lambda request: HttpResponse())
    csrf.process_request(request)
    page = await chat_page(request, staff=staff.name, csrf_token=get_token(request))
    page["Cache-Control"] = "private, no-store"
    csrf.process_response(request, page)  # the cookie that belongs to the token
    return page
