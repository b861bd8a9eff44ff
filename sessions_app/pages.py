"""The chat page at `/`: one template, a small configuration as JSON, static modules.

Law: no database, no inline script or style, nothing about the caller but what the
address says and who is signed in; everything the page shows comes from the public API.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

SUGGESTIONS = ("What can you help me with?", "Show me what you can do with an example.")
"""First words offered in an empty conversation."""


@require_safe
async def chat_page(
    request: HttpRequest, *, staff: str | None = None, csrf_token: str | None = None
) -> HttpResponse:
    """The page. `?scope_id=` names the partition its requests use, `?session=` opens a session.

    For a member of staff it carries the token that changes need, and lets the scope be chosen.
    """
    scope_id = request.GET.get("scope_id", "")
    signed_in = {"csrfToken": csrf_token} if csrf_token else {}
    context = {
        "chat_config": {"apiBase": "", "scopeId": scope_id, **signed_in},
        "suggestions": SUGGESTIONS,
        "staff": staff,
        "scope_id": scope_id,
    }
    # Without the request no context processor runs, so nothing can reach the database.
    return HttpResponse(render_to_string("sessions_app/chat.html", context))
