"""Payloads of webhooks as rows and prompts show them: bounded texts without secrets.

The raw body of a delivery is kept beside them, byte for byte, because a replay reads it again.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentsite.host.redaction import LOGS, redactor_of
from agentsite.rows.secrets import Sealed
from automations_app.inbound import BadEvent
from automations_app.prompt import render_event


def show_event(event: object, sealed: Iterable[Sealed] = ()) -> str | None:
    """A payload (any JSON value) as prompts show it, None for `null`.

    It is without the secrets of this server and those of `sealed`, a scope's. Raises `BadEvent`.
    """
    try:
        clean = redactor_of(sealed).value(LOGS.redactor.value(event))
        return None if clean is None else render_event(clean)
    except RecursionError:
        raise BadEvent("The payload is nested too deeply.") from None
