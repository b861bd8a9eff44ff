"""What a chaos run is told, and the times that follow from it."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True):
    """One chaos run. Times are seconds."""

    seed: int = 1
    runs: int = 100
    kills: int = 20
    processes: int = 3
    people: int = 8
    """Conversations at the same time."""
    seconds: float = 0.0
    """How long the storm may last; 0 takes what the counts need on a slow machine."""
    full: bool = False
    """The leases of a real server instead of short ones."""
    keep: bool = False
    """Leave the folder for looking."""

    @property
    def lease(self) -> int:
        return 15 if self.full else 4

    @property
    def heartbeat(self) -> int:
        return 5 if self.full else 1

    @property
    def grace(self) -> int:
        """What a process gets to end after SIGTERM."""
        return 20 if self.full else 3

    @property
    def question_ttl(self) -> int:
        """How long a question stays open."""
        return 20 if self.full else 6

    @property
    def settle(self) -> float:
        """Within this every run must have ended after the last kill."""
        return 60.0

    @property
    def longest_storm(self) -> float:
        """When new messages and kills end, whatever was reached by then."""
        each = self.lease + 8.0 if self.full else 6.0
        return self.seconds or 60.0 + each * self.kills + 2.0 * self.runs

    def environment(self) -> dict[str, str]:
        """Settings of the web processes."""
        return {
            "RUN_LEASE_SECONDS": str(self.lease),
            "RUN_HEARTBEAT_SECONDS": str(self.heartbeat),
            "SHUTDOWN_GRACE_SECONDS": str(self.grace),
            "KEEPALIVE_SECONDS": "1",
            "LOG_LEVEL": "INFO",
            "PYTHONFAULTHANDLER": "1",
        }
