"""A run that gets ready while the database still writes its beginning.

Law: before that is durable nothing of the run is written, sent or held. Only its request to the
model may have left: should the commit fail, the answer is thrown away unheard. Metrics, spans and
an alert that a key is refused tell of such a try, because it was made.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from agentsite.host.lifecycle import OpenedRun
    from agentsite.host.liverun import LiveRun
    from agentsite.host.runs import Runs


class EarlyRun:
    """One run, if it can be foreseen. At the end of the block it is admitted, or it is not."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of the unit's thread, which is in a transaction
        self._run: LiveRun | None = None
        self._over = False

    def foresee(self, opened: OpenedRun) -> None:
        """It will have begun unless the unit fails; from the unit's thread."""
        self._loop.call_soon_threadsafe(self._get_ready, opened, context=self._context)

    def _get_ready(self, opened: OpenedRun) -> None:
        if not self._over:
            self._run = self._runs.start_early(opened)

    def admit(self) -> bool:
        """Let it go on, now that it is durable and listened to; whether there is one."""
        run, self._run = self._run, None
        if run is not None:
            self._runs.admit(run)
        return run is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        if self._run is not None:
            self._run.cancel()
