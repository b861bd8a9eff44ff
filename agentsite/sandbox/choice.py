"""Which confinement this machine allows; tried once, by running a program in it."""

from __future__ import annotations

import asyncio
import logging

from agentsite.sandbox.base import Backend, Bounds, Job, Mode, SandboxUnavailable
from agentsite.sandbox.bwrap import Bubblewrap
from agentsite.sandbox.landlock import Landlock
from agentsite.sandbox.process import run
from agentsite.sandbox.unconfined import Unconfined

logger = logging.getLogger(__name__)

PROBE = Job(["/bin/true"], bounds=Bounds(seconds=10))
HELP = (
    "Install bubblewrap (apt-get install bubblewrap) and allow user namespaces, or run on Linux "
    "6.12 or later for Landlock. AGENT_SANDBOX=unsafe-local runs programs unconfined."
)


class Chooser:
    """Finds the backend of one process, once."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._lock = asyncio.Lock()
        self._found: Backend | SandboxUnavailable | None = None

    async def choose(self) -> Backend:
        """The best confinement there is. Raises SandboxUnavailable."""
        async with self._lock:
            if self._found is None:
                self._found = await self._find()
        if isinstance(self._found, SandboxUnavailable):
            raise self._found
        return self._found

    async def _find(self) -> Backend | SandboxUnavailable:
        if self._mode == "off":
            return SandboxUnavailable("AGENT_SANDBOX=off: this server runs no foreign programs.")
        reasons = []
        for backend in _backends(self._mode):
            problem = await try_out(backend)
            if problem is None:
                if backend.warning:
                    logger.warning("%s", backend.warning)
                return backend
            reasons.append(f"{backend.name}: {problem}")
        told = f"Nothing here can confine a program ({'; '.join(reasons)}). {HELP}"
        logger.warning("%s", told)
        return SandboxUnavailable(told)


def _backends(mode: Mode) -> list[Backend]:
    if mode == "unsafe-local":
        return [Unconfined()]
    every: list[Backend] = [Bubblewrap(), Landlock()]
    return [backend for backend in every if mode in ("auto", backend.name)]


async def try_out(backend: Backend) -> str | None:
    """Why this backend cannot be used here; None if it can."""
    try:
        outcome = await run(backend, PROBE)
    except (SandboxUnavailable, OSError) as error:
        return str(error)
    if outcome.ending == "exited" and outcome.code == 0:
        return None
    return outcome.stderr.decode(errors="replace").strip()[:300] or f"exit code {outcome.code}"
