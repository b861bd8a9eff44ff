"""Gathers webhooks that come in at the same time, so that one transaction takes them in.

Law: whoever finds nobody at work begins at once, and what comes meanwhile is the next load. So one
alone is as fast as can be, and many share the work. Nobody is waited for: three milliseconds for
those at the door cost each of twenty senders half as much again.
"""

from __future__ import annotations

import asyncio
import contextvars
from weakref import WeakKeyDictionary

from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from automations_app.admission import Admitted, Arrived, Outcome, admit

MOST = 64
MOST_BYTES = 4 * 1024 * 1024
"""Of one load; a single webhook has at most a megabyte."""
WHY = "an automation decides on the partition of its runs"


class Intake:
    """What came in on one event loop and is not stored yet."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Arrived, asyncio.Future[Admitted]]] = []
        self._task: asyncio.Task[None] | None = None

    async def take(self, arrived: Arrived) -> Admitted:
        """Return once the webhook is stored with its runs. Raises `Refusal`."""
        stored: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrived, stored))
        if self._task is None:
            # A context of its own: it works for all, and none of its words is one request's.
            self._task = asyncio.create_task(self._take_in(), context=contextvars.Context())
        return await stored

    async def _take_in(self) -> None:
        try:
            while load := self._next_load():
                outcomes = await self._store([arrived for arrived, _ in load])
                for (_, stored), outcome in zip(load, outcomes, strict=True):
                    if stored.done():  # nobody waits any more
                        continue
                    if isinstance(outcome, Exception):
                        stored.set_exception(outcome)
                    else:
                        stored.set_result(outcome)
                await asyncio.sleep(0)  # what has come in by now belongs to the next load
        finally:
            self._task = None

    def _next_load(self) -> list[tuple[Arrived, asyncio.Future[Admitted]]]:
        size = count = 0
        for arrived, _ in self._waiting[:MOST]:
            size += len(arrived.body)
            if count and size > MOST_BYTES:
                break
            count += 1
        load, self._waiting = self._waiting[:count], self._waiting[count:]
        return load

    async def _store(self, arrived: list[Arrived]) -> list[Outcome]:
        try:
            with acting_for_all(WHY):
                return await unit(admit, arrived)
        except Exception as error:  # noqa: BLE001 - raised where each of them is awaited
            return [error] * len(arrived)


_intakes: WeakKeyDictionary[asyncio.AbstractEventLoop, Intake] = WeakKeyDictionary()


async def take(arrived: Arrived) -> Admitted:
    """Store a webhook with its runs, together with those that came at the same time.

    Raises `Refusal`.
    """
    return await _intakes.setdefault(asyncio.get_running_loop(), Intake()).take(arrived)
