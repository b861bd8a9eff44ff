"""Who is calling, and which partition that is.

Law: in the mode `none` a caller is anonymous and names its scope itself; the empty
scope is a partition of its own. No route reads tenant rows without asking here.
"""

from __future__ import annotations

import msgspec
from django.http import HttpRequest

from agentsite.host.errors import Refusal

MAX_SCOPE = 200
NAMES = ("scope_id", "scopeId", "userId", "user_id")


class Caller(msgspec.Struct, frozen=True):
    """A request's caller as far as the mode can tell."""

    scope_id: str


def resolve_caller(request: HttpRequest, body_scope: str | None = None) -> Caller:
    """The caller of a request; a body's scope counts where there is a body. Raises `Refusal`."""
    given = [request.GET[name] for name in NAMES if name in request.GET]
    scope_id = body_scope if body_scope is not None else (given[0] if given else "")
    if len(scope_id) > MAX_SCOPE or any(ord(char) < 32 for char in scope_id):
        text = f"A scope_id has 1 to {MAX_SCOPE} printable characters."
        raise Refusal(400, "invalid_field", text)
    return Caller(scope_id)
