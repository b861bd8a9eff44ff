"""Whose work a task does: the ids that its log lines carry.

Law: ids belong to the task that sets them and to what it starts; nothing is passed along by hand.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType

_ids: ContextVar[MappingProxyType[str, str]] = ContextVar("ids", default=MappingProxyType({}))


def carry(**ids: str) -> None:
    """From here on lines of this task, and of tasks it starts, name these ids, too."""
    _ids.set(MappingProxyType({**_ids.get(), **ids}))


def carried() -> MappingProxyType[str, str]:
    """The ids of the task at hand: `run_id`, `session_id`, `scope_id`, `agent`, `request_id`."""
    return _ids.get()
