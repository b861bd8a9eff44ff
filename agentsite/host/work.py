"""Work beside a driver's loop: model calls, tool calls, sub-agents. It tells what it has to say.

Law: nothing that fails here ends unheard, and nothing outlives the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from agentsite.engine import steps
from sessions_app.actions import LeaseLost

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

logger = logging.getLogger(__name__)

FAULT = "Something went wrong on our side. The operators find the cause in the log under {run_id}."


class Work:
    """The tasks of one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something until it is done or the loop ends."""
        name = f"work {self._driver.ref.run_id}"
        task = asyncio.create_task(self._watch(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        driver = self._driver
        try:
            await work
        except LeaseLost:
            driver.post(steps.Cancelled("error"))  # the loop's next commit raises the same
        except Exception:
            logger.exception("run %s failed", driver.ref.run_id)
            message = FAULT.format(run_id=driver.ref.run_id)
            driver.post(steps.Cancelled("error", message, "internal"))

    async def stop(self) -> None:
        """Cancel all, and wait until they have cleaned up."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
