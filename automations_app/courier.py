"""Sends deliveries for as long as the process serves: at once after a run, later what waits.

Law: rows are the queue, and every process takes from it; this is only what wakes up in time. A
stopping process claims nothing more and lets what it sends come to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from django.db import Error as DatabaseError

from agentsite.delivery.base import SECONDS
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit
from automations_app import deliveries

logger = logging.getLogger(__name__)

AT_ONCE = 32
LOOK_SECONDS = 15.0
"""Between two looks for what other processes have left, at the most."""
LEAST_PAUSE = 0.02


class Courier:
    """This process's share of the sending."""

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        self._look_seconds = look_seconds
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[bool]] = set()
        self._more = False
        """More may be due than there was room for."""
        self._task = asyncio.create_task(self._send_for_ever(), name="courier")

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def stop_claiming(self) -> None:
        self._task.cancel()

    async def close(self) -> None:
        """Let what is being sent come to its end; it has a bound of its own."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._sending:
            await asyncio.wait(self._sending, timeout=SECONDS)

    async def _send_for_ever(self) -> None:
        act_for_all("deliveries of every scope")
        while True:
            self._wake.clear()
            try:
                pause = await self._send_some()
            except DatabaseError as error:
                logger.warning("deliveries could not be claimed: %s", error)
                pause = self._look_seconds
            except Exception:
                # Whatever it is: without this task nothing is sent here any more.
                logger.exception("deliveries could not be claimed")
                pause = self._look_seconds
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _send_some(self) -> float:
        """Begin to send what is due; seconds until it is worth looking again."""
        free = AT_ONCE - len(self._sending)
        claimed = await unit(deliveries.claim, free) if free else []
        for each in claimed:
            task = asyncio.create_task(deliveries.attempt(each), name=each.outgoing.id)
            self._sending.add(task)
            task.add_done_callback(self._forget)
        self._more = len(claimed) == free
        if self._more:
            return self._look_seconds
        left = await unit(deliveries.seconds_to_next)
        most = self._look_seconds
        return most if left is None else min(max(left, LEAST_PAUSE), most)

    def _forget(self, task: asyncio.Task[bool]) -> None:
        self._sending.discard(task)
        waits = False
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its row is claimed for a while, then it is sent again.
            logger.error("a delivery's outcome could not be written: %s", error)
        elif not task.cancelled():
            waits = task.result()
        if waits or (self._more and len(self._sending) <= AT_ONCE // 2):
            self.wake()


_courier: Courier | None = None


def wake() -> None:
    """Tell the courier of this process that there is something to send."""
    if _courier is not None:
        _courier.wake()


async def startup() -> None:
    """Begin to send."""
    global _courier
    _courier = Courier()


def stopping(grace: float) -> None:
    """No more is claimed."""
    if _courier is not None:
        _courier.stop_claiming()


async def shutdown() -> None:
    global _courier
    if _courier is not None:
        closing, _courier = _courier, None
        await closing.close()
