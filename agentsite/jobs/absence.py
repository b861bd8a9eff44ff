"""Whether beat or workers are missing for so long that it is a fault, as this process sees it."""

from __future__ import annotations

import time

PATIENCE_SECONDS = 30.0


class Absence:
    """Since when somebody is missing; at a start, or when another leads, that is no fault."""

    def __init__(self) -> None:
        self._since: float | None = None

    def lasts(self, missing: bool) -> bool:
        """Note how it is now; whether it was like this for too long."""
        now = time.monotonic()
        self._since = (self._since or now) if missing else None
        return self._since is not None and now - self._since > PATIENCE_SECONDS


NO_LEADER = Absence()
NO_WORKER = Absence()
"""Of this process: `/ready` and the dashboard note here what they see, so they tell the same."""
