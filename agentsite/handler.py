"""Django's way from ASGI to a view and back, shorter where a view needs no thread.

Law: Django ends each request on a thread that it makes for it, because pages may have left a
database connection there. What rows a webhook touches is a unit's business (`rows/units.py`), and
what its sender does meanwhile changes nothing; so it is answered without a thread and without
anybody who listens for the sender's leaving.
"""

from __future__ import annotations

from typing import Any

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.urls import set_script_prefix

THREADLESS = "/webhooks"
"""Addresses that begin so have asynchronous views that leave nothing behind."""


class Handler(ASGIHandler):
    """Serves HTTP; see the module."""

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if not scope["path"].startswith(THREADLESS):
            await super().handle(scope, receive, send)
            return
        try:
            body: Any = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            await signals.request_started.asend(sender=type(self), scope=scope)
            request, refusal = self.create_request(scope, body)
            response: Any = refusal if request is None else await self.run_get_response(request)
            await self.send_response(response, send)
            response.close()
