"""One web process and the kills that it gets.

Law: it keeps its port over all its lives, because the parent holds the listening socket.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from pathlib import Path
from typing import Literal

import msgspec

from agentsite.management.chaos.nursery import Life, Nursery

START_WITHIN = 60.0
Kind = Literal["kill", "pause", "term", "postgres"]


class Kill(msgspec.Struct):
    """One entry of the kill log; times are seconds since the epoch, 0 is not yet."""

    kind: Kind
    victim: str
    """The life that was hit, as Postgres knows it; empty for Postgres itself."""
    began: float
    ended: float = 0.0


class Web:
    """One web process and its port, over all its lives."""

    def __init__(self, number: int, nursery: Nursery, log: Path) -> None:
        self.number = number
        self.lives = 0
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self.listening.getsockname()[1])
        self.up = False
        self.log = log
        self._nursery = nursery
        self.process: Life | None = None
        self._heard = -1

    @property
    def name(self) -> str:
        """This life, as `application_name` in Postgres."""
        return f"web-{self.number}.{self.lives}"

    def start(self) -> None:
        """Begin a new life; `wait_ready` tells when it serves."""
        self.lives += 1
        self._heard, told = os.pipe()
        with self.log.open("ab") as log:
            self.process = self._nursery.begin(
                self.name, self.listening.fileno(), told, log.fileno()
            )
        os.close(told)

    def wait_ready(self, seconds: float) -> None:
        """Wait until it serves. Raises RuntimeError when it ended instead, or takes too long."""
        heard, _, _ = select.select([self._heard], [], [], seconds)
        said = os.read(self._heard, 1) if heard else b""
        os.close(self._heard)
        if not said:
            raise RuntimeError(f"{self.name} did not start; see {self.log}")
        self.up = True

    def send(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)

    def end(self) -> None:
        """End it for good, however it stands."""
        if self.process is not None:
            self.process.end()
        self.listening.close()
