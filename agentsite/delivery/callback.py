"""Python of the operator: a function by its dotted path, or whoever hears the Django signal.

Law: it runs in this process with all its rights; only files and staff name it. It is called
again with the same id when it raises.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.dispatch import Signal
from django.utils.module_loading import import_string

from agentsite.delivery.base import SECONDS, Outcome, Outgoing, again, dead
from agentsite.delivery.signals import automation_delivered

logger = logging.getLogger(__name__)


async def send(outgoing: Outgoing) -> Outcome:
    """Call it with the payload and `{"name", "id", "attempt", "scopeId"}`."""
    name = outgoing.target.get("name")
    info = {
        "name": outgoing.automation,
        "id": outgoing.id,
        "attempt": outgoing.attempt,
        "scopeId": outgoing.scope_id,
    }
    try:
        async with asyncio.timeout(SECONDS):
            found = await asyncio.to_thread(_find, name)
            if isinstance(found, str):
                return dead(found)
            await _call(found, outgoing.payload, info)
    except TimeoutError:
        return again(f"The callback did not return within {SECONDS:g} seconds.")
    except Exception as error:
        logger.exception("the callback %s of %s failed", name or "signal", outgoing.automation)
        return again(f"The callback raised {type(error).__name__}.")
    return Outcome()


def _find(name: str | None) -> Callable[..., Any] | str:
    """What to call, or what is wrong."""
    if name is None:
        found: Any = automation_delivered
    else:
        try:
            found = import_string(name)
        except (ImportError, ValueError):
            return f'There is no "{name}" to import; a callback is a dotted path.'
    if isinstance(found, Signal):
        return _sending(found) if found.has_listeners() else "Nobody listens to the signal."
    return found if callable(found) else f'"{name}" cannot be called.'


def _sending(signal: Signal) -> Callable[..., Any]:
    def send_signal(payload: dict[str, Any], info: dict[str, Any]) -> None:
        signal.send(sender=None, payload=payload, info=info)

    return send_signal


async def _call(
    function: Callable[..., Any], payload: dict[str, Any], info: dict[str, Any]
) -> None:
    if inspect.iscoroutinefunction(function):
        await function(payload, info)
    else:
        await asyncio.to_thread(_call_here, function, payload, info)


def _call_here(function: Callable[..., Any], payload: dict[str, Any], info: dict[str, Any]) -> None:
    try:
        function(payload, info)
    finally:
        connections.close_all()  # of this thread: it may have touched rows
