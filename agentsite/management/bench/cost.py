"""CPU seconds and memory of processes, as the kernel counts them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import psutil

from agentsite.management.bench.stack import Stack

MEGABYTE = 1024 * 1024


class Spent(msgspec.Struct, frozen=True):
    """CPU seconds of each part up to a moment."""

    server: float
    postgres: float
    model: float
    client: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(
            self.server - other.server,
            self.postgres - other.postgres,
            self.model - other.model,
            self.client - other.client,
        )


class Costs:
    """Looks at the same processes again and again."""

    def __init__(self, stack: Stack) -> None:
        self._server, self._model = stack.server, stack.model
        self._postgres = stack.postgres()
        self._client = psutil.Process()

    def spent(self) -> Spent:
        """CPU used so far; that of a database backend which has ended since is lost."""
        postgres = [self._postgres, *self._postgres.children()]
        return Spent(cpu([self._server]), cpu(postgres), cpu([self._model]), cpu([self._client]))


def cpu(processes: Iterable[psutil.Process]) -> float:
    """User and system seconds together; those of a process that ended are lost."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def resident(process: psutil.Process) -> float:
    """Memory in MB."""
    return float(process.memory_info().rss) / MEGABYTE
