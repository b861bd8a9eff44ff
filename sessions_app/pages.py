"""The chat page at `/`: one template, a small configuration as JSON, static modules.

Law: no database, no inline script or style, nothing about the caller but what the
address says; everything the page shows comes from the public API.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

SUGGESTIONS = ("What can you help me with?", "Show me what you can do with an example.")
"""First words offered in an empty conversation."""


@require_safe
async def chat_page(request: HttpRequest) -> HttpResponse:
    """The page. `?scope_id=` names the partition its requests use, `?session=` opens a session."""
    context = {
        "chat_config": {"apiBase": "", "scopeId": request.GET.get("scope_id", "")},
        "suggestions": SUGGESTIONS,
    }
    # Without the request no context processor runs, so nothing can reach the database.
    return HttpResponse(render_to_string("sessions_app/chat.html", context))
