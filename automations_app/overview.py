"""What `/health` tells of automations, as this process has last read it.

Law: liveness asks nothing of the database, so this is read beside requests, a moment before.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from automations_app.due import NOT_HERE
from automations_app.models import Automation
from automations_app.rest import STATUS, find_last, next_run, tell


class Overview:
    """The newest reading."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        """Per automation `{name, agent, lastRun, lastRunStatus, nextRun}`, times or None.

        Where its agent is not served here, `problem` says so, and nothing comes next.
        """

    def read(self, served: Container[str]) -> None:
        """Read anew, where all scopes are acted for; `served` are the agents of this process."""
        rows = list(Automation.objects.order_by("agent", "name").defer("prompt", "file_values"))
        last = find_last([row.pk for row in rows])
        self.told = [_describe(row, last.get(row.pk), served=row.agent in served) for row in rows]


def _describe(row: Automation, last: Any, *, served: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": row.name,
        "agent": row.agent,
        "lastRun": last and tell(last.started_at or last.created_at),
        "lastRunStatus": last and STATUS.get(last.status, last.status),
        "nextRun": tell(next_run(row)) if served else None,
    }
    return told if served else {**told, "problem": NOT_HERE}


OVERVIEW = Overview()
"""Of this process."""
