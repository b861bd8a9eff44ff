"""A run that gets ready while the database still writes its beginning.

Law: before that is durable nothing of the run is written, counts or reaches anybody. Only its
request to the model may have left: should the commit fail, the answer is thrown away unheard.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from agentsite.host.lifecycle import OpenedRun
    from agentsite.host.liverun import LiveRun
    from agentsite.host.runs import Runs


class EarlyRun:
    """One run, if it can be foreseen; a block around the unit that begins it."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of the unit's thread, which is in a transaction
        self._run: LiveRun | None = None
        self._failed = False

    def foresee(self, opened: OpenedRun) -> None:
        """It will have begun unless the unit fails; from the unit's thread."""
        self._loop.call_soon_threadsafe(self._get_ready, opened, context=self._context)

    def _get_ready(self, opened: OpenedRun) -> None:
        if not self._failed:
            self._run = self._runs.start_early(opened)

    async def __aenter__(self) -> EarlyRun:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._failed = error is not None
        if self._failed and self._run is not None:
            self._run.cancel()

    def admit(self) -> bool:
        """Let it go on, now that it is durable and listened to; whether there is one."""
        if self._run is not None:
            self._runs.admit(self._run)
        return self._run is not None
