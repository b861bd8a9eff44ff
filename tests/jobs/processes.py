"""Celery's processes as operators start them: `celery -A agentsite.celery worker|beat`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.fork_server import fork_server
from tests.servers import ROOT


class Background:
    """One of them; of the environment it sees what is given."""

    def __init__(self, kind: str, folder: Path, *options: str, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        given = {"SECRET_KEY": "~" * 50, "AGENTSITE_DATA_DIR": str(folder), **environment}
        self._log = folder / f"{kind}-{len(list(folder.iterdir()))}.log"
        with self._log.open("wb") as log:
            self.process = fork_server().fork(
                ["-m", "celery", "-A", "agentsite.celery", kind, *options],
                [log.fileno()], ROOT, ROOT, **kept, **given,
            )  # fmt: skip

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        """End it if it still lives."""
        if self.process.poll() is None:
            self.kill()
