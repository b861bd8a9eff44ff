"""Runs of accepted webhooks begin at once, but give way to webhooks that are still to be accepted.

Law: a sender waits for its answer, nobody for these runs; so a burst is taken in first. It holds
no run back for longer than a moment, and rows keep what this process cannot take up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

from agentsite.host.errors import Refusal
from agentsite.host.site import Site
from automations_app import starting

AT_ONCE = 2
"""Runs that are being started at a time."""
LONGEST_WAIT = 2.0
"""Seconds that a start gives way."""
FULL_SECONDS = 0.25
"""Between two looks whether a full process has room again."""


class Door:
    """Who comes in on one event loop, and who waits behind."""

    def __init__(self) -> None:
        self.inside = 0
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.starters = asyncio.Semaphore(AT_ONCE)


_doors: WeakKeyDictionary[asyncio.AbstractEventLoop, Door] = WeakKeyDictionary()


def _door() -> Door:
    return _doors.setdefault(asyncio.get_running_loop(), Door())


@contextmanager
def admitting() -> Iterator[None]:
    """While a webhook is verified and stored."""
    door = _door()
    door.inside += 1
    door.quiet.clear()
    try:
        yield
    finally:
        door.inside -= 1
        if not door.inside:
            door.quiet.set()


async def start(here: Site, automation_run_id: str) -> None:
    """Start a run when nobody is being admitted, or after a moment; a full process waits."""
    door = _door()
    async with door.starters:
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT):
                await door.quiet.wait()
        while _is_full(here):
            if not here.runs.accepting:
                return  # another process takes it from its row
            await asyncio.sleep(FULL_SECONDS)
        await starting.start(automation_run_id)


def _is_full(here: Site) -> bool:
    try:
        here.runs.check_room("")
    except Refusal:
        return True
    return False
